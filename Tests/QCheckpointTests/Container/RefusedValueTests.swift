import QCheckpoint
import QCodec
import Testing

@Suite("Values that a scheme cannot hold")
struct RefusedValueTests {
  /// Two chunks, so that the place may be in the last.
  private static let count = 300_000
  private static let scalings: [Scheme.Scaling] = [.block(256), .tensor, .row, .rank1]

  private func scheme(_ scaling: Scheme.Scaling, signed: Bool) -> Scheme {
    Scheme(map: .linear, bits: 8, signed: signed, scaling: scaling)
  }

  private func values(_ index: Int, _ value: Float) -> [Float] {
    var values = [Float](repeating: 0.5, count: Self.count)
    values[index] = value
    return values
  }

  private func add(
    _ values: [Float], _ scheme: Scheme, nonFinite: NonFinitePolicy = .error, fallsBack: Bool = false,
    to writer: CheckpointWriter
  ) throws {
    try writer.add(
      name: "v", dtype: .f32, shape: [600, 500], role: .secondMoment, encoding: .quantized(scheme),
      source: MemorySource(values), nonFinite: nonFinite, negativeFallsBack: fallsBack)
  }

  @Test(
    "Not finite: tensor, index and value are named, nothing is written", arguments: scalings, [0, 262_143, 299_999])
  func nonFinite(scaling: Scheme.Scaling, index: Int) throws {
    for (value, text) in [(Float.nan, "nan"), (.infinity, "inf"), (-.infinity, "-inf")] {
      let folder = try InputFolder()
      _ = try folder.write([9, 9], "c")
      let writer = try CheckpointWriter(path: folder.path("c"), options: .init(threads: 2))
      let error = inputError { try add(values(index, value), scheme(scaling, signed: true), to: writer) }
      #expect(error?.code == .nonFiniteValue)
      #expect(error?.tensor == "v")
      #expect(error?.index == UInt64(index))
      #expect(error?.message.hasPrefix("\(text) ") == true, "\(error?.message ?? "")")
      #expect(try folder.read("c") == [9, 9])
      #expect(try folder.names == ["c"])
    }
  }

  @Test("`raw` stores that tensor lossless, with its reason", arguments: scalings, [0, 262_143, 299_999])
  func raw(scaling: Scheme.Scaling, index: Int) throws {
    let values = values(index, .nan)
    let reader = try opened(
      checkpoint {
        try add(values, scheme(scaling, signed: true), nonFinite: .raw, to: $0)
        try $0.add("w", [1, 2], scheme(.block(32), signed: true))
      })
    let info = reader.tensor(0)
    #expect(info.scheme == nil && info.reason == .nonFinite)
    #expect(info.reason.name == "non_finite_values")
    #expect(info.role == .secondMoment && info.guaranteedMaxAbsError == 0)
    #expect(try reader.bytes(ofTensor: 0) == littleEndian(floats: values))
    #expect(reader.tensor(1).scheme != nil && reader.tensor(1).reason == .none)
  }

  @Test("Negative under an unsigned map: an error by default", arguments: scalings, [0, 262_143, 299_999])
  func negative(scaling: Scheme.Scaling, index: Int) throws {
    let folder = try InputFolder()
    let writer = try CheckpointWriter(path: folder.path("c"), options: .init(threads: 2))
    let error = inputError { try add(values(index, -0.25), scheme(scaling, signed: false), to: writer) }
    #expect(error?.code == .negativeValue)
    #expect(error?.tensor == "v" && error?.index == UInt64(index))
    #expect(error?.message.hasPrefix("-0.25 ") == true)
    #expect(try folder.names == [])
  }

  @Test(
    "Negative with a fallback: lossless with its reason, no code chunk before it", arguments: scalings, [0, 299_999])
  func fallback(scaling: Scheme.Scaling, index: Int) throws {
    let values = values(index, -.leastNonzeroMagnitude)
    let reader = try opened(
      checkpoint(.init(compression: .none, threads: 2)) {
        try add(values, scheme(scaling, signed: false), fallsBack: true, to: $0)
      })
    let info = reader.tensor(0)
    #expect(info.scheme == nil && info.reason == .negative)
    #expect(info.reason.name == "negative_values")
    #expect((0..<reader.chunkCount).allSatisfy { reader.chunk($0).kind == .lossless })
    #expect(reader.chunkCount == 2)
    #expect(try reader.bytes(ofTensor: 0) == littleEndian(floats: values))
  }

  @Test("−0 is not negative; without a negative element the fallback changes nothing", arguments: scalings)
  func minusZero(scaling: Scheme.Scaling) throws {
    let values = values(299_999, -0.0)
    let scheme = scheme(scaling, signed: false)
    let files = try [true, false].map { fallsBack in
      try checkpoint { try add(values, scheme, fallsBack: fallsBack, to: $0) }
    }
    #expect(files[0] == files[1])
    #expect(try opened(files[0]).tensor(0).scheme != nil)
  }

  @Test(
    "Both kinds: what is not finite decides, in either order, near and far", arguments: scalings,
    [(0, 299_999), (299_999, 0), (0, 1), (1, 0), (262_143, 262_144), (262_144, 262_143)])
  func both(scaling: Scheme.Scaling, places: (negative: Int, nan: Int)) throws {
    var values = values(places.negative, -1)
    values[places.nan] = .nan
    let scheme = scheme(scaling, signed: false)
    for fallsBack in [false, true] {
      let error = inputError { try add(values, scheme, fallsBack: fallsBack, to: CheckpointWriter.scratch()) }
      #expect(error?.code == .nonFiniteValue && error?.index == UInt64(places.nan), "fallback \(fallsBack)")
      let reader = try opened(checkpoint { try add(values, scheme, nonFinite: .raw, fallsBack: fallsBack, to: $0) })
      #expect(reader.tensor(0).scheme == nil && reader.tensor(0).reason == .nonFinite, "fallback \(fallsBack)")
    }
  }

  @Test("A signed map takes negatives; lossless tensors take anything")
  func accepted() throws {
    let reader = try opened(
      checkpoint {
        try add(values(5, -1), scheme(.block(256), signed: true), to: $0)
        try $0.add(
          name: "l", dtype: .f32, shape: [3], encoding: .lossless(reason: .tooSmall),
          source: MemorySource([.nan, -.infinity, -1]))
      })
    #expect(reader.tensor(1).scheme != nil && reader.tensor(1).reason == .none)
    #expect(reader.tensor(0).reason == .tooSmall)
    #expect(try reader.bytes(ofTensor: 0) == littleEndian(floats: [.nan, -.infinity, -1]))
  }

  @Test(
    "Tensors beyond 2^63 bytes are refused, and the writer goes on",
    arguments: [[1 << 63], [1 << 32, 1 << 32], [.max], [1 << 62, 3], [3, 1 << 61, 1]] as [[UInt64]])
  func beyondLimits(shape: [UInt64]) throws {
    let quantized = Encoding.quantized(scheme(.block(256), signed: true))
    let writer = try CheckpointWriter.scratch()
    for (dtype, encoding) in [(DType.u8, Encoding.lossless(reason: .none)), (.f32, quantized)] {
      let pulled = inputError {
        try writer.add(name: "t", dtype: dtype, shape: shape, encoding: encoding, source: MemorySource(bytes: []))
      }
      #expect(pulled?.code == .limitExceeded && pulled?.tensor == "t", "\(dtype) \(shape)")
      let pushed = inputError {
        try writer.add(name: "t", dtype: dtype, shape: shape, encoding: encoding) { _ in }
      }
      #expect(pushed?.code == .limitExceeded && pushed?.tensor == "t", "\(dtype) \(shape)")
    }
    try writer.add("t", bytes: [1])
  }

  @Test("Schemes and tensors that cannot be", arguments: [DType.f64, .i32, .bool, .f8e4m3])
  func unsupported(dtype: DType) throws {
    let error = inputError {
      _ = try checkpoint {
        try $0.add(
          name: "t", dtype: dtype, shape: [0], encoding: .quantized(scheme(.block(256), signed: true)),
          source: MemorySource(bytes: []))
      }
    }
    #expect(error?.code == .unsupportedScheme)
    #expect(error?.tensor == "t")
  }
}

extension CheckpointWriter {
  /// A writer whose bytes go nowhere.
  fileprivate static func scratch() throws -> CheckpointWriter {
    let file = try InputFolder()
    return try CheckpointWriter(path: file.path("c"), options: .init(threads: 1))
  }
}
