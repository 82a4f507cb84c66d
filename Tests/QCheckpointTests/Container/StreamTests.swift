import QCodec
import Testing

@testable import QCheckpoint

@Suite("Streams are stored as they are")
struct StreamTests {
  private static let second = Scheme(map: .log, bits: 8, signed: false, scaling: .block(512))
  private static let schemes: [Scheme] = [
    second, .init(map: .log, bits: 4, signed: false, scaling: .block(64)),
    .init(map: .dynamic, bits: 8, signed: false, scaling: .block(256)),
    .init(map: .linearNoZero, bits: 4, signed: false, scaling: .rank1),
    .init(map: .linear, bits: 8, signed: false, scaling: .row),
    .init(map: .dynamic, bits: 4, signed: false, scaling: .column),
    .init(map: .linear, bits: 8, signed: false, scaling: .tensor),
  ]

  /// A shape of more than one chunk, the last of which is odd.
  private static let shape: [UInt64] = [601, 451]
  private static let values = momentValues(601 * 451, signed: false, seed: 9)

  private func encoded(_ scheme: Scheme) throws -> (layout: TensorLayout, stream: [UInt8]) {
    let codec = try TensorCodec(dtype: .f32, shape: Self.shape, scheme: scheme)
    return (codec.layout, try codec.encode(Self.values).stream)
  }

  @Test("One alone", arguments: schemes.indices, [Compression.none, .zstd])
  func alone(index: Int, compression: Compression) throws {
    let (layout, stream) = try encoded(Self.schemes[index])
    let file = try checkpoint(.init(compression: compression, threads: 2)) { writer in
      try unsafe stream.withUnsafeBytes { bytes in
        try writer.add(
          name: "v", dtype: .f32, shape: Self.shape, encoding: .quantized(layout.scheme),
          source: unsafe StreamSource(layout, bytes))
      }
    }
    let reader = try opened(file)
    #expect(reader.tensor(0).statistics.maxAbsError == 0)
    #expect(try reader.streamByteCount(of: 0) == stream.count)
    var read = [UInt8](repeating: 0, count: stream.count)
    try unsafe read.withUnsafeMutableBytes { try unsafe reader.readStream(tensor: 0, into: $0) }
    #expect(read == stream)
  }

  @Test("A pair in the update domain", arguments: [8, 6, 4, 3])
  func pair(bits: Int) throws {
    let codec = try MomentCodec(
      shape: Self.shape, first: .init(map: .cubic, bits: bits, signed: true, scaling: .block(128), domain: .update),
      second: Self.second)
    let moments = momentValues(601 * 451, signed: true, seed: 10)
    let (first, second) = try codec.encode(first: moments, second: Self.values)
    let layouts = (codec.first, codec.second.layout)
    let file = try checkpoint(.init(threads: 2)) { writer in
      try unsafe first.withUnsafeBytes { own in
        try unsafe second.withUnsafeBytes { other in
          try writer.addPair(
            first: .init(
              name: "m", dtype: .f32, encoding: .quantized(layouts.0.scheme),
              source: unsafe StreamSource(layouts.0, own, second: (layouts.1, other))),
            second: .init(
              name: "v", dtype: .f32, encoding: .quantized(layouts.1.scheme),
              source: unsafe StreamSource(layouts.1, other)), shape: Self.shape)
        }
      }
    }
    let reader = try opened(file)
    for (name, stream) in [("m", first), ("v", second)] {
      var read = [UInt8](repeating: 0, count: stream.count)
      let index = try #require(reader.find(name))
      try unsafe read.withUnsafeMutableBytes { try unsafe reader.readStream(tensor: index, into: $0) }
      #expect(read == stream, "\(name)")
    }
  }

  @Test("Streams and buffers of another size, and tensors that have none")
  func refused() throws {
    let (layout, stream) = try encoded(Self.second)
    let update = try TensorLayout(
      dtype: .f32, shape: Self.shape,
      scheme: .init(map: .cubic, bits: 8, signed: true, scaling: .block(256), domain: .update))
    unsafe stream.withUnsafeBytes { bytes in
      let short = unsafe UnsafeRawBufferPointer(rebasing: bytes.dropLast())
      #expect(inputError { _ = try unsafe StreamSource(layout, short) }?.code == .shapeMismatch)
      #expect(inputError { _ = try unsafe StreamSource(layout, bytes) } == nil)
      let own = [UInt8](repeating: 0, count: update.streamByteCount)
      unsafe own.withUnsafeBytes { own in
        #expect(inputError { _ = try unsafe StreamSource(update, own) }?.code == .unsupportedScheme)
        #expect(
          inputError { _ = try unsafe StreamSource(update, own, second: (layout, short)) }?.code
            == .shapeMismatch)
      }
    }
    let file = try checkpoint { try $0.add("plain", bytes: [1, 2, 3]) }
    let reader = try opened(file)
    #expect(try reader.streamByteCount(of: 0) == nil)
    var none: [UInt8] = []
    unsafe none.withUnsafeMutableBytes { none in
      #expect(inputError { try unsafe reader.readStream(tensor: 0, into: none) }?.code == .invalidArgument)
    }
  }
}
