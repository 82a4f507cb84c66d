import QCheckpoint
import QCodec
import Testing

@Suite("A checkpoint gives back what was put in")
struct RoundTripTests {
  static let scalings: [Scheme.Scaling] = [.tensor, .block(32), .block(256), .block(65_536), .row, .column, .rank1]

  /// Elements whose bytes repeat over a stretch, so that each lossless stage has something to gain.
  private func elements(_ count: Int, of size: Int) -> [UInt8] {
    (0..<count).flatMap { index in (0..<size).map { UInt8(truncatingIfNeeded: index / 50 &* 7 &+ $0 &* 31) } }
  }

  @Test("Every dtype, lossless, through every stage", arguments: DType.allCases, Compression.allCases)
  func dtypes(dtype: DType, compression: Compression) throws {
    let count = 60 * 80
    let bytes = elements(count * max(8, dtype.bitWidth) / 8 / dtype.planeCount, of: dtype.planeCount)
      .prefix(count * dtype.bitWidth / 8)
    let file = try checkpoint(.init(compression: compression, threads: 2)) {
      try $0.add(
        name: "t", dtype: dtype, shape: [60, 80], role: .parameter, encoding: .lossless(reason: .dtype),
        source: MemorySource(bytes: Array(bytes)))
    }
    let reader = try opened(file)
    try reader.checkAllBytes()
    let info = reader.tensor(0)
    #expect(try reader.bytes(ofTensor: 0) == Array(bytes))
    #expect(info.dtype == dtype && info.shape == [60, 80] && info.role == .parameter)
    #expect(info.reason == .dtype && info.scheme == nil && info.guaranteedMaxAbsError == 0)
    #expect(info.statistics == TensorStatistics())
    #expect(info.compressions == [compression])
    #expect(info.elementCount == 4800 && info.sourceBytes == UInt64(bytes.count))
  }

  @Test("Every scaling, width and source dtype decodes as in memory", arguments: scalings, Scheme.widths)
  func schemes(scaling: Scheme.Scaling, bits: Int) throws {
    for dtype in [DType.f32, .f16, .bf16] {
      for (map, signed) in [
        (Scheme.Map.dynamic, true), (.cubic, true), (.linearNoZero, false), (.custom, true),
      ] {
        if map == .custom, bits != 4 { continue }
        if map == .dynamic, bits != 8, bits != 4 { continue }
        let scheme = Scheme(
          map: map, bits: bits, signed: signed, scaling: scaling, customTable: map == .custom ? try customTable() : nil)
        let bytes = momentBytes(momentValues(64 * 70, signed: signed, seed: 7), dtype: dtype)
        for compression in Compression.allCases {
          try check(scheme, dtype: dtype, shape: [64, 70], bytes: bytes, compression: compression)
        }
      }
    }
  }

  private func check(
    _ scheme: Scheme, dtype: DType, shape: [UInt64], bytes: [UInt8], compression: Compression
  ) throws {
    let file = try checkpoint(.init(compression: compression, threads: 2)) {
      try $0.add(
        name: "m", dtype: dtype, shape: shape, role: .momentum, encoding: .quantized(scheme),
        source: MemorySource(bytes: bytes))
    }
    let (expected, statistics, layout) = try inMemory(scheme, dtype: dtype, shape: shape, bytes: bytes)
    let reader = try opened(file)
    try reader.checkAllBytes()
    let info = reader.tensor(0)
    #expect(try reader.bytes(ofTensor: 0) == expected, "\(scheme) \(dtype) \(compression)")
    #expect(info.scheme == layout.scheme)
    #expect(info.statistics == statistics)
    #expect(info.guaranteedMaxAbsError == statistics.guaranteedMaxAbsError)
    #expect(info.role == .momentum && info.dtype == dtype && info.shape == shape)
  }

  private func inMemory(
    _ scheme: Scheme, dtype: DType, shape: [UInt64], bytes: [UInt8]
  ) throws -> (bytes: [UInt8], statistics: TensorStatistics, layout: TensorLayout) {
    let codec = try TensorCodec(dtype: dtype, shape: shape, scheme: scheme)
    var stream = [UInt8](repeating: 0, count: codec.encodedByteCount)
    var target = stream.mutableSpan
    var span = unsafe target.mutableBytes
    let statistics = try unsafe codec.encode(bytes.span.bytes, name: "m", into: &span)
    var decoded = [UInt8](repeating: 0, count: codec.decodedByteCount)
    var values = decoded.mutableSpan
    var output = unsafe values.mutableBytes
    try unsafe codec.decode(stream.span.bytes, into: &output)
    return (decoded, statistics, codec.layout)
  }

  @Test("Tensors without elements, scalars, no tensors at all")
  func empties() throws {
    let shapes: [[UInt64]] = [[0], [0, 5], [5, 0], [3, 0, 1 << 62], []]
    for scaling in Self.scalings {
      let scheme = Scheme(map: .linear, bits: 8, signed: true, scaling: scaling)
      let file = try checkpoint {
        for (index, shape) in shapes.enumerated() {
          let values: [Float] = shape.isEmpty ? [-0.5] : []
          try $0.add("q\(index)", values, shape: shape, scheme)
          try $0.add(
            name: "l\(index)", dtype: .f32, shape: shape, encoding: .lossless(reason: .none),
            source: MemorySource(values))
        }
      }
      let reader = try opened(file)
      try reader.checkAllBytes()
      #expect(reader.tensorCount == 10)
      for (index, shape) in shapes.enumerated() {
        for prefix in ["q", "l"] {
          let tensor = try #require(reader.find("\(prefix)\(index)"))
          #expect(reader.tensor(tensor).shape == shape)
          #expect(reader.tensor(tensor).bitsPerValue.isFinite)
          #expect(try reader.bytes(ofTensor: tensor) == (shape.isEmpty ? littleEndian(floats: [-0.5]) : []))
        }
      }
    }
    let none = try opened(checkpoint { _ in })
    try none.checkAllBytes()
    #expect(none.tensorCount == 0 && none.chunkCount == 0 && none.find("") == nil)
    #expect(try none.metadata() == .object([:]))
  }

  @Test("Dims: 32 are a shape, 33 are not")
  func dims() throws {
    let shape = [UInt64](repeating: 1, count: 31) + [3]
    let file = try checkpoint {
      try $0.add("q", [1, -1, 0.5], shape: shape, Scheme(map: .linear, bits: 4, signed: true, scaling: .row))
      let error = failure(of: $0, shape: shape + [1])
      #expect(error?.code == .invalidShape)
      #expect(error?.tensor == "x")
    }
    let reader = try opened(file)
    #expect(reader.tensorCount == 1)
    #expect(reader.tensor(0).shape == shape)
    #expect(try reader.bytes(ofTensor: 0).prefix(8) == littleEndian(floats: [1, -1])[...])
  }

  private func failure(of writer: CheckpointWriter, shape: [UInt64]) -> QCodecError? {
    inputError {
      try writer.add(
        name: "x", dtype: .u8, shape: shape, encoding: .lossless(reason: .none), source: MemorySource(bytes: [1, 2, 3]))
    }
  }

  @Test("What a source must have is exactly what dtype and shape imply")
  func sizes() throws {
    _ = try checkpoint {
      #expect(failure(of: $0, shape: [4])?.code == .shapeMismatch)
      #expect(failure(of: $0, shape: [2])?.code == .shapeMismatch)
      #expect(failure(of: $0, shape: [1 << 33, 1 << 33])?.code == .limitExceeded)
      let error = inputError {
        [writer = $0] in
        try writer.add(
          name: "x", dtype: .f4, shape: [3], encoding: .lossless(reason: .none), source: MemorySource(bytes: [1, 2]))
      }
      #expect(error?.code == .invalidShape)
      try $0.add("y", bytes: [1])
    }
  }

  @Test("The metadata come back; the last call counts")
  func metadata() throws {
    let document = try JSONValue(parsing: #"{"a":[1,2.5,null,"é\u0000"],"b":{"c":true}}"#)
    let reader = try opened(
      checkpoint {
        try $0.setMetadata(.object(["gone": .null]))
        try $0.setMetadata(document)
      })
    #expect(try reader.metadata() == document)
    try reader.checkAllBytes()
  }

  @Test("Metadata that a reader would refuse are refused, and the last good ones stay")
  func refusedMetadata() throws {
    func nested(_ levels: Int) -> JSONValue {
      (1..<levels).reduce(.object([:])) { value, _ in .object(["a": value]) }
    }
    let file = try checkpoint {
      try $0.setMetadata(nested(JSONValue.maximumDepth))
      for (document, code) in [
        (JSONValue.array([]), QCodecError.Code.invalidArgument), (.string("{}"), .invalidArgument),
        (nested(JSONValue.maximumDepth + 1), .invalidJSON),
      ] {
        let writer = $0
        #expect(inputError { try writer.setMetadata(document) }?.code == code)
      }
    }
    #expect(try opened(file).metadata() == nested(JSONValue.maximumDepth))
  }

  @Test("Any number of threads is taken", arguments: [Int.min, -1, 0, 1, 5000, .max])
  func threads(count: Int) throws {
    var options = WriterOptions(compression: .none, threads: count)
    #expect((1...1024).contains(options.threads))
    options.threads = count
    let scheme = Scheme(map: .linear, bits: 8, signed: true, scaling: .tensor)
    let file = try checkpoint(options) { try $0.add("t", [1, -1], scheme) }
    #expect(try opened(file).bytes(ofTensor: 0, threads: count) == littleEndian(floats: [1, -1]))
  }
}
