import QCodec

extension InputDocument {
  /// The tensors in the order of their names' bytes; throws `duplicateName` for two of one name. O(n log n).
  public func tensorsByName() throws(QCodecError) -> [InputTensor] {
    let names = tensors.map { Array($0.name.utf8) }
    let order = NameOrder.sorted(names)
    for (one, next) in zip(order, order.dropFirst()) where names[one] == names[next] {
      throw QCodecError(.duplicateName, "two tensors of this name", tensor: tensors[one].name)
    }
    return order.map { tensors[$0] }
  }

  /// The document with those tensors alone that `isIncluded` is true for.
  public func filter(_ isIncluded: (InputTensor) -> Bool) -> InputDocument {
    InputDocument(
      tensors: tensors.filter(isIncluded), metadata: metadata, kind: kind, files: files, checkpoint: checkpoint)
  }

  /// First moments with their second moments, by their places in `tensors`: as the checkpoint pairs them
  /// (`CheckpointReader.momentPairs()`), elsewhere by names and shapes.
  public func momentPairs() -> [(first: Int, second: Int)] {
    guard let checkpoint else { return namedPairs() }
    let places = Dictionary(tensors.enumerated().map { (NameKey($1.name), $0) }) { first, _ in first }
    func place(_ tensor: Int) -> Int? { places[NameKey(checkpoint.tensor(tensor).name)] }
    return checkpoint.momentPairs().compactMap { pair in
      guard let first = place(pair.first), let second = place(pair.second) else { return nil }
      return (first, second)
    }
  }

  private func namedPairs() -> [(first: Int, second: Int)] {
    let names = tensors.map(\.name)
    let recognizer = RoleRecognizer(names: names)
    let roles = tensors.map { tensor in
      let role = recognizer.role(of: tensor.name)
      return role == .other ? tensor.role : role
    }
    let finder = PartnerFinder(names: names, roles: roles, shapes: tensors.map(\.shape))
    return tensors.indices.compactMap { index in
      guard roles[index] == .firstMoment,
        case .one(let second) = finder.partner(of: tensors[index].name, shape: tensors[index].shape)
      else { return nil }
      return (index, second)
    }
  }
}
