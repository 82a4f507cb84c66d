import QCheckpoint
import QCodec
import QVerify

/// A whole checkpoint in memory, written, read and verified under each lossless stage: what the stages cost and gain on the
/// moments at hand, beside what the codec costs alone.
struct BenchStages {
  /// One operation on one checkpoint.
  struct Row {
    let operation: String
    let policy: String
    let compression: Compression
    let bytes: Int
    let fileBytes: Int
    let threads: Int
    let speed: BenchSpeed

    func json(copySpeed: Double) -> JSONValue {
      .object([
        "operation": .string(operation), "policy": .string(policy), "compression": .string(compression.name),
        "bytes": .count(bytes), "file_bytes": .count(fileBytes), "threads": .count(threads),
        "gb_s": .number(speed.median), "gb_s_min": .number(speed.least), "gb_s_max": .number(speed.greatest),
        "runs": .count(speed.runs), "times_memcpy": .number(speed.median / copySpeed),
      ])
    }
  }

  static let policies = ["adam8", "adam4", "lossless"]

  /// What `run` measures one after another.
  static let count = policies.count * Compression.allCases.count

  private static let names = (first: "exp_avg", second: "exp_avg_sq")

  private let moments: BenchMoments
  private let threads: Int
  private let file: BenchMemoryFile
  private let targets: [BenchMemory]

  /// Prepares the memory, every page of it touched.
  init(_ moments: BenchMoments, threads: Int) throws {
    (self.moments, self.threads) = (moments, threads)
    file = try BenchMemoryFile(holding: 8 * moments.elements)
    targets = try (0..<2).map { _ in try BenchMemory(byteCount: 4 * moments.elements, hugePages: true) }
    for target in targets { target.touch() }
  }

  /// Measures all; `done` is called after each of `count`.
  func run(runs: Int, done: () -> Void) throws -> [Row] {
    try Self.policies.flatMap { policy in
      try Compression.allCases.flatMap { compression in
        let rows = try run(policy, compression, runs: runs)
        done()
        return rows
      }
    }
  }

  private func run(_ policy: String, _ compression: Compression, runs: Int) throws -> [Row] {
    var (writes, reads, checks) = (BenchSamples(), BenchSamples(), BenchSamples())
    // One run that does not count.
    for run in 0...runs {
      var (write, read, check) = (BenchSamples(), BenchSamples(), BenchSamples())
      try write.measure { try self.write(policy, compression) }
      let reader = try unsafe CheckpointReader(source: BorrowedSource(file.contents))
      try read.measure { try self.read(reader) }
      try check.measure { _ = try Verifier(reader, threads: threads).verify() }
      guard run > 0 else { continue }
      writes.add(write.median)
      reads.add(read.median)
      checks.add(check.median)
    }
    let (bytes, fileBytes) = (8 * moments.elements, file.count)
    return [("write", writes), ("read", reads), ("verify", checks)].map { operation, samples in
      Row(
        operation: operation, policy: policy, compression: compression, bytes: bytes, fileBytes: fileBytes,
        threads: threads, speed: samples.speed(bytes: bytes))
    }
  }

  private func write(_ policy: String, _ compression: Compression) throws {
    file.clear()
    let options = WriterOptions(compression: compression, threads: threads)
    let file = file
    let writer = try unsafe CheckpointWriter(
      writing: { bytes throws(QCodecError) in try unsafe file.append(bytes) }, options: options)
    try writer.add(additions(policy))
    _ = try writer.finish()
  }

  private func additions(_ policy: String) -> [Addition] {
    let shape = [UInt64(moments.elements / BenchMoments.columns), UInt64(BenchMoments.columns)]
    func tensor(_ name: String, _ role: Role, _ scheme: Scheme?, _ memory: BenchMemory) -> NewTensor {
      // Safe: the moments live as long as this.
      let source = unsafe BorrowedSource(UnsafeRawBufferPointer(memory.bytes))
      let encoding = scheme.map { Encoding.quantized($0) } ?? .lossless(reason: .none)
      return NewTensor(name: name, dtype: .f32, role: role, encoding: encoding, source: source)
    }
    var schemes: (first: Scheme?, second: Scheme?) = (nil, nil)
    if case .pair(let first, let second)? = BenchScheme.pair(policy)?.work { schemes = (first, second) }
    let first = tensor(Self.names.first, .firstMoment, schemes.first, moments.first)
    let second = tensor(Self.names.second, .secondMoment, schemes.second, moments.second)
    // Only what is quantized is coded as a pair.
    return schemes.first == nil
      ? [.tensor(first, shape: shape), .tensor(second, shape: shape)]
      : [.pair(first: first, second: second, shape: shape, fallback: nil)]
  }

  private func read(_ reader: CheckpointReader) throws {
    let wanted = try unsafe zip([Self.names.first, Self.names.second], targets).map { name, target in
      guard let tensor = reader.find(name) else { throw QCodecError(.tensorNotFound, "not written", tensor: name) }
      return unsafe (tensor: tensor, target: target.bytes)
    }
    try unsafe reader.read(wanted, threads: threads)
  }
}

/// A file in memory that was there before, written from its beginning to its end.
///
/// Safe: one thread writes, and nobody reads before it is done.
@safe final class BenchMemoryFile: @unchecked Sendable {
  private let memory: BenchMemory
  private(set) var count = 0

  /// Room for a checkpoint of so many bytes of tensors, stored as they are at worst.
  init(holding byteCount: Int) throws {
    memory = try BenchMemory(byteCount: byteCount + byteCount / 32 + 1 << 20, hugePages: true)
    memory.touch()
  }

  var contents: UnsafeRawBufferPointer { unsafe memory[0..<count] }

  func clear() { count = 0 }

  func append(_ bytes: UnsafeRawBufferPointer) throws(QCodecError) {
    guard unsafe bytes.count <= memory.bytes.count - count else {
      throw QCodecError(.limitExceeded, "the checkpoint is larger than its tensors and the room beside them")
    }
    unsafe memory.room(count..<count + bytes.count).copyMemory(from: bytes)
    count += bytes.count
  }
}
