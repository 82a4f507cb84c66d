import QCodec

extension CheckpointWriter {
  /// Adds tensors and pairs so that every element keeps a bound, in whatever way `planner` finds smallest.
  ///
  /// The writer is to allow escapes (`WriterOptions.allowsEscapes`); the planner is to have the writer's options, and its
  /// `nonFinite` to be the one given here. Parameters as those of `add(_:nonFinite:measuring:added:progress:)`. Time:
  /// O(elements), a few passes over each source.
  ///
  /// Throws as that does; what fails once values are looked at aborts the file.
  public func add(
    _ additions: [Addition], planning planner: BoundPlanner, nonFinite: NonFinitePolicy = .error,
    measuring epsilon: Double? = nil
  ) throws(QCodecError) {
    // Before sources are read: their sizes are to be right.
    try check(additions)
    let planned: [Addition]
    do throws(QCodecError) { planned = try planner.bounded(additions) } catch {
      abort()
      throw error
    }
    try add(planned, nonFinite: nonFinite, measuring: epsilon)
  }
}
