import QCheckpoint
import QCodec

/// Small valid checkpoints of all kinds of tensors, by the library's own writer.
enum FreshCheckpoint {
  static func make(_ random: inout Random) -> [UInt8] {
    var file: [UInt8] = []
    let stage = Compression.allCases[random.below(3)]
    let made = outcome { () throws(QCodecError) in
      let writer = try CheckpointWriter(
        writing: { bytes throws(QCodecError) in file.append(contentsOf: bytes) },
        options: WriterOptions(compression: stage, threads: 1))
      for index in 0..<random.below(4) { try add(index, to: writer, &random) }
      if random.once(in: 2) { try writer.setMetadata(.object(["metadata": .object(["a": .string("b")])])) }
      _ = try writer.finish()
    }
    // What the schemes refuse leaves a file that was cut short.
    _ = made
    return file
  }

  private static func add(_ index: Int, to writer: CheckpointWriter, _ random: inout Random) throws(QCodecError) {
    var cursor = InputCursor((0..<64).map { _ in UInt8.random(in: 0...255, using: &random) })
    let shape = shape(&random)
    let count = Int(shape.reduce(1, *))
    let dtype = TensorInput.dtypes[random.below(3)]
    let domain: Scheme.Domain = random.once(in: 4) ? .update : .value
    guard let scheme = TensorInput.scheme(&cursor, domain: domain), !random.once(in: 4) else {
      let dtype = DType.allCases[random.below(DType.allCases.count)]
      let bytes = [UInt8](repeating: UInt8(random.below(256)), count: count * dtype.bitWidth / 8)
      return try writer.add(
        name: "raw\(index)", dtype: dtype, shape: shape, encoding: .lossless(reason: .none),
        source: MemorySource(bytes: bytes))
    }
    let values = MemorySource(bytes: bytes(dtype, count, signed: scheme.signed, &random))
    guard domain == .update else {
      return try writer.add(
        name: "t\(index)", dtype: dtype, shape: shape, encoding: .quantized(scheme), source: values)
    }
    let bits = Scheme.widths[random.below(Scheme.widths.count)]
    let second = Scheme(map: .log, bits: bits, signed: false, scaling: .block(64))
    let divisors = MemorySource(bytes: bytes(.f32, count, signed: false, &random))
    try writer.addPair(
      first: NewTensor(name: "m\(index)", dtype: dtype, encoding: .quantized(scheme), source: values),
      second: NewTensor(name: "v\(index)", dtype: .f32, encoding: .quantized(second), source: divisors), shape: shape,
      measuring: random.once(in: 2) ? 1e-8 : nil)
  }

  private static func shape(_ random: inout Random) -> [UInt64] {
    (0..<random.below(4)).map { _ in UInt64(random.below(random.once(in: 8) ? 70 : 9)) }
  }

  private static func bytes(_ dtype: DType, _ count: Int, signed: Bool, _ random: inout Random) -> [UInt8] {
    var result: [UInt8] = []
    for _ in 0..<count {
      // bfloat16 is the upper half of a float32; float16 takes the same bits as another number.
      let pattern = Float.random(in: (signed ? -1 : 0)...1, using: &random).bitPattern
      if dtype == .f32 {
        result.append(littleEndian: pattern)
      } else {
        result.append(littleEndian: UInt16(pattern >> 16))
      }
    }
    return result
  }
}
