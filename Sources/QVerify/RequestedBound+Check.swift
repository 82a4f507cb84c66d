import QCheckpoint
import QCodec

extension RequestedBound {
  /// What each element of a tensor is to keep by itself; nil without an original, of a lossless tensor, which is held
  /// against more, and for bounds on updates.
  func ofElements(_ source: InputTensor?, _ info: TensorInfo) throws(QCodecError) -> ElementBound? {
    guard let source, info.scheme != nil, kind != .update else { return nil }
    if kind == .relative { return .relative(value) }
    return .absolute(isOfRMS ? value * (try Self.rootMeanSquare(of: source, info)) : value)
  }

  private static func rootMeanSquare(of source: InputTensor, _ info: TensorInfo) throws(QCodecError) -> Double {
    let size = UInt64(info.dtype.bitWidth / 8)
    var squares = 0.0
    for start in stride(from: 0, to: info.elementCount, by: TensorLayout.chunkElements) {
      let count = Int(min(UInt64(TensorLayout.chunkElements), info.elementCount - start))
      let bytes = try source.source.bytes(at: start * size, count: count * Int(size))
      var sums = PartialSums()
      for index in 0..<count {
        let value = PlainFloat.value(bytes, index, dtype: info.dtype)
        sums.add(value * value, at: index)
      }
      squares += sums.total
    }
    return info.elementCount == 0 ? 0 : (squares / Double(info.elementCount)).squareRoot()
  }
}

extension ElementBound {
  /// The largest |x − x̂| that a value may have.
  func limit(_ exact: Double) -> Double {
    switch self {
    case .absolute(let bound): bound
    case .relative(let bound): bound * exact.magnitude
    }
  }
}
