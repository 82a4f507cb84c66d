import QCodec

/// Encoding: every kernel level writes what the scalar reference writes, within the bound that it records.
enum KernelTarget {
  static func run(_ input: [UInt8]) -> Bool {
    var cursor = InputCursor(input)
    let isUpdate = cursor.byte() & 3 == 3
    guard let tensor = TensorInput(&cursor, maximum: 6000, domain: isUpdate ? .update : .value) else { return false }
    let made = outcome { () throws(QCodecError) in
      try TensorLayout(dtype: tensor.dtype, shape: tensor.shape, scheme: tensor.scheme)
    }
    guard let layout = made.value else { return true }
    let range = StreamTarget.range(&cursor, within: tensor.elements)
    let divisors = isUpdate ? self.divisors(tensor.elements, &cursor) : []
    let shift = Int(cursor.byte() & 7)
    let source = values(tensor, &cursor)
    let reference = outcome { () throws(QCodecError) in try run(layout, source, divisors, range, .scalar, shift) }
    for level in StreamTarget.levels {
      let own = outcome { () throws(QCodecError) in try run(layout, source, divisors, range, level, shift) }
      require(own == reference, "\(level.name): \(own.error as Any), \(reference.error as Any)")
    }
    if let found = reference.value, !isUpdate { check(found, layout, source) }
    return true
  }

  private struct Outcome: Equatable {
    let payload: [UInt8]
    let statistics: TensorStatistics
    let values: [UInt8]
    let part: [UInt8]
    let scales: [UInt32]
  }

  private static func run(
    _ layout: TensorLayout, _ source: [UInt8], _ divisors: [Float], _ range: Range<Int>, _ level: KernelLevel,
    _ shift: Int
  ) throws(QCodecError) -> Outcome {
    var scales: [Float] = []
    if ScalePass.isNeeded(for: layout) {
      // Callers look for values that are not finite before they take scales, which such values make meaningless.
      guard floats(source, layout.dtype).allSatisfy(\.isFinite) else {
        throw QCodecError(.nonFiniteValue, "a value that is not finite")
      }
      let pass = ScalePass(layout: layout, kernels: level)
      try source.withRaw(shift: shift) { source throws(QCodecError) in
        try pass.accumulate(chunk: 0, source: source, divisors: divisors)
      }
      scales = pass.finish()
      // In the update domain a quotient may overflow.
      guard scales.allSatisfy(\.isFinite) else { throw QCodecError(.updateNotFinite, "a scale") }
    }
    let encoder = try ChunkEncoder(layout: layout, name: "t", scales: scales, kernels: level)
    guard layout.codeChunkCount == 1 else {
      return Outcome(payload: [], statistics: TensorStatistics(), values: [], part: [], scales: [])
    }
    var payload = [UInt8](repeating: 0xAA, count: layout.payloadByteCount(ofChunk: 0))
    let statistics = try source.withRaw(shift: shift) { source throws(QCodecError) in
      try payload.withMutableRaw(shift: shift) { payload throws(QCodecError) in
        try encoder.encode(chunk: 0, source: source, divisors: divisors, into: payload)
      }
    }
    let decoder = try ChunkDecoder(layout: layout, scales: scales, kernels: level)
    return Outcome(
      payload: payload, statistics: statistics, values: try decode(decoder, payload, divisors, nil, shift),
      part: try decode(decoder, payload, divisors, range, shift), scales: scales.map(\.bitPattern))
  }

  private static func decode(
    _ decoder: ChunkDecoder, _ payload: [UInt8], _ divisors: [Float], _ range: Range<Int>?, _ shift: Int
  ) throws(QCodecError) -> [UInt8] {
    let count = range?.count ?? Int(decoder.layout.elementCount)
    let own = divisors.isEmpty ? [] : range.map { Array(divisors[$0]) } ?? divisors
    var values = [UInt8](repeating: 0, count: count * decoder.layout.dtype.bitWidth / 8)
    try payload.withRaw(shift: shift) { payload throws(QCodecError) in
      try values.withMutableRaw(shift: shift) { target throws(QCodecError) in
        try decoder.decode(chunk: 0, payload: payload, elements: range, divisors: own, into: target)
      }
    }
    return values
  }

  // MARK: Values

  /// Elements: bits of the input as they are, or values about 1 that more schemes take.
  private static func values(_ tensor: TensorInput, _ cursor: inout InputCursor) -> [UInt8] {
    let (kind, scale) = (cursor.byte(), Int(cursor.byte()))
    let size = tensor.dtype.bitWidth / 8
    let bytes = cursor.bytes(tensor.elements * size)
    guard kind & 1 == 1 else { return bytes }
    var result: [UInt8] = []
    for index in 0..<tensor.elements {
      // Two bytes of the input choose a value; blocks have sizes of their own.
      let bits = UInt32(bytes[index * size]) | UInt32(bytes[index * size + 1]) << 8
      let exponent = kind & 2 == 0 ? 0 : (index / 32 * (scale & 31)) % 200 - 140
      let fraction = (kind & 4 == 0 && tensor.scheme.signed ? Float(bits) - 32_768 : Float(bits)) / 32_768
      let value = Float(sign: .plus, exponent: max(-149, min(20, exponent)), significand: fraction)
      switch tensor.dtype {
      case .f32: result.append(littleEndian: value.bitPattern)
      case .bf16: result.append(littleEndian: UInt16(value.bitPattern >> 16))
      default: result.append(littleEndian: UInt16(truncatingIfNeeded: bits & (tensor.scheme.signed ? 0xBBFF : 0x3BFF)))
      }
    }
    return result
  }

  private static func divisors(_ count: Int, _ cursor: inout InputCursor) -> [Float] {
    let bytes = cursor.bytes(64)
    return (0..<count).map { index in
      let byte = bytes[index % 64]
      return Float(sign: .plus, exponent: Int(byte & 63) - 40, significand: 1 + Float(byte >> 6) / 8)
    }
  }

  // MARK: Bounds

  /// Each element lies within the recorded guarantee, and what was decoded is coded again as it was.
  private static func check(_ found: Outcome, _ layout: TensorLayout, _ source: [UInt8]) {
    let (x, decoded) = (floats(source, layout.dtype), floats(found.values, layout.dtype))
    let bound = found.statistics.guaranteedMaxAbsError
    var largest = 0.0
    for (one, other) in zip(x, decoded) where one.isFinite {
      largest = max(largest, (Double(one) - Double(other)).magnitude)
      require((Double(one) - Double(other)).magnitude <= bound, "\(one) decodes to \(other), the bound is \(bound)")
      if one == 0, hasZero(layout.scheme.map) { require(other.bitPattern == 0, "zero decodes to \(other)") }
      if layout.scheme.map == .log, one > 0 { require(other > 0 || layout.dtype != .f32, "\(one) decodes to \(other)") }
    }
    require(largest == found.statistics.maxAbsError, "\(largest), recorded as \(found.statistics.maxAbsError)")
    guard layout.dtype == .f32, layout.scheme.rounding == .nearest, layout.scheme.map != .custom,
      isIdempotent(layout.scheme)
    else { return }
    let again = outcome { () throws(QCodecError) in try run(layout, found.values, [], 0..<0, .scalar, 0) }
    require(again.value?.values == found.values, "values change when they are coded again: \(again.error as Any)")
  }

  /// DESIGN and Spec promise it but for magnitudes as scales of maps that lack −1.
  private static func isIdempotent(_ scheme: Scheme) -> Bool {
    let lacksMinusOne = scheme.signed && (scheme.map == .dynamic || scheme.map == .cubic)
    return !lacksMinusOne || scheme.scaleRule == .signedExtreme
  }

  private static func hasZero(_ map: Scheme.Map) -> Bool {
    map != .linearNoZero && map != .dynamicNoZero && map != .custom
  }

  private static func floats(_ bytes: [UInt8], _ dtype: DType) -> [Float] {
    stride(from: 0, to: bytes.count, by: dtype.bitWidth / 8).map { at in
      switch dtype {
      case .f32: Float(bitPattern: bytes.half(at))
      case .bf16: Float(bitPattern: UInt32(bytes[at]) << 16 | UInt32(bytes[at + 1]) << 24)
      default: Float(Float16(bitPattern: UInt16(bytes[at]) | UInt16(bytes[at + 1]) << 8))
      }
    }
  }
}
