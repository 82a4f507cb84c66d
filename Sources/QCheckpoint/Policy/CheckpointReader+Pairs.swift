import QCodec

extension CheckpointReader {
  /// First moments with their second moments, in the order of the first: by reference in the update domain, else by
  /// names and shapes.
  public func momentPairs() -> [(first: Int, second: Int)] {
    let infos = (0..<tensorCount).map { tensor($0) }
    let finder = PartnerFinder(names: infos.map(\.name), roles: infos.map(\.role), shapes: infos.map(\.shape))
    return infos.enumerated().compactMap { index, info in
      if let reference = info.reference { return (index, reference) }
      guard info.role == .firstMoment, case .one(let second) = finder.partner(of: info.name, shape: info.shape) else {
        return nil
      }
      return (index, second)
    }
  }
}
