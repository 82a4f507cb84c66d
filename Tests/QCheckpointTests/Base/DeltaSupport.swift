import Foundation
import QCodec
import Testing

@testable import QCheckpoint

/// A run that saves at steps: tensors that stay, that move a little, that are new in every step.
enum Run {
  /// What the base of a checkpoint may be.
  static func options(
    _ compression: Compression, base: CheckpointReader? = nil, name: String? = nil, threads: Int = 2
  ) -> WriterOptions {
    var options = WriterOptions(compression: compression, threads: threads)
    (options.base, options.baseName) = (base, name)
    return options
  }

  /// The checkpoint of a step.
  static func save(
    _ step: UInt64, _ compression: Compression = .zstd, base: CheckpointReader? = nil, name: String? = nil,
    threads: Int = 2
  ) throws -> [UInt8] {
    try checkpoint(options(compression, base: base, name: name, threads: threads)) { try fill($0, step) }
  }

  static func fill(_ writer: CheckpointWriter, _ step: UInt64) throws {
    let count = 300_000
    let start = momentValues(count, signed: true, seed: 7)
    // Two chunks of source bytes, of which the second stays the same.
    let moved = start.enumerated().map { place, value in
      place < 200_000 ? Float(bitPattern: value.bitPattern &+ UInt32(truncatingIfNeeded: step)) : value
    }
    try writer.add(
      name: "params", dtype: .f32, shape: [300, 1000], role: .parameter, encoding: .lossless(reason: .none),
      source: MemorySource(moved))
    try writer.add(
      name: "wide", dtype: .c128, shape: [500], encoding: .lossless(reason: .none),
      source: MemorySource(bytes: noise(4000, seed: 8) + [UInt8](repeating: UInt8(step), count: 4000)))
    try writer.add("still", bytes: noise(3000, seed: 9))
    let rows = Scheme(map: .linear, bits: 8, signed: true, scaling: .row)
    try writer.add("rows", momentValues(4000, signed: true, seed: 10), shape: [400, 10], rows)
    try writer.add(
      "codes", momentValues(count, signed: true, seed: 11 + step),
      Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256)))
    // Of the pair the second moment stays; the first is another in every step.
    let (m, v) = pairValues(5000, seed: 12)
    var pair = Pair(m.map { $0 * Float(1 + step) }, v)
    pair.epsilon = 1e-8
    try pair.add(to: writer)
    try writer.add(
      name: "none", dtype: .i64, shape: [0, 4], encoding: .lossless(reason: .none), source: MemorySource([]))
    try writer.add(
      name: "step", dtype: .u64, shape: [], encoding: .lossless(reason: .none),
      source: MemorySource(bytes: littleEndian(step)))
    try writer.setMetadata(.object(["metadata": .object(["step": .string("\(step)")])]))
  }
}

/// The relations of a tensor's chunks, in order.
func relations(_ reader: CheckpointReader, _ name: String) throws -> [ChunkRelation] {
  try reader.tensor(#require(reader.find(name))).chunks.map { reader.chunk($0).relation }
}

/// Opens a checkpoint in memory with bases at hand.
func opened(_ bytes: [UInt8], bases: [CheckpointReader]) throws(QCodecError) -> CheckpointReader {
  try CheckpointReader(source: MemorySource(bytes: bytes), bases: bases)
}

/// What flattening makes of a checkpoint.
func flattened(_ reader: CheckpointReader, threads: Int = 2) throws -> [UInt8] {
  let folder = try InputFolder()
  let flattener = try CheckpointFlattener(reader, path: folder.path("flat.qckpt"))
  let count = try flattener.write(threads: threads)
  let bytes = try folder.read("flat.qckpt")
  #expect(UInt64(bytes.count) == count)
  var pushed: [UInt8] = []
  let other = unsafe CheckpointFlattener(reader, writing: { unsafe pushed.append(contentsOf: $0) })
  #expect(try other.write(threads: threads) == count && pushed == bytes)
  return bytes
}

extension InputFolder {
  func makeFolder(_ name: String) throws {
    try FileManager.default.createDirectory(at: url.appendingPathComponent(name), withIntermediateDirectories: true)
  }

  func remove(_ name: String) throws { try FileManager.default.removeItem(at: url.appendingPathComponent(name)) }
}
