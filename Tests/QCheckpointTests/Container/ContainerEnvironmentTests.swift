import CQCodecKernels
import QCodec
import Testing

@testable import QCheckpoint

@Suite("The container in the floating-point environments of hosts")
struct ContainerEnvironmentTests {
  /// Rows of subnormals beside rows of normal values; 7 of 8 values differ in their last bits.
  private static let values: [Float] = (0..<64 * 64).map { index in
    let exponent = index / 64 % 3 == 0 ? -148 + index % 23 : -120 + index % 119
    return Float(sign: index % 5 == 0 ? .minus : .plus, exponent: exponent, significand: 1 + Float(index % 8) / 8)
  }

  // Made beforehand: what is tested must not depend on what the test computes in a changed environment.
  private static let magnitudes = values.map(\.magnitude)
  private static let bytes = Dictionary(
    uniqueKeysWithValues: [DType.f32, .f16, .bf16].map { ($0, momentBytes(values, dtype: $0)) })

  private static let scalings: [Scheme.Scaling] = [.tensor, .block(32), .row, .column, .rank1]

  private static func fill(_ writer: CheckpointWriter) throws {
    for (index, scaling) in scalings.enumerated() {
      for (kind, dtype) in [DType.f32, .f16, .bf16].enumerated() {
        try writer.add(
          name: "s\(index)\(kind)", dtype: dtype, shape: [64, 64],
          encoding: .quantized(Scheme(map: .dynamic, bits: 8, signed: true, scaling: scaling)),
          source: MemorySource(bytes: bytes[dtype, default: []]))
      }
      try writer.add(
        "u\(index)", magnitudes, shape: [64, 64],
        Scheme(map: .linearNoZero, bits: 4, signed: false, scaling: scaling, rounding: .nearest))
      try writer.add(
        "c\(index)", values, shape: [64, 64],
        Scheme(
          map: .custom, bits: 4, signed: true, scaling: scaling, rounding: .stochastic, seed: 3,
          customTable: try customTable()))
    }
    // The only negative element is subnormal, and stands last.
    try writer.add(
      name: "fallback", dtype: .f32, shape: [4096],
      encoding: .quantized(Scheme(map: .dynamic, bits: 8, signed: false, scaling: .block(256))),
      source: MemorySource(magnitudes.dropLast() + [-0x1p-133]), negativeFallsBack: true)
    try writer.setMetadata(
      .object(["lr": .number(0.1), "tiny": .number(.leastNonzeroMagnitude), "odd": .number(1.7976931348623157e308)]))
  }

  private static func file() throws -> [UInt8] {
    try checkpoint(.init(compression: .lz4, threads: 1), fill)
  }

  @Test("Writing", arguments: [1, 2])
  func writing(threads: Int) throws {
    try expectSameInEveryEnvironment("write") {
      try checkpoint(.init(compression: .zstd, threads: threads), Self.fill)
    }
  }

  @Test("Opening and describing")
  func opening() throws {
    let file = try Self.file()
    try expectSameInEveryEnvironment("open") {
      let reader = try opened(file)
      return (0..<reader.tensorCount).map { index in
        let info = reader.tensor(index)
        return "\(info.name) \(info.statistics) \(info.statistics.relativeL2Error) \(info.bitsPerValue)"
      }
    }
    try expectSameInEveryEnvironment("metadata") { try opened(file).metadata() }
    try expectSameInEveryEnvironment("thresholds of the tables read") {
      let reader = try opened(file)
      return try (0..<reader.tensorCount).map { try reader.layout(of: $0)?.table?.thresholds }
    }
  }

  @Test("Refusing")
  func refusing() throws {
    var patch = try CheckpointPatch(Self.file())
    let tensor = try #require(try opened(patch.sealed()).find("s00"))
    patch.set(
      directoryAt: patch.record(tensor) + RecordField.maxAbsError, (-Double.leastNonzeroMagnitude).bitPattern)
    let file = patch.sealed()
    try expectSameInEveryEnvironment("a negative subnormal error") { inputError { _ = try opened(file) }?.code }
    let refused = inputError { _ = try opened(file) }
    #expect(refused?.code == .invalidDirectory)
    let scheme = Scheme(map: .dynamic, bits: 8, signed: false, scaling: .row)
    try expectSameInEveryEnvironment("a negative subnormal element") {
      inputError {
        _ = try checkpoint {
          try $0.add("t", [1, 2, -.leastNonzeroMagnitude, 3], shape: [2, 2], scheme)
        }
      }?.code
    }
  }

  @Test("Reading whole tensors, rows, bytes, scales and chunks; checking every byte", arguments: [1, 2])
  func reading(threads: Int) throws {
    let file = try Self.file()
    let reader = try opened(file)
    try expectSameInEveryEnvironment("everything") { try reader.everything(threads: threads) }
    try expectSameInEveryEnvironment("check") {
      try reader.checkAllBytes(threads: threads)
      return true
    }
    for index in 0..<reader.tensorCount where reader.tensor(index).shape.count == 2 {
      let size = Int(reader.tensor(index).sourceBytes) / 64
      try expectSameInEveryEnvironment("rows") {
        try reader.rows(3..<9, ofTensor: index, count: 6 * size, threads: threads)
      }
      try expectSameInEveryEnvironment("bytes") {
        try reader.bytes(at: UInt64(size), count: 2 * size, ofTensor: index)
      }
      try expectSameInEveryEnvironment("contents") { try inputBytes(reader.contents(of: index)) }
      try expectSameInEveryEnvironment("scales") { try reader.scales(of: index).map(\.bitPattern) }
      try expectSameInEveryEnvironment("payload") {
        try reader.payload(ofChunk: reader.tensor(index).chunks[0])
      }
    }
  }
}
