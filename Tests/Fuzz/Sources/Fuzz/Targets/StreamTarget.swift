import QCodec

/// Streams of one tensor: every kernel level decodes what the scalar reference decodes, or refuses it alike.
enum StreamTarget {
  static let maximum = 20_000
  static let levels = KernelLevel.allCases.filter { $0 != .scalar && $0.isSupported }

  static func run(_ input: [UInt8]) -> Bool {
    var cursor = InputCursor(input)
    guard let tensor = TensorInput(&cursor, maximum: maximum) else { return false }
    let made = outcome { () throws(QCodecError) in
      try TensorCodec(dtype: tensor.dtype, shape: tensor.shape, scheme: tensor.scheme)
    }
    guard let codec = made.value else { return true }
    let range = range(&cursor, within: Int(codec.layout.elementCount))
    let shift = Int(cursor.byte() & 7)
    let stream = cursor.bytes(codec.encodedByteCount)
    let whole = outcome { () throws(QCodecError) in try decode(codec, stream, shift) }
    func decoded(_ range: Range<Int>?, _ level: KernelLevel) -> Result<[UInt8], QCodecError> {
      outcome { () throws(QCodecError) in try chunk(codec.layout, stream, range, level, shift) }
    }
    let reference = decoded(nil, .scalar)
    require(whole.isSuccess == reference.isSuccess, "\(whole.error as Any) and \(reference.error as Any)")
    if let bytes = whole.value { require(bytes == reference.value, "the codec differs from its reference") }
    let part = decoded(range, .scalar)
    for level in levels {
      require(decoded(nil, level) == reference && decoded(range, level) == part, "\(level.name) differs from scalar")
    }
    return true
  }

  /// Some elements, by two numbers of the input.
  static func range(_ cursor: inout InputCursor, within count: Int) -> Range<Int> {
    let places = [Int(cursor.number(UInt16.self)) % (count + 1), Int(cursor.number(UInt16.self)) % (count + 1)].sorted()
    return places[0]..<places[1]
  }

  private static func decode(_ codec: TensorCodec, _ stream: [UInt8], _ shift: Int) throws(QCodecError) -> [UInt8] {
    var values = [UInt8](repeating: 0, count: codec.decodedByteCount)
    try stream.withRaw(shift: shift) { stream throws(QCodecError) in
      try values.withMutableRaw(shift: shift) { values throws(QCodecError) in
        var target = MutableRawSpan(_unsafeBytes: values)
        try codec.decode(RawSpan(_unsafeBytes: stream), into: &target, threads: 1)
      }
    }
    return values
  }

  /// The only chunk of a stream, or some of its elements, decoded at a level.
  private static func chunk(
    _ layout: TensorLayout, _ stream: [UInt8], _ range: Range<Int>?, _ level: KernelLevel, _ shift: Int
  ) throws(QCodecError) -> [UInt8] {
    let scales = (0..<layout.scaleCount).map { Float(bitPattern: stream.half($0 * 4)) }
    let decoder = try ChunkDecoder(layout: layout, scales: scales, kernels: level)
    guard layout.codeChunkCount > 0 else { return [] }
    require(layout.codeChunkCount == 1, "more than one chunk")
    let count = range?.count ?? Int(layout.elementCount)
    var values = [UInt8](repeating: 0, count: count * layout.dtype.bitWidth / 8)
    let payload = Array(stream[(layout.scaleCount * 4)...])
    try payload.withRaw(shift: shift) { payload throws(QCodecError) in
      try values.withMutableRaw(shift: shift) { target throws(QCodecError) in
        try decoder.decode(chunk: 0, payload: payload, elements: range, into: target)
      }
    }
    return values
  }
}
