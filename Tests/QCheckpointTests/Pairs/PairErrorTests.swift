import QCodec
import Synchronization
import Testing

@testable import QCheckpoint

@Suite("Pairs that are refused")
struct PairErrorTests {
  private let folder: InputFolder
  private let pair = Pair(shape: [300_000], seed: 94)

  init() throws { folder = try InputFolder() }

  /// The error of adding to a checkpoint that would replace a file; that file stays, and no other appears.
  private func error(_ pair: Pair, closes: Bool) throws -> QCodecError? {
    let previous = noise(500, seed: 95)
    _ = try folder.write(previous, "c")
    let writer = try CheckpointWriter(path: folder.path("c"), options: .init(compression: .none, threads: 2))
    try writer.add("before", bytes: [1])
    let error = inputError { try pair.add(to: writer) }
    if closes {
      #expect(inputError { _ = try writer.finish() }?.code == .writerClosed)
      #expect(try folder.read("c") == previous)
    } else {
      // Nothing was written: the pair can be added after all.
      try self.pair.add(to: writer)
      _ = try writer.finish()
      #expect(try CheckpointReader(path: folder.path("c")).tensorCount == 3)
    }
    #expect(try folder.names == ["c"])
    return error
  }

  private func poisoned(_ part: WritableKeyPath<Pair, [UInt8]>, _ index: Int, _ value: Float) -> Pair {
    pair.with { $0[keyPath: part].replaceSubrange(index * 4..<index * 4 + 4, with: littleEndian(value.bitPattern)) }
  }

  @Test("Values that cannot be, with tensor and element; the previous file stays", arguments: [0, 262_145])
  func values(index: Int) throws {
    for value in [Float.nan, -.infinity] {
      let first = try error(poisoned(\.m, index, value), closes: true)
      #expect(first?.code == .nonFiniteValue && first?.tensor == "m" && first?.index == UInt64(index))
      let second = try error(poisoned(\.v, index, value), closes: true)
      #expect(second?.code == .nonFiniteValue && second?.tensor == "v" && second?.index == UInt64(index))
    }
    let negative = try error(poisoned(\.v, index, -1), closes: true)
    #expect(negative?.code == .negativeValue && negative?.tensor == "v" && negative?.index == UInt64(index))
  }

  @Test("A source that fails, of either moment, in any pass", arguments: [0, 1, 2])
  func sources(reads: Int) throws {
    let bytes = (pair.m, pair.v)
    for fails in ["m", "v"] {
      _ = try folder.write([7], "c")
      let writer = try CheckpointWriter(path: folder.path("c"), options: .init(compression: .none, threads: 1))
      let counts = ReadCount(limit: reads)
      func source(_ name: String, _ bytes: [UInt8]) -> any TensorSource {
        let memory = MemorySource(bytes: bytes)
        guard name == fails else { return memory }
        return unsafe CallbackSource(byteCount: memory.byteCount) { offset, target throws(QCodecError) in
          guard counts.take() else { throw QCodecError(.io, "the source failed") }
          try unsafe memory.read(at: offset, into: target)
        }
      }
      let error = inputError {
        try writer.addPair(
          first: NewTensor(
            name: "m", dtype: .f32, role: .other, encoding: .quantized(updateScheme()), source: source("m", bytes.0)),
          second: NewTensor(
            name: "v", dtype: .f32, role: .other, encoding: .quantized(log8), source: source("v", bytes.1)),
          shape: [300_000])
      }
      #expect(error?.code == .io, "\(fails)")
      #expect(try folder.read("c") == [7] && folder.names == ["c"])
    }
  }

  @Test("Arguments that cannot be leave the writer open")
  func arguments() throws {
    func code(_ change: (inout Pair) -> Void) throws -> QCodecError.Code? {
      try error(pair.with(change), closes: false)?.code
    }
    #expect(try code { $0.names.second = "m" } == .duplicateName)
    #expect(try code { $0.names.first = "before" } == .duplicateName)
    #expect(try code { $0.names.second = "before" } == .duplicateName)
    #expect(try code { $0.names.first = "" } == .invalidName)
    #expect(try code { $0.m.removeLast(4) } == .shapeMismatch)
    #expect(try code { $0.v.removeLast(4) } == .shapeMismatch)
    #expect(try code { $0.dtypes.first = .f64 } == .shapeMismatch)
    #expect(try code { $0.shape = [299_999] } == .shapeMismatch)
    #expect(try code { $0.first = .quantized(updateScheme(.block(100))) } == .unsupportedScheme)
    #expect(try code { $0.second = .quantized(updateScheme()) } == .unsupportedScheme)
    #expect(try code { $0.fallback = updateScheme() } == .unsupportedScheme)
    #expect(
      try code { $0.fallback = Scheme(map: .normal, bits: 8, signed: true, scaling: .tensor) } == .unsupportedScheme)
  }

  @Test("Alone, a first moment of the update domain is refused")
  func alone() throws {
    let writer = try CheckpointWriter(path: folder.path("c"), options: .init(compression: .none, threads: 1))
    let added = inputError { try writer.add("m", [1, 2, 3], updateScheme()) }
    #expect(added?.code == .unsupportedScheme && added?.tensor == "m")
    let pushed = inputError {
      try writer.add(name: "m", dtype: .f32, shape: [3], encoding: .quantized(updateScheme())) { _ in }
    }
    #expect(pushed?.code == .unsupportedScheme && pushed?.tensor == "m")
    try writer.add("m", bytes: [1])
    _ = try writer.finish()
  }
}

/// Counts reads down to those that fail.
private final class ReadCount: Sendable {
  private let rest: Mutex<Int>

  init(limit: Int) { rest = Mutex(limit) }

  /// Whether one more may succeed.
  func take() -> Bool {
    rest.withLock { rest in
      rest -= 1
      return rest >= 0
    }
  }
}
