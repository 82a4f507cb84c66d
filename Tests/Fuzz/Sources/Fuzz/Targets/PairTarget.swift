import QCodec

/// Both moments of a pair in the update domain: encoded and decoded in one pass as one after the other, at every level.
enum PairTarget {
  static func run(_ input: [UInt8]) -> Bool {
    var cursor = InputCursor(input)
    guard let tensor = TensorInput(&cursor, maximum: 4000, domain: .update),
      let secondScheme = TensorInput.scheme(&cursor, domain: .value)
    else { return false }
    let secondDType = TensorInput.dtypes[Int(cursor.byte() % 3)]
    let layouts = outcome { () throws(QCodecError) in
      let codec = try MomentCodec(
        dtype: tensor.dtype, secondDType: secondDType, shape: tensor.shape, first: tensor.scheme, second: secondScheme)
      return (first: codec.first, second: codec.second.layout)
    }
    // Scale vectors come from a pass of their own, which the target of single tensors has.
    guard let (first, second) = layouts.value, first.scaleCount == 0, second.scaleCount == 0, first.codeChunkCount == 1
    else { return true }
    let range = StreamTarget.range(&cursor, within: tensor.elements)
    let (shift, flags) = (Int(cursor.byte() & 7), cursor.byte())
    let epsilon: Double? = flags & 1 == 0 ? nil : Double(flags) * 1e-9
    let v = cursor.bytes(tensor.elements * secondDType.bitWidth / 8)
    let m = cursor.bytes(tensor.elements * tensor.dtype.bitWidth / 8)
    let pair = Pair(
      first: first, second: second, m: flags & 2 == 0 ? m : tame(m, tensor.dtype, signed: true),
      v: flags & 4 == 0 ? v : tame(v, secondDType, signed: false), shift: shift, epsilon: epsilon, range: range)
    let reference = outcome { () throws(QCodecError) in try pair.run(.scalar) }
    for level in StreamTarget.levels {
      let own = outcome { () throws(QCodecError) in try pair.run(level) }
      require(own == reference, "\(level.name): \(own.error as Any), \(reference.error as Any)")
    }
    return true
  }

  /// Elements of magnitudes about 1, of which more can be encoded than of any bits.
  private static func tame(_ bytes: [UInt8], _ dtype: DType, signed: Bool) -> [UInt8] {
    var result = bytes
    let size = dtype.bitWidth / 8
    // The exponent's upper bits stand in the last byte, below the sign.
    for index in stride(from: size - 1, to: bytes.count, by: size) {
      let sign = signed ? bytes[index] & 0x80 : 0
      result[index] = sign | (0x3A + bytes[index] % 5)
    }
    return result
  }
}

private struct Pair {
  let first: TensorLayout
  let second: TensorLayout
  let m: [UInt8]
  let v: [UInt8]
  let shift: Int
  let epsilon: Double?
  let range: Range<Int>

  struct Outcome: Equatable {
    let payloads: [[UInt8]]
    let statistics: PairEncoder.Outcome
    let values: [[UInt8]]
    let part: [[UInt8]]
    let alone: [UInt8]
  }

  func run(_ level: KernelLevel) throws(QCodecError) -> Outcome {
    let encoder = try PairEncoder(
      first: ChunkEncoder(layout: first, name: "m", scales: [], kernels: level),
      second: ChunkEncoder(layout: second, name: "v", scales: [], kernels: level))
    var payload = [UInt8](repeating: 0xAA, count: first.payloadByteCount(ofChunk: 0))
    var secondPayload = [UInt8](repeating: 0xAA, count: second.payloadByteCount(ofChunk: 0))
    let statistics = try m.withRaw(shift: shift) { m throws(QCodecError) in
      try v.withRaw(shift: shift) { v throws(QCodecError) in
        try payload.withMutableRaw(shift: shift) { payload throws(QCodecError) in
          try secondPayload.withMutableRaw(shift: shift) { secondPayload throws(QCodecError) in
            try encoder.encode(chunk: 0, first: m, second: v, into: payload, secondPayload, epsilon: epsilon)
          }
        }
      }
    }
    let decoder = try PairDecoder(
      first: ChunkDecoder(layout: first, scales: [], kernels: level),
      second: ChunkDecoder(layout: second, scales: [], kernels: level), names: ("m", "v"))
    let payloads = [payload, secondPayload]
    return Outcome(
      payloads: payloads, statistics: statistics, values: try decode(decoder, payloads, nil, both: true),
      part: try decode(decoder, payloads, range, both: true),
      alone: try decode(decoder, payloads, range, both: false)[0])
  }

  private func decode(
    _ decoder: PairDecoder, _ payloads: [[UInt8]], _ range: Range<Int>?, both: Bool
  ) throws(QCodecError) -> [[UInt8]] {
    let count = range?.count ?? Int(first.elementCount)
    var values = [UInt8](repeating: 0, count: count * first.dtype.bitWidth / 8)
    var secondValues = [UInt8](repeating: 0, count: count * second.dtype.bitWidth / 8)
    try payloads[0].withRaw(shift: shift) { payload throws(QCodecError) in
      try payloads[1].withRaw(shift: shift) { secondPayload throws(QCodecError) in
        try values.withMutableRaw(shift: shift) { target throws(QCodecError) in
          try secondValues.withMutableRaw(shift: shift) { secondTarget throws(QCodecError) in
            try decoder.decode(
              chunk: 0, first: payload, second: secondPayload, elements: range, into: target,
              both ? secondTarget : nil)
          }
        }
      }
    }
    return [values, secondValues]
  }
}
