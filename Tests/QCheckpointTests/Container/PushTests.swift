import QCheckpoint
import QCodec
import Testing

@Suite("Tensors that are pushed piece by piece")
struct PushTests {
  /// Two chunks of codes and a bit.
  private static let count = 2 * 262_144 + 77
  private static let signed = momentValues(count, signed: true, seed: 71)

  private static let schemes: [Scheme] = [
    Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256)),
    Scheme(map: .dynamic, bits: 4, signed: true, scaling: .block(128)),
    Scheme(map: .linear, bits: 8, signed: true, scaling: .block(65_536)),
    Scheme(map: .normal, bits: 4, signed: true, scaling: .block(32)),
    Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256), rounding: .stochastic, seed: 3),
    Scheme(map: .dynamic, bits: 8, signed: false, scaling: .block(256), rounding: .nearestKeepNonzero),
    Scheme(map: .dynamicNoZero, bits: 8, signed: false, scaling: .block(2048)),
    Scheme(map: .linearNoZero, bits: 4, signed: false, scaling: .block(128)),
    // One dimension: row and column fall back to blocks.
    Scheme(map: .linear, bits: 8, signed: true, scaling: .row),
    Scheme(map: .linear, bits: 4, signed: true, scaling: .column),
    Scheme(map: .linear, bits: 4, signed: false, scaling: .rank1),
  ]

  private static func push(_ bytes: [UInt8], pieces: [Int], into sink: TensorSink) throws(QCodecError) {
    var (offset, turn) = (0, 0)
    while offset < bytes.count {
      let end = min(bytes.count, offset + pieces[turn % pieces.count])
      try unsafe sink.append(bytes[offset..<end].span.bytes)
      (offset, turn) = (end, turn + 1)
    }
  }

  private func compare(
    _ encoding: Encoding, dtype: DType, _ bytes: [UInt8], shape: [UInt64], pieces: [Int], compression: Compression
  ) throws {
    let options = WriterOptions(compression: compression, threads: 2)
    let pulled = try checkpoint(options) {
      try $0.add(
        name: "t", dtype: dtype, shape: shape, role: .momentum, encoding: encoding, source: MemorySource(bytes: bytes))
      try $0.add("after", bytes: [1, 2, 3])
    }
    let pushed = try checkpoint(options) {
      try $0.add(name: "t", dtype: dtype, shape: shape, role: .momentum, encoding: encoding) {
        sink throws(QCodecError) in
        try Self.push(bytes, pieces: pieces, into: sink)
        #expect(sink.byteCount == UInt64(bytes.count))
      }
      try $0.add("after", bytes: [1, 2, 3])
    }
    #expect(pushed == pulled, "\(encoding) \(dtype) in pieces of \(pieces)")
  }

  @Test("Equal bytes under every block scheme", arguments: schemes)
  func everyScheme(scheme: Scheme) throws {
    let values = scheme.signed ? Self.signed : Self.signed.map(\.magnitude)
    // The first scheme stands for all where the dtype is concerned.
    for dtype in scheme == Self.schemes[0] ? [DType.f32, .bf16, .f16] : [.f32] {
      try compare(
        .quantized(scheme), dtype: dtype, momentBytes(values, dtype: dtype), shape: [UInt64(Self.count)],
        pieces: [300_001, 1, 777_777], compression: .none)
    }
  }

  @Test("Equal bytes for lossless tensors", arguments: Compression.allCases)
  func lossless(compression: Compression) throws {
    for (dtype, size) in [(DType.u8, 1), (.f32, 4), (.f64, 8), (.c128, 16)] {
      let bytes = momentBytes(Array(Self.signed.prefix(400_000)), dtype: .f32) + noise(1 << 20, seed: 72)
      try compare(
        .lossless(reason: .dtype), dtype: dtype, bytes, shape: [UInt64(bytes.count / size)],
        pieces: [1_048_577, 3, 99_999], compression: compression)
    }
  }

  @Test("Pieces of any size, even none", arguments: [[1], [3], [7, 0, 13], [31, 1, 32], [4095, 4097], [1 << 20]])
  func pieces(sizes: [Int]) throws {
    let values = momentValues(5001, signed: true, seed: 73)
    let scheme = Scheme(map: .dynamic, bits: 4, signed: true, scaling: .block(32))
    let bytes = momentBytes(values, dtype: .bf16)
    try compare(.quantized(scheme), dtype: .bf16, bytes, shape: [3, 1667], pieces: sizes, compression: .lz4)
    try compare(
      .lossless(reason: .none), dtype: .bf16, bytes, shape: [3, 1667], pieces: sizes, compression: .lz4)
  }

  @Test("Tensors without elements, and of one")
  func small() throws {
    let scheme = Encoding.quantized(Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256)))
    for encoding in [scheme, .lossless(reason: .none)] {
      try compare(encoding, dtype: .f32, [], shape: [0, 7], pieces: [1], compression: .lz4)
      try compare(encoding, dtype: .f32, littleEndian(floats: [-3]), shape: [], pieces: [1], compression: .lz4)
    }
  }

  @Test("Too few and too many bytes give the file up", arguments: [-1, -4, 1, 4, 1 << 20])
  func wrongCount(difference: Int) throws {
    let scheme = Encoding.quantized(Scheme(map: .linear, bits: 8, signed: true, scaling: .block(256)))
    for encoding in [scheme, .lossless(reason: .none)] {
      let folder = try InputFolder()
      _ = try folder.write([9], "c")
      let writer = try CheckpointWriter(path: folder.path("c"), options: .init(threads: 2))
      let bytes = [UInt8](repeating: 0, count: 4 * 300_000 + difference)
      let error = inputError {
        try writer.add(name: "t", dtype: .f32, shape: [300_000], encoding: encoding) { sink throws(QCodecError) in
          try Self.push(bytes, pieces: [100_001], into: sink)
        }
      }
      #expect(error?.code == .shapeMismatch)
      #expect(error?.tensor == "t")
      #expect(inputError { try writer.add("after", bytes: [1]) }?.code == .writerClosed)
      #expect(try folder.read("c") == [9])
      #expect(try folder.names == ["c"])
    }
  }

  @Test("Values that a scheme cannot hold give the file up", arguments: [0, 262_143, 262_144, 299_999])
  func refusedValues(index: Int) throws {
    for (value, signed, code) in [
      (Float.nan, true, QCodecError.Code.nonFiniteValue), (.infinity, false, .nonFiniteValue),
      (-1, false, .negativeValue),
    ] {
      let folder = try InputFolder()
      _ = try folder.write([9], "c")
      let writer = try CheckpointWriter(path: folder.path("c"), options: .init(threads: 2))
      var values = [Float](repeating: 0.5, count: 300_000)
      values[index] = value
      let bytes = littleEndian(floats: values)
      let scheme = Scheme(map: .linear, bits: 8, signed: signed, scaling: .block(256))
      let error = inputError {
        try writer.add(name: "t", dtype: .f32, shape: [300_000], encoding: .quantized(scheme)) {
          sink throws(QCodecError) in
          try Self.push(bytes, pieces: [500_001], into: sink)
        }
      }
      #expect(error?.code == code, "\(value)")
      #expect(error?.tensor == "t" && error?.index == UInt64(index), "\(value): \(String(describing: error))")
      #expect(inputError { _ = try writer.finish() }?.code == .writerClosed)
      #expect(try folder.read("c") == [9])
      #expect(try folder.names == ["c"])
    }
  }

  @Test("What the caller throws gives the file up, under the tensor's name")
  func callersError() throws {
    let folder = try InputFolder()
    let writer = try CheckpointWriter(path: folder.path("c"))
    let error = inputError {
      try writer.add(name: "t", dtype: .u8, shape: [4], encoding: .lossless(reason: .none)) {
        sink throws(QCodecError) in
        try unsafe sink.append([UInt8]([1, 2]).span.bytes)
        throw QCodecError(.io, "the socket is gone")
      }
    }
    #expect(error == QCodecError(.io, "the socket is gone", tensor: "t"))
    #expect(try folder.names == [])
  }

  @Test(
    "Schemes of two passes are refused before a byte is asked for",
    arguments: [.tensor, .row, .column, .rank1] as [Scheme.Scaling])
  func twoPasses(scaling: Scheme.Scaling) throws {
    let scheme = Scheme(map: .linear, bits: 8, signed: scaling != .rank1, scaling: scaling)
    let file = try checkpoint { writer in
      try writer.add("a", bytes: [1])
      let error = inputError {
        try writer.add(name: "t", dtype: .f32, shape: [200, 300], encoding: .quantized(scheme)) { _ in
          Issue.record("the source was asked")
        }
      }
      #expect(error?.code == .unsupportedScheme)
      #expect(error?.tensor == "t")
      try writer.add("b", bytes: [2])
    }
    let expected = try checkpoint {
      try $0.add("a", bytes: [1])
      try $0.add("b", bytes: [2])
    }
    #expect(file == expected)
  }
}
