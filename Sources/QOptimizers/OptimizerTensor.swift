import QCodec

/// A tensor that takes a step: its parameters, its gradient and its moments, in memory that the caller keeps.
///
/// Safe only as far as the caller keeps that memory, and no other thread uses it, for as long as a step takes.
@safe public struct OptimizerTensor: @unchecked Sendable {
  /// Its name, for errors and as the key of stochastic rounding.
  public let name: String
  /// How its moments lie.
  public let layout: StateLayout
  /// The type of its parameters: f32, bf16 or f16.
  public let parameterDType: DType
  /// The type of its gradient, likewise.
  public let gradientDType: DType
  let parameters: UnsafeMutableRawPointer?
  let gradients: UnsafeRawPointer?
  /// First, second and greatest moment; of none no bytes.
  let moments: [UnsafeMutableRawBufferPointer]

  /// A tensor of which each buffer has exactly its bytes: elements in C order, and `layout.byteCounts` of moments.
  ///
  /// Throws `shapeMismatch` for another size, `invalidArgument` for types that no optimizer computes with.
  @unsafe public init(
    name: String, layout: StateLayout, parameters: UnsafeMutableRawBufferPointer, _ parameterDType: DType = .f32,
    gradients: UnsafeRawBufferPointer, _ gradientDType: DType = .f32, moments: [UnsafeMutableRawBufferPointer]
  ) throws(QCodecError) {
    for dtype in [parameterDType, gradientDType] where !dtype.isQuantizable {
      throw QCodecError(
        .invalidArgument, "parameters and gradients are F32, BF16 or F16, not \(dtype.name)", tensor: name)
    }
    let sizes = [
      layout.elementCount * parameterDType.elementSize, layout.elementCount * gradientDType.elementSize,
    ]
    guard [parameters.count, gradients.count] == sizes else {
      throw QCodecError(
        .shapeMismatch, "\(parameters.count) bytes of parameters and \(gradients.count) of gradients, not \(sizes)",
        tensor: name)
    }
    let found = unsafe moments.map(\.count)
    guard found == layout.byteCounts else {
      throw QCodecError(.shapeMismatch, "moments of \(found) bytes, not \(layout.byteCounts)", tensor: name)
    }
    self.name = name
    self.layout = layout
    self.parameterDType = parameterDType
    self.gradientDType = gradientDType
    unsafe self.parameters = parameters.baseAddress
    unsafe self.gradients = gradients.baseAddress
    unsafe self.moments = moments
  }

  /// Elements of the chunk of an index; the last may be short.
  func elements(ofChunk index: Int) -> Range<Int> {
    let start = index * TensorLayout.chunkElements
    return start..<min(layout.elementCount, start + TensorLayout.chunkElements)
  }

  var chunkCount: Int { (layout.elementCount + TensorLayout.chunkElements - 1) / TensorLayout.chunkElements }

  /// The bytes of elements of the gradient.
  func gradientBytes(_ elements: Range<Int>) -> UnsafeRawBufferPointer {
    let size = gradientDType.elementSize
    return unsafe UnsafeRawBufferPointer(
      start: gradients.map { unsafe $0 + elements.lowerBound * size }, count: elements.count * size)
  }

  /// The bytes of elements of the parameters.
  func parameterBytes(_ elements: Range<Int>) -> UnsafeMutableRawBufferPointer {
    let size = parameterDType.elementSize
    return unsafe UnsafeMutableRawBufferPointer(
      start: parameters.map { unsafe $0 + elements.lowerBound * size }, count: elements.count * size)
  }

  /// The payload of a chunk of a moment that is a stream, or its floats.
  func payload(_ moment: Int, chunk: Int) -> UnsafeMutableRawBufferPointer {
    let bytes = unsafe moments[moment]
    let range: Range<Int>
    switch layout.storages[moment] {
    // The factors of a second moment belong to no chunk.
    case .none: range = 0..<0
    case .float32:
      let elements = elements(ofChunk: chunk)
      range = elements.lowerBound * 4..<elements.upperBound * 4
    case .stream(let layout):
      let start = layout.streamOffset(ofChunk: chunk)
      range = start..<start + layout.payloadByteCount(ofChunk: chunk)
    }
    return unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[range])
  }

  /// The scale vector of a moment; empty in blocks and for floats.
  func scaleVector(_ moment: Int) -> [Float] {
    guard let layout = layout.storages[moment].layout, layout.scaleCount > 0 else { return [] }
    return unsafe [Float](unsafeUninitializedCapacity: layout.scaleCount) { target, count in
      unsafe UnsafeMutableRawBufferPointer(target).copyMemory(
        from: UnsafeRawBufferPointer(rebasing: moments[moment][..<(layout.scaleCount * 4)]))
      count = layout.scaleCount
    }
  }

  /// All of a moment that is float32.
  func floats(ofMoment moment: Int) -> [Float] { unsafe DType.f32.floats(UnsafeRawBufferPointer(moments[moment])) }

  /// Puts all of a moment that is float32 in place.
  func store(floats: [Float], ofMoment moment: Int) {
    unsafe floats.withUnsafeBytes { bytes in unsafe moments[moment].copyMemory(from: bytes) }
  }

  /// Puts a scale vector in place.
  func store(scaleVector scales: [Float], _ moment: Int) {
    unsafe scales.withUnsafeBytes { bytes in unsafe moments[moment].copyMemory(from: bytes) }
  }
}

extension DType {
  /// Bytes of an element of a type that optimizers compute with.
  var elementSize: Int { bitWidth / 8 }
}

extension QCodecError {
  /// The error with the name of a tensor, if it has none.
  func named(_ name: String) -> QCodecError {
    var named = self
    named.tensor = tensor ?? name
    return named
  }
}
