import CQCodecKernels
import QCheckpoint
import QCodec
import Synchronization
import Testing
import TestSupport

typealias SeededGenerator = TestSupport.SeededGenerator

/// Bytes that nothing compresses.
func noise(_ count: Int, seed: UInt64) -> [UInt8] {
  var generator = SeededGenerator(seed: seed)
  return (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
}

/// Moments: many magnitudes, zeros, either sign or none.
func momentValues(_ count: Int, signed: Bool, seed: UInt64) -> [Float] {
  var generator = SeededGenerator(seed: seed)
  return (0..<count).map { _ in
    let bits = generator.next()
    if bits & 15 == 0 { return 0 }
    let sign: FloatingPointSign = signed && bits & 16 != 0 ? .minus : .plus
    return Float(sign: sign, exponent: -2 - Int(bits >> 8 & 31), significand: 1 + Float(bits >> 16 & 0xFFFF) / 65_536)
  }
}

/// The bytes of float32 values in a dtype that can be quantized; the narrow ones by dropping low bits.
func momentBytes(_ values: [Float], dtype: DType) -> [UInt8] {
  switch dtype {
  case .bf16: values.flatMap { littleEndian(UInt16($0.bitPattern >> 16)) }
  case .f16: values.flatMap { littleEndian(Float16($0).bitPattern) }
  default: littleEndian(floats: values)
  }
}

/// The bytes of a checkpoint that `body` fills.
func checkpoint(
  _ options: WriterOptions = .init(compression: .none, threads: 2), _ body: (CheckpointWriter) throws -> Void
) throws -> [UInt8] {
  let folder = try InputFolder()
  let writer = try CheckpointWriter(path: folder.path("c.qckpt"), options: options)
  try body(writer)
  _ = try writer.finish()
  return try folder.read("c.qckpt")
}

/// Opens a checkpoint in memory.
func opened(_ bytes: [UInt8], verifyChecksums: Bool = true) throws(QCodecError) -> CheckpointReader {
  try CheckpointReader(source: MemorySource(bytes: bytes), verifyChecksums: verifyChecksums)
}

extension CheckpointWriter {
  /// Adds an f32 tensor under a scheme.
  func add(_ name: String, _ values: [Float], shape: [UInt64]? = nil, _ scheme: Scheme) throws(QCodecError) {
    try add(
      name: name, dtype: .f32, shape: shape ?? [UInt64(values.count)], encoding: .quantized(scheme),
      source: MemorySource(values))
  }

  /// Adds a lossless u8 tensor.
  func add(_ name: String, bytes: [UInt8]) throws(QCodecError) {
    try add(
      name: name, dtype: .u8, shape: [UInt64(bytes.count)], encoding: .lossless(reason: .none),
      source: MemorySource(bytes: bytes))
  }
}

extension CheckpointReader {
  /// Every tensor's bytes.
  func everything(threads: Int = 1) throws(QCodecError) -> [[UInt8]] {
    var result: [[UInt8]] = []
    for index in 0..<tensorCount { result.append(try bytes(ofTensor: index, threads: threads)) }
    return result
  }

  /// The bytes of a range of rows.
  func rows(_ rows: Range<UInt64>, ofTensor index: Int, count: Int, threads: Int = 1) throws(QCodecError) -> [UInt8] {
    var result = [UInt8](repeating: 0xEE, count: count)
    try unsafe result.withMutableBytes { buffer throws(QCodecError) in
      try unsafe readRows(tensor: index, rows: rows, into: buffer, threads: threads)
    }
    return result
  }

  /// A range of a tensor's bytes.
  func bytes(at offset: UInt64, count: Int, ofTensor index: Int) throws(QCodecError) -> [UInt8] {
    var result = [UInt8](repeating: 0xEE, count: count)
    try unsafe result.withMutableBytes { buffer throws(QCodecError) in
      try unsafe readBytes(tensor: index, at: offset, into: buffer)
    }
    return result
  }
}

/// A file in memory that keeps account of what is read from it.
final class CountingSource: TensorSource {
  private let memory: MemorySource
  private let log = Mutex<[Range<UInt64>]>([])

  init(_ bytes: [UInt8]) { memory = MemorySource(bytes: bytes) }

  var byteCount: UInt64 { memory.byteCount }

  func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws(QCodecError) {
    log.withLock { $0.append(offset..<offset + UInt64(target.count)) }
    try unsafe memory.read(at: offset, into: target)
  }

  /// The ranges read since the last call, by offset.
  func takeReads() -> [Range<UInt64>] {
    log.withLock { reads in
      defer { reads = [] }
      return reads.sorted { $0.lowerBound < $1.lowerBound }
    }
  }
}

/// Runs `body` as it is, then in each environment that hosts leave behind: equal results, and the environment restored.
func expectSameInEveryEnvironment<Value: Equatable>(
  _ what: Comment, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Value
) throws {
  let expected = try body()
  for mode in Int32(1)...4 {
    let saved = qcodec_environment_enter()
    qcodec_environment_simulate(mode)
    let before = qcodec_environment_current()
    let result = Result { try body() }
    let after = qcodec_environment_current()
    qcodec_environment_leave(saved)
    let value = try? result.get()
    #expect(value == expected, "\(what), mode \(mode): \(result)", sourceLocation: sourceLocation)
    #expect(after == before, "\(what), mode \(mode): environment not restored", sourceLocation: sourceLocation)
  }
}

/// A custom table of 16 entries, unevenly spaced.
func customTable() throws -> MapTable {
  try MapTable(
    custom: [-1, -0.75, -0.5, -0.3, -0.2, -0.1, -0.05, 0, 0.04, 0.1, 0.15, 0.3, 0.45, 0.6, 0.8, 1], signed: true,
    scaleRule: .absmax)
}
