import QCheckpoint
import QCodec
import Testing

/// A tensor of a few chunks under one way of storing it.
struct SliceCase: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let dtype: DType
  let shape: [UInt64]
  let encoding: Encoding

  var elements: Int { Int(shape.reduce(1, *)) }
  var elementSize: Int { dtype.bitWidth / 8 }
  /// Elements of a chunk; rows are cut by element.
  var chunkElements: Int { if case .lossless = encoding { (1 << 20) / elementSize } else { 262_144 } }

  /// Bytes about every chunk's ends.
  func byteOffsets(of count: Int) -> [Int] {
    var offsets: Set<Int> = [count - elementSize, count]
    for start in stride(from: 0, to: count, by: chunkElements * elementSize) {
      for elements in [-3, -1, 0, 1, 2] { offsets.insert(start + elements * elementSize) }
    }
    return offsets.filter { (0...count).contains($0) }.sorted()
  }

  func file(compression: Compression = .none) throws -> [UInt8] {
    let signed = if case .quantized(let scheme, _) = encoding { scheme.signed } else { true }
    let bytes =
      dtype == .u8
      ? noise(elements, seed: 11) : momentBytes(momentValues(elements, signed: signed, seed: 11), dtype: dtype)
    return try checkpoint(.init(compression: compression, threads: 2)) {
      // Neighbours, so that the tensor's chunks are not the file's first and last.
      try $0.add("a", bytes: [1, 2, 3])
      try $0.add(name: "m", dtype: dtype, shape: shape, encoding: encoding, source: MemorySource(bytes: bytes))
      try $0.add("z", bytes: [4])
    }
  }

  // Odd rows, so that rows of 4-bit codes begin within a byte.
  static let all: [SliceCase] = [
    .init(
      testDescription: "4 bits, blocks, odd rows", dtype: .f32, shape: [9, 69_999],
      encoding: .quantized(Scheme(map: .dynamic, bits: 4, signed: true, scaling: .block(32)))),
    .init(
      testDescription: "8 bits, rows", dtype: .bf16, shape: [8, 75_001],
      encoding: .quantized(Scheme(map: .linear, bits: 8, signed: true, scaling: .row))),
    .init(
      testDescription: "4 bits, columns", dtype: .f16, shape: [7, 80_001],
      encoding: .quantized(Scheme(map: .normal, bits: 4, signed: true, scaling: .column))),
    .init(
      testDescription: "4 bits, rank1, three axes", dtype: .f32, shape: [9, 70, 1000],
      encoding: .quantized(Scheme(map: .linearNoZero, bits: 4, signed: false, scaling: .rank1))),
    .init(
      testDescription: "lossless u8", dtype: .u8, shape: [9, 300_001], encoding: .lossless(reason: .none)),
    .init(
      testDescription: "lossless f32", dtype: .f32, shape: [7, 90_001], encoding: .lossless(reason: .none)),
  ]
}

@Suite("Slices of tensors")
struct SliceTests {
  @Test("Every range of rows is that of the whole, from the chunks that hold it alone", arguments: SliceCase.all)
  func everyRowRange(slice: SliceCase) throws {
    let source = CountingSource(try slice.file(compression: slice.dtype == .f16 ? .lz4 : .none))
    let reader = try CheckpointReader(source: source)
    let index = try #require(reader.find("m"))
    let whole = try reader.bytes(ofTensor: index, threads: 2)
    let rows = Int(slice.shape[0])
    let rowBytes = whole.count / rows
    let first = try reader.scaleChunks(of: index)
    _ = source.takeReads()
    for start in 0...rows {
      for end in start...rows {
        let bytes = try reader.rows(
          UInt64(start)..<UInt64(end), ofTensor: index, count: (end - start) * rowBytes, threads: 1 + (start + end) % 2)
        #expect(bytes == Array(whole[start * rowBytes..<end * rowBytes]), "rows \(start)..<\(end)")
        let elements = start * slice.elements / rows..<end * slice.elements / rows
        let needed =
          elements.isEmpty
          ? 0..<0 : elements.lowerBound / slice.chunkElements..<(elements.upperBound - 1) / slice.chunkElements + 1
        let chunks = Array(first) + needed.map { first.upperBound + $0 }
        #expect(source.takeReads() == chunks.map { reader.place(ofChunk: $0) }, "rows \(start)..<\(end)")
      }
    }
    let beyond = inputError { _ = try reader.rows(0..<UInt64(rows + 1), ofTensor: index, count: 0) }
    #expect(beyond?.code == .invalidArgument)
    let short = inputError { _ = try reader.rows(0..<1, ofTensor: index, count: rowBytes - 1) }
    #expect(short?.code == .shapeMismatch)
  }

  @Test("Ranges of bytes about every chunk's ends", arguments: SliceCase.all)
  func byteRanges(slice: SliceCase) throws {
    let reader = try opened(slice.file())
    let index = try #require(reader.find("m"))
    let whole = try reader.bytes(ofTensor: index)
    let size = slice.elementSize
    let ends = slice.byteOffsets(of: whole.count)
    for start in ends {
      for end in ends where start <= end && end - start <= (slice.chunkElements + 5) * size {
        let bytes = try reader.bytes(at: UInt64(start), count: end - start, ofTensor: index)
        #expect(bytes == Array(whole[start..<end]), "bytes \(start)..<\(end)")
      }
    }
    func code(_ offset: UInt64, _ count: Int) -> QCodecError.Code? {
      inputError { _ = try reader.bytes(at: offset, count: count, ofTensor: index) }?.code
    }
    #expect(code(UInt64(whole.count), 1) == .invalidArgument)
    #expect(code(UInt64(whole.count) + 1, 0) == .invalidArgument)
    #expect(code(.max, 1) == .invalidArgument)
    let splits = if case .quantized = slice.encoding { true } else { false }
    #expect(code(1, size) == (splits ? .invalidArgument : nil))
    #expect(code(0, size + 1) == (splits ? .invalidArgument : nil))
  }

  @Test("Lossless tensors are cut at any byte")
  func unalignedBytes() throws {
    let slice = SliceCase.all[5]
    let reader = try opened(slice.file(compression: .zstd))
    let index = try #require(reader.find("m"))
    let whole = try reader.bytes(ofTensor: index)
    for start in (1 << 20) - 5...(1 << 20) + 5 {
      for count in 0...11 {
        let bytes = try reader.bytes(at: UInt64(start), count: count, ofTensor: index)
        #expect(bytes == Array(whole[start..<start + count]))
      }
    }
  }

  @Test("Single chunks: end to end they are the stream that the codec makes", arguments: SliceCase.all)
  func chunks(slice: SliceCase) throws {
    let reader = try opened(slice.file(compression: .zstd))
    let index = try #require(reader.find("m"))
    let chunks = reader.tensor(index).chunks
    var stream: [UInt8] = []
    for chunk in chunks {
      let info = reader.chunk(chunk)
      let payload = try reader.payload(ofChunk: chunk)
      #expect(payload.count == info.rawLength && info.tensor == index)
      stream += payload
    }
    let whole = try reader.bytes(ofTensor: index)
    guard case .quantized(let scheme, _) = slice.encoding else { return #expect(stream == whole) }
    let codec = try TensorCodec(dtype: slice.dtype, shape: slice.shape, scheme: scheme)
    var decoded = [UInt8](repeating: 0, count: codec.decodedByteCount)
    var target = decoded.mutableSpan
    var span = unsafe target.mutableBytes
    try unsafe codec.decode(stream.span.bytes, into: &span)
    #expect(decoded == whole)
  }

  @Test("Opening reads no chunk")
  func opening() throws {
    let source = CountingSource(try SliceCase.all[4].file())
    let reader = try CheckpointReader(source: source)
    let reads = source.takeReads()
    // The end of the last chunk; what follows are metadata, directory and trailer.
    let chunksEnd = (0..<reader.chunkCount).map { reader.place(ofChunk: $0).upperBound }.max() ?? 0
    #expect(reads.count == 3)
    #expect(reads[0] == 0..<256)
    #expect(reads.dropFirst().allSatisfy { $0.lowerBound >= chunksEnd })
  }

  @Test("Scalars have one row, tensors without elements have empty ones")
  func oddShapes() throws {
    let scheme = Scheme(map: .linear, bits: 8, signed: true, scaling: .tensor)
    let reader = try opened(
      checkpoint {
        try $0.add("a", [2], shape: [], scheme)
        try $0.add("b", [], shape: [0, 3], scheme)
        try $0.add("c", [], shape: [3, 0], scheme)
      })
    #expect(try reader.rows(0..<1, ofTensor: 0, count: 4) == littleEndian(floats: [2]))
    #expect(try reader.rows(0..<0, ofTensor: 0, count: 0) == [])
    #expect(inputError { _ = try reader.rows(0..<2, ofTensor: 0, count: 8) }?.code == .invalidArgument)
    #expect(try reader.rows(0..<0, ofTensor: 1, count: 0) == [])
    #expect(inputError { _ = try reader.rows(0..<1, ofTensor: 1, count: 0) }?.code == .invalidArgument)
    #expect(try reader.rows(1..<3, ofTensor: 2, count: 0) == [])
  }
}

extension CheckpointReader {
  fileprivate func place(ofChunk index: Int) -> Range<UInt64> {
    let info = chunk(index)
    return info.offset..<info.offset + UInt64(info.storedLength)
  }

  /// The chunks of a tensor's scale vector.
  fileprivate func scaleChunks(of tensor: Int) throws -> Range<Int> {
    let first = self.tensor(tensor).chunks[0]
    return first..<first + (try layout(of: tensor)?.scaleChunkCount ?? 0)
  }
}
