import QCodec
import Testing

@testable import QCheckpoint

@Suite("Pairs in the update domain")
struct PairLayoutTests {
  private func pair(_ schemes: PairSchemes, shape: [UInt64] = PairSchemes.shape) -> Pair {
    Pair(shape: shape, seed: 91).with {
      ($0.first, $0.second) = (.quantized(schemes.first), .quantized(schemes.second))
    }
  }

  @Test("Scales of the first, scales of the second, then second and first in turn", arguments: PairSchemes.all)
  func order(schemes: PairSchemes) throws {
    let reader = try opened(pair(schemes).file())
    let (m, v) = (try reader.named("m"), try reader.named("v"))
    #expect(m.info.reference == v.index && v.info.reference == nil)
    #expect(m.info.scheme == schemes.first && v.info.scheme == schemes.second)
    #expect(m.info.reason == .none && v.info.reason == .none)
    #expect(m.info.role == .firstMoment && v.info.role == .secondMoment)
    var wanted: [(tensor: Int, kind: ChunkKind)] = []
    wanted += Array(repeating: (m.index, .scales), count: schemes.scales.first)
    wanted += Array(repeating: (v.index, .scales), count: schemes.scales.second)
    for _ in 0..<3 { wanted += [(v.index, .codes), (m.index, .codes)] }
    // The neighbours have one chunk each.
    #expect(reader.chunkCount == wanted.count + 2)
    for (index, chunk) in wanted.enumerated() {
      let found = reader.chunk(1 + index)
      #expect(found.tensor == chunk.tensor && found.kind == chunk.kind, "chunk \(index)")
    }
    for tensor in [m, v] {
      let own = wanted.indices.filter { wanted[$0].tensor == tensor.index }.map { 1 + $0 }
      #expect(Array(tensor.info.chunks) == own)
      #expect(tensor.info.chunks.scaleCount == own.filter { wanted[$0 - 1].kind == .scales }.count)
      #expect(tensor.info.chunks.data(2) == own.last)
    }
    try reader.checkAllBytes(threads: 2)
  }

  @Test("Both decode as the codec does; records are what it measured", arguments: PairSchemes.all)
  func contents(schemes: PairSchemes) throws {
    let pair = pair(schemes)
    let reader = try opened(pair.file(.init(compression: .zstd, threads: 2)))
    let (m, v) = (try reader.named("m"), try reader.named("v"))
    let codec = try MomentCodec(shape: pair.shape, first: schemes.first, second: schemes.second)
    let values = pairValues(530 * 999, seed: 91)
    let streams = try codec.encode(first: values.m, second: values.v)
    #expect(try reader.stream(m.index) == streams.first)
    #expect(try reader.stream(v.index) == streams.second)
    let decoded = try codec.decodeFirst(streams.first, second: streams.second)
    let bytes = littleEndian(floats: decoded)
    #expect(try reader.bytes(ofTensor: m.index, threads: 2) == bytes)
    #expect(try reader.bytes(ofTensor: v.index) == littleEndian(floats: codec.second.decode(streams.second)))
    let worst = zip(values.m, decoded).map { (Double($0) - Double($1)).magnitude }.max()
    #expect(m.info.statistics.maxAbsError == worst)
    let relative = try #require(m.info.guaranteedMaxRelError)
    #expect(relative > 0 && relative == m.info.statistics.guaranteedMaxRelError || relative.isFinite)
    #expect((v.info.guaranteedMaxRelError == nil) == (schemes.second.map != .log))
    // The directory takes the scale of a quotient for what the errors of quotients are measured in.
    #expect(m.info.statistics.maxScaledError > 0 && m.info.statistics.maxScaledError < 1)
  }

  @Test("Rows of the first are read from the chunks of both that hold them, and no others", arguments: PairSchemes.all)
  func rows(schemes: PairSchemes) throws {
    let source = CountingSource(try pair(schemes).file())
    let reader = try CheckpointReader(source: source)
    let (m, v) = (try reader.named("m"), try reader.named("v"))
    let whole = try reader.bytes(ofTensor: m.index, threads: 2)
    let wholeSecond = try reader.bytes(ofTensor: v.index)
    let scales = { (info: TensorInfo) in (0..<info.chunks.scaleCount).map { info.chunks[$0] } }
    _ = source.takeReads()
    // Rows 262 and 524 lie in two chunks.
    for rows in [0..<1, 0..<262, 262..<263, 261..<264, 263..<524, 524..<530, 529..<530, 0..<530] as [Range<UInt64>] {
      let (start, end) = (Int(rows.lowerBound) * 3996, Int(rows.upperBound) * 3996)
      let bytes = try reader.rows(rows, ofTensor: m.index, count: end - start, threads: 2)
      #expect(bytes == Array(whole[start..<end]), "rows \(rows)")
      let needed = start / 1_048_576...(end - 1) / 1_048_576
      let data = needed.flatMap { [v.info.chunks.data($0), m.info.chunks.data($0)] }
      let wanted = (scales(m.info) + scales(v.info) + data).sorted().map(reader.range)
      #expect(source.takeReads() == wanted, "rows \(rows)")
      // The second moment needs nothing of the first.
      let second = try reader.rows(rows, ofTensor: v.index, count: end - start)
      #expect(second == Array(wholeSecond[start..<end]), "rows \(rows)")
      let alone = (scales(v.info) + needed.map { v.info.chunks.data($0) }).sorted().map(reader.range)
      #expect(source.takeReads() == alone, "rows \(rows)")
    }
  }

  @Test("Narrow dtypes, of either moment", arguments: [DType.f32, .bf16, .f16], [DType.f32, .bf16, .f16])
  func dtypes(first: DType, second: DType) throws {
    let values = pairValues(5000, seed: 92)
    let pair = Pair(values.m, values.v).with {
      ($0.dtypes, $0.m) = ((first, second), momentBytes(values.m, dtype: first))
      $0.v = momentBytes(values.v, dtype: second)
    }
    let reader = try opened(pair.file())
    let (m, v) = (try reader.named("m"), try reader.named("v"))
    let codec = try MomentCodec(
      dtype: first, secondDType: second, shape: [5000], first: updateScheme(), second: log8)
    let (stream, other) = (try reader.stream(m.index), try reader.stream(v.index))
    var decoded = [UInt8](repeating: 0, count: 5000 * first.bitWidth / 8)
    var target = decoded.mutableSpan
    var span = unsafe target.mutableBytes
    try unsafe codec.decodeFirst(stream.span.bytes, second: other.span.bytes, into: &span)
    #expect(try reader.bytes(ofTensor: m.index) == decoded)
  }

  @Test("No elements, one, and a scalar")
  func odd() throws {
    let shapes: [[UInt64]] = [[0], [3, 0], [1], [], [262_144], [262_145]]
    let reader = try opened(
      checkpoint {
        for (index, shape) in shapes.enumerated() {
          let values = pairValues(Int(shape.reduce(1, *)), seed: UInt64(index))
          try Pair(values.m, values.v, shape: shape).with { $0.names = ("m\(index)", "v\(index)") }.add(to: $0)
        }
      })
    for (index, shape) in shapes.enumerated() {
      let (m, v) = (try reader.named("m\(index)"), try reader.named("v\(index)"))
      #expect(m.info.reference == v.index && m.info.scheme?.domain == .update, "\(shape)")
      let bytes = try reader.bytes(ofTensor: m.index)
      #expect(bytes.count == Int(m.info.sourceBytes))
      // The least and the greatest of a block are exact.
      if shape.reduce(1, *) == 1 {
        let values = pairValues(1, seed: UInt64(index))
        #expect(try reader.bytes(ofTensor: v.index) == littleEndian(floats: values.v))
      }
    }
    try reader.checkAllBytes(threads: 1)
  }

  @Test("Compression of each tensor's own")
  func compression() throws {
    let values = ([Float](repeating: 1, count: 8192), [Float](repeating: 4, count: 8192))
    let file = try checkpoint(.init(compression: .none, threads: 1)) { writer in
      let source = (MemorySource(values.0), MemorySource(values.1))
      try writer.addPair(
        first: NewTensor(
          name: "m", dtype: .f32, role: .other, encoding: .quantized(updateScheme()), compression: .zstd,
          source: source.0),
        second: NewTensor(
          name: "v", dtype: .f32, role: .other, encoding: .quantized(log8), compression: .lz4, source: source.1),
        shape: [8192])
    }
    let reader = try opened(file)
    #expect(try reader.named("m").info.compressions == [.zstd])
    #expect(try reader.named("v").info.compressions == [.lz4])
    #expect(try reader.bytes(ofTensor: reader.named("m").index) == littleEndian(floats: values.0))
  }
}
