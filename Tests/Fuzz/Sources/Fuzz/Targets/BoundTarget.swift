import QCheckpoint
import QCodec
import QVerify

/// Files under a bound: what is read back keeps it, element by element, and the file's own guarantees hold.
enum BoundTarget {
  /// Fewer are stored lossless.
  private static let count = 4096 + 33

  static func run(_ input: [UInt8]) -> Bool {
    var cursor = InputCursor(input)
    let (kind, flags, significand) = (cursor.byte(), cursor.byte(), cursor.byte())
    let exponent = Int(Int8(bitPattern: cursor.byte()))
    let value = Double(sign: .plus, exponent: exponent, significand: 1 + Double(significand) / 256)
    let asked = outcome { () throws(QCodecError) in
      try RequestedBound(
        RequestedBound.Kind.allCases[Int(kind) % 3], value, isOfRMS: flags & 1 != 0, epsilon: flags & 2 == 0 ? 1e-8 : 0)
    }
    guard let request = asked.value else { return true }
    let dtypes = [DType.f32, .f32, .bf16, .f16]
    let tensors = [
      BoundInput(&cursor, name: "m", dtype: dtypes[Int(flags >> 2 & 3)], isSigned: true, count: count),
      BoundInput(
        &cursor, name: "v", dtype: dtypes[Int(flags >> 4 & 3)], isSigned: request.kind != .update, count: count),
    ]
    let written = outcome { () throws(QCodecError) in
      try file(tensors, request, compression: Compression.allCases[Int(kind >> 4) % 3])
    }
    guard let bytes = written.value else {
      // Updates of huge moments beside tiny ones are no numbers.
      require(request.kind == .update, "refused: \(written.error as Any)")
      return true
    }
    let read = outcome { () throws(QCodecError) in
      let reader = try CheckpointReader(source: MemorySource(bytes: bytes))
      let report = try Verifier(reader, threads: 1).verify()
      require(report.firstViolation == nil, "a guarantee does not hold: \(report.firstViolation as Any)")
      return try tensors.map { tensor throws(QCodecError) in
        let index = reader.find(tensor.name)
        require(index != nil, "\(tensor.name) is not there")
        return tensor.dtype.doubles(try reader.bytes(ofTensor: index ?? 0, threads: 1))
      }
    }
    guard let decoded = read.value else {
      require(false, "what was written cannot be read: \(read.error as Any)")
      return false
    }
    compare(tensors.map { $0.dtype.doubles($0.bytes) }, decoded, request)
    return true
  }

  private static func file(
    _ tensors: [BoundInput], _ request: RequestedBound, compression: Compression
  ) throws(QCodecError) -> [UInt8] {
    var options = WriterOptions(compression: compression, threads: 1)
    options.allowsEscapes = true
    let first = Scheme(map: .linear, bits: 8, signed: true, scaling: .block(256), domain: .update)
    let second = Scheme(map: .log, bits: 8, signed: false, scaling: .block(512))
    let shape = [UInt64(count)]
    let additions: [Addition] =
      request.kind == .update
      ? [
        .pair(
          first: tensors[0].new(.quantized(first)), second: tensors[1].new(.quantized(second)), shape: shape,
          fallback: nil)
      ]
      : tensors.map { .tensor($0.new(.lossless(reason: .none)), shape: shape) }
    var bytes: [UInt8] = []
    let writer = try CheckpointWriter(
      writing: { chunk throws(QCodecError) in bytes.append(contentsOf: chunk) }, options: options)
    try writer.add(additions, planning: BoundPlanner(request, options: options))
    _ = try writer.finish()
    return bytes
  }

  private static func compare(_ exact: [[Double]], _ decoded: [[Double]], _ request: RequestedBound) {
    guard request.kind != .update else {
      func update(_ m: Double, _ v: Double) -> Double {
        m == 0 && v == 0 ? 0 : m / (v.squareRoot() + request.epsilon)
      }
      let updates = zip(exact[0], exact[1]).map(update)
      let limit = limit(updates, request)
      for (index, u) in updates.enumerated() {
        let û = update(decoded[0][index], decoded[1][index])
        require(u == û || (u - û).magnitude <= limit, "update \(index): \(u), \(û), bound \(limit)")
      }
      return
    }
    for (exact, decoded) in zip(exact, decoded) {
      let limit = limit(exact, request)
      for (index, (x, y)) in zip(exact, decoded).enumerated() {
        let own = request.kind == .relative ? request.value * x.magnitude : limit
        require((x - y).magnitude <= own, "element \(index): \(x), \(y), bound \(own)")
      }
    }
  }

  /// A root mean square that is summed in another order may differ in its last bits.
  private static func limit(_ values: [Double], _ request: RequestedBound) -> Double {
    guard request.isOfRMS else { return request.value }
    let squares = values.reduce(0) { $0 + $1 * $1 }
    return request.value * (squares / Double(values.count)).squareRoot() * (1 + 0x1p-28)
  }
}

/// A tensor made of a few bytes of the input, all of it finite.
private struct BoundInput {
  let name: String
  let dtype: DType
  private(set) var bytes: [UInt8] = []

  init(_ cursor: inout InputCursor, name: String, dtype: DType, isSigned: Bool, count: Int) {
    (self.name, self.dtype) = (name, dtype)
    let (scale, noise, rare) = (Int8(bitPattern: cursor.byte()), cursor.byte(), cursor.number(UInt32.self))
    let pool = cursor.bytes(Int(cursor.byte() % 64) + 1)
    var state: UInt32 = 1
    for index in 0..<count {
      state = state &* 1_664_525 &+ 1_013_904_223
      let byte = pool[index % pool.count]
      // Most are of one magnitude with as much noise as the input wants, some any pattern.
      let near = (Float(Int8(bitPattern: byte)) + Float(state >> 16) / 65536 * Float(noise)) / 128
      var pattern = (near * Float(sign: .plus, exponent: Int(scale), significand: 1)).bitPattern
      if byte == 0x7F { pattern = rare ^ state & UInt32(noise) << 16 }
      append(pattern, isSigned)
    }
  }

  private mutating func append(_ pattern: UInt32, _ isSigned: Bool) {
    let sign: UInt32 = isSigned ? 0xFFFF_FFFF : 0x7FFF_FFFF
    guard dtype == .f16 else {
      let own = pattern & sign
      let finite = own & 0x7F80_0000 == 0x7F80_0000 ? own & 0xBFFF_FFFF : own
      if dtype == .f32 { bytes.append(littleEndian: finite) } else { bytes.append(littleEndian: UInt16(finite >> 16)) }
      return
    }
    let own = UInt16(truncatingIfNeeded: pattern >> 13 ^ pattern >> 16) & UInt16(sign >> 16)
    bytes.append(littleEndian: own & 0x7C00 == 0x7C00 ? own & 0xBFFF : own)
  }

  func new(_ encoding: Encoding) -> NewTensor {
    NewTensor(
      name: name, dtype: dtype, role: name == "m" ? .firstMoment : .secondMoment, encoding: encoding,
      source: MemorySource(bytes: bytes))
  }
}

extension DType {
  /// Elements in float64.
  fileprivate func doubles(_ bytes: [UInt8]) -> [Double] {
    let size = bitWidth / 8
    return (0..<bytes.count / size).map { index in
      let low = UInt32(bytes[index * size]) | UInt32(bytes[index * size + 1]) << 8
      switch self {
      case .f16: return Double(Float16(bitPattern: UInt16(low)))
      case .bf16: return Double(Float(bitPattern: low << 16))
      default: return Double(Float(bitPattern: bytes.half(index * 4)))
      }
    }
  }
}
