import Foundation

@testable import QCheckpoint
@testable import QCodec
@testable import QVerify

/// A tensor to be written and compared with.
struct Sample {
  var name: String
  var dtype: DType = .f32
  var shape: [UInt64]
  var bytes: [UInt8]
  /// nil for lossless.
  var scheme: Scheme?

  /// A quantized tensor of values that the dtype holds exactly.
  init(_ name: String, dtype: DType = .f32, shape: [UInt64]? = nil, _ values: [Float], scheme: Scheme) {
    self.name = name
    self.dtype = dtype
    self.shape = shape ?? [UInt64(values.count)]
    bytes = Narrow.bytes(values, dtype: dtype)
    self.scheme = scheme
  }

  /// A lossless tensor of bytes.
  init(_ name: String, dtype: DType, shape: [UInt64], bytes: [UInt8]) {
    (self.name, self.dtype, self.shape, self.bytes) = (name, dtype, shape, bytes)
  }

  /// The same with an element of an f32 tensor altered.
  func altered(_ index: Int, to value: Float) -> Sample {
    var copy = self
    copy.bytes.replaceSubrange(index * 4..<index * 4 + 4, with: littleEndian(value.bitPattern))
    return copy
  }
}

/// The bytes of a checkpoint of these tensors, chunks stored plain.
func checkpoint(_ samples: [Sample], policy: Policy? = nil) throws -> [UInt8] {
  try checkpointBytes { writer in
    if let policy { try writer.setMetadata(.object(["policy": policy.json])) }
    for sample in samples {
      try writer.add(
        name: sample.name, dtype: sample.dtype, shape: sample.shape,
        encoding: sample.scheme.map { .quantized($0) } ?? .lossless(reason: .none),
        source: MemorySource(bytes: sample.bytes))
    }
  }
}

/// The bytes of a checkpoint that `body` fills, chunks stored plain.
func checkpointBytes(_ body: (CheckpointWriter) throws -> Void) throws -> [UInt8] {
  let url = FileManager.default.temporaryDirectory.appendingPathComponent("qcodec-verify-\(UUID().uuidString)")
  defer { try? FileManager.default.removeItem(at: url) }
  let writer = try CheckpointWriter(path: url.path, options: .init(compression: .none, threads: 1))
  try body(writer)
  _ = try writer.finish()
  return [UInt8](try Data(contentsOf: url))
}

/// Tensors as what a checkpoint is verified against.
func original(_ samples: [Sample]) -> InputDocument {
  let tensors = samples.map {
    InputTensor(name: $0.name, dtype: $0.dtype, shape: $0.shape, source: MemorySource(bytes: $0.bytes))
  }
  return InputDocument(tensors: tensors, metadata: [:], kind: "memory", files: [])
}

/// What verification of a file in memory finds.
func verify(
  _ file: [UInt8], against samples: [Sample]? = nil, limits: Verifier.Limits = .init(), threads: Int = 1
) throws -> VerificationReport {
  let reader = try CheckpointReader(source: MemorySource(bytes: file))
  return try Verifier(reader, limits: limits, threads: threads).verify(against: samples.map(original))
}

/// A checkpoint altered by someone who knows the format: every checksum is put right again.
struct Forgery {
  private(set) var bytes: [UInt8]
  private let reader: CheckpointReader

  init(_ file: [UInt8]) throws {
    bytes = file
    reader = try CheckpointReader(source: MemorySource(bytes: file))
  }

  private var directory: Range<Int> {
    let start = Int(reader.trailer.directoryOffset)
    return start..<start + Int(reader.trailer.directoryLength)
  }

  /// Replaces bytes that occur exactly once in the directory by as many others.
  mutating func replaceInDirectory(_ old: [UInt8], by new: [UInt8]) {
    let places = directory.filter { bytes[$0...].starts(with: old) }
    precondition(places.count == 1 && old.count == new.count, "\(old) occurs \(places.count) times")
    bytes.replaceSubrange(places[0]..<places[0] + new.count, with: new)
    seal()
  }

  /// Replaces the recorded guarantee of a tensor.
  mutating func setGuarantee(_ value: Double, of tensor: Int) {
    let old = reader.tensor(tensor).statistics.guaranteedMaxAbsError
    replaceInDirectory(littleEndian(old.bitPattern), by: littleEndian(value.bitPattern))
  }

  /// Replaces bytes of a chunk that is stored plain.
  mutating func replace(inChunk index: Int, at offset: Int, by new: [UInt8]) {
    let chunk = reader.chunk(index)
    precondition(chunk.compression == .none && offset + new.count <= chunk.storedLength)
    let start = Int(chunk.offset)
    bytes.replaceSubrange(start + offset..<start + offset + new.count, with: new)
    let hash = xxh3(Array(bytes[start..<start + chunk.storedLength]))
    // A frame right before the chunk repeats its hash.
    if bytes[..<start].suffix(8).elementsEqual(littleEndian(chunk.hash)) {
      bytes.replaceSubrange(start - 8..<start, with: littleEndian(hash))
    }
    replaceInDirectory(littleEndian(chunk.hash), by: littleEndian(hash))
  }

  private mutating func seal() {
    var trailer = reader.trailer
    trailer.directoryHash = xxh3(Array(bytes[directory]))
    bytes.replaceSubrange(bytes.count - Format.trailerSize..<bytes.count, with: trailer.bytes)
  }
}

/// A file of `Fixtures/`.
func fixture(_ path: String) throws -> [UInt8] {
  let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
  return [UInt8](try Data(contentsOf: root.appendingPathComponent("Fixtures").appendingPathComponent(path)))
}
