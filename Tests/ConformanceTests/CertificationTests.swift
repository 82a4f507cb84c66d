import QCheckpoint
import QCodec
import Testing

/// What the Swift writer writes, the reference reader must accept and decode to the same bits.
@Suite("Files certified by the reference reader")
struct CertificationTests {
  /// What both readers must say of a tensor.
  private struct Description: Equatable {
    var name: String?
    var dtype: String?
    var shape: [Int64]
    var xxh3: String?
    /// As recorded; nil where nothing is guaranteed.
    var guaranteed: Double?
    var guaranteedRelative: Double?
    /// As the reference reader recomputes them: the writer records no more.
    var recomputed: Double?
    var recomputedRelative: Double?
    var secondMoment: String?
  }

  private static func write(_ tensors: [SyntheticTensor], to path: String, _ compression: Compression) throws {
    let writer = try CheckpointWriter(path: path, options: .init(compression: compression, threads: 2))
    for tensor in tensors {
      guard let second = tensor.second else {
        try writer.add(
          name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, encoding: tensor.encoding,
          source: MemorySource(bytes: tensor.bytes))
        continue
      }
      try writer.addPair(first: tensor.moment, second: second.tensor.moment, shape: tensor.shape, measuring: 1e-8)
    }
    try writer.setMetadata(.object(["metadata": .object(["größe": .string("\u{1F600} \u{7F}")])]))
    _ = try writer.finish()
  }

  private static func descriptions(_ reader: CheckpointReader) throws -> [Description] {
    try (0..<reader.tensorCount).map { index in
      let info = reader.tensor(index)
      let (guaranteed, relative) = (info.guaranteedMaxAbsError, info.guaranteedMaxRelError)
      return Description(
        name: info.name, dtype: info.dtype.name, shape: info.shape.map(Int64.init),
        xxh3: hexadecimal(xxh3(try reader.bytes(ofTensor: index))), guaranteed: guaranteed,
        guaranteedRelative: relative, recomputed: guaranteed, recomputedRelative: relative,
        secondMoment: info.reference.map { reader.tensor($0).name })
    }
  }

  private static func descriptions(_ summary: JSONValue) throws -> [Description] {
    try #require(summary["tensors"]?.arrayValue, "\(summary)").map { tensor in
      Description(
        name: tensor["name"]?.stringValue, dtype: tensor["dtype"]?.stringValue,
        shape: tensor["shape"]?.arrayValue?.compactMap(\.integerValue) ?? [], xxh3: tensor["xxh3"]?.stringValue,
        guaranteed: try tensor.double("guaranteed_max_abs_error"),
        guaranteedRelative: try tensor.double("guaranteed_max_rel_error"), recomputed: try tensor.double("recomputed"),
        recomputedRelative: try tensor.double("recomputed_rel"), secondMoment: tensor["second_moment"]?.stringValue)
    }
  }

  /// Writes the tensors under every compression and compares what both readers find.
  private static func certify(_ tensors: [SyntheticTensor], test: String) throws {
    let folder = try TemporaryFolder()
    let paths = Compression.allCases.map { folder.path("\($0.name).qckpt") }
    for (compression, path) in zip(Compression.allCases, paths) { try write(tensors, to: path, compression) }
    guard let found = try ReferenceReader.read(paths, test: test) else { return }
    for path in paths {
      let reader = try CheckpointReader(path: path)
      let summary = try #require(found[path])
      let count = tensors.count + tensors.filter { $0.second != nil }.count
      #expect(reader.tensorCount == count)
      for (own, other) in zip(try descriptions(reader), try descriptions(summary)) { #expect(own == other, "\(path)") }
      #expect(summary["tensors"]?.arrayValue?.count == count, "\(path): \(summary)")
      #expect(summary["metadata"] == (try reader.metadata()))
    }
  }

  @Test(arguments: [DType.f32, .bf16, .f16])
  func everyScheme(_ dtype: DType) throws {
    let tensors = try SyntheticSchemes.all().enumerated().map { index, scheme in
      // rank1 asks for shapes whose maxima are few.
      let shape: [UInt64] = scheme.scaling == .rank1 ? [64, 1, 65] : [3, 5, 7]
      let name = "\(index) \(scheme.map.name) \(scheme.bits) \(scheme.scaling) \(scheme.rounding)"
      return SyntheticTensor(name: name, dtype: dtype, shape: shape, scheme: scheme, seed: UInt64(1000 + index))
    }
    #expect(tensors.count == 40 * 6 * 3 + 6 * 2 * 2)
    try Self.certify(tensors, test: "CertificationTests.everyScheme(\(dtype.name))")
  }

  @Test(arguments: [DType.f32, .bf16, .f16])
  func everyPair(_ dtype: DType) throws {
    var pairs: [SyntheticTensor] = []
    for (index, scheme) in try SyntheticSchemes.all().enumerated() where scheme.signed {
      var first = scheme
      first.domain = .update
      let shape: [UInt64] = scheme.scaling == .rank1 ? [64, 1, 65] : [3, 5, 7]
      let name = "\(index) \(scheme.map.name) \(scheme.bits) \(scheme.scaling) \(scheme.rounding)"
      let second = Scheme(map: .log, bits: Scheme.widths[index % 6], signed: false, scaling: .block(64))
      var pair = SyntheticTensor(name: name, dtype: dtype, shape: shape, scheme: first, seed: UInt64(3000 + index))
      pair.second = SyntheticTensorBox(
        SyntheticTensor(
          name: "\(name) second", dtype: index % 3 == 0 ? .bf16 : dtype, shape: shape, scheme: second,
          seed: UInt64(5000 + index)))
      pairs.append(pair)
    }
    #expect(pairs.count == 22 * 6 * 3)
    try Self.certify(pairs, test: "CertificationTests.everyPair(\(dtype.name))")
  }

  @Test func everyDType() throws {
    var tensors: [SyntheticTensor] = []
    for (index, dtype) in DType.allCases.enumerated() {
      for shape: [UInt64] in [[4, 2], [0, 3], [40, 100], []] where shape != [] || dtype.bitWidth >= 8 {
        let count = Int(try dtype.byteCount(elements: shape.reduce(1, *)))
        var generator = SeededGenerator(seed: UInt64(index))
        // Runs of equal bytes, so that the compressed forms are taken.
        let bytes = (0..<count).map { $0 % 50 < 10 ? UInt8.random(in: 0...255, using: &generator) : 7 }
        tensors.append(
          SyntheticTensor(
            name: "\(dtype.name) \(shape)", dtype: dtype, shape: shape, encoding: .lossless(reason: .none), bytes: bytes
          ))
      }
    }
    #expect(tensors.count == 23 * 4 - 3)
    try Self.certify(tensors, test: "CertificationTests.everyDType")
  }

  @Test func severalChunks() throws {
    let rows = UInt64(TensorLayout.chunkElements + 37)
    let linear = Scheme(map: .linear, bits: 4, signed: true, scaling: .row)
    let dynamic = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(2048))
    let cubic = Scheme(map: .cubic, bits: 5, signed: true, scaling: .block(128))
    let many = SyntheticTensor(name: "rows", dtype: .f32, shape: [rows, 2], scheme: linear, seed: 1)
    let tensors = [
      many, SyntheticTensor(name: "blocks", dtype: .bf16, shape: [rows], scheme: dynamic, seed: 2),
      SyntheticTensor(
        name: "lossless", dtype: .f32, shape: [rows, 2], encoding: .lossless(reason: .none), bytes: many.bytes),
      SyntheticTensor(name: "five bits", dtype: .f32, shape: [rows], scheme: cubic, seed: 4),
      SyntheticTensor(name: "none", dtype: .f32, shape: [0], scheme: dynamic, seed: 3),
    ]
    try Self.certify(tensors, test: "CertificationTests.severalChunks")
  }

  /// Scales at both ends of the range of float32, where reciprocals and flushed subnormals would show.
  @Test func extremeValues() throws {
    let sizes: [Float] = [
      .greatestFiniteMagnitude, .leastNormalMagnitude, .leastNonzeroMagnitude, .leastNonzeroMagnitude * 77, 1e-30, 3e38,
    ]
    var tensors: [SyntheticTensor] = []
    for (index, scheme) in try SyntheticSchemes.all().enumerated() where scheme.scaling == .block(32) {
      var bytes: [UInt8] = []
      for size in sizes {
        for step in 0..<32 {
          let magnitude = size * (Float(step) / 31)
          let value = scheme.signed && step % 3 == 1 ? -magnitude : magnitude
          bytes += (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> ($0 * 8)) }
        }
      }
      tensors.append(
        SyntheticTensor(
          name: "\(index) \(scheme.map.name) \(scheme.bits)", dtype: .f32, shape: [UInt64(bytes.count / 4)],
          encoding: .quantized(scheme), bytes: bytes))
    }
    #expect(tensors.count == 40 * 3 + 6 * 2)
    try Self.certify(tensors, test: "CertificationTests.extremeValues")
  }
}
