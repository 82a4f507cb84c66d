extension Array {
  /// As `init(unsafeUninitializedCapacity:initializingWith:)`, but for a count of 0, of which `fill` is not called.
  ///
  /// Swift 6.3's own then writes a zero over the zero of the storage that all empty arrays of a process share: a race.
  package init(
    uninitialized count: Int, filledBy fill: (inout UnsafeMutableBufferPointer<Element>, inout Int) -> Void
  ) {
    guard count > 0 else {
      self = []
      return
    }
    unsafe self.init(unsafeUninitializedCapacity: count, initializingWith: fill)
  }
}
