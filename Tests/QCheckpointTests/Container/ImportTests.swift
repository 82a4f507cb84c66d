import QCheckpoint
import QCodec
import Testing

/// A tensor that another system quantized, with what its codes and scales decode to by the definition of a scheme alone.
struct ForeignTensor: CustomStringConvertible {
  let shape: [UInt64]
  var scheme: Scheme
  var scales: [Float]
  var codes: [UInt8]

  /// Random codes and scales; forbidden codes do not occur.
  init(shape: [UInt64], scheme: Scheme, scales count: Int, seed: UInt64, avoiding forbidden: Set<UInt8> = []) {
    self.shape = shape
    self.scheme = scheme
    var generator = SeededGenerator(seed: seed)
    scales = (0..<count).map { index in
      index % 11 == 3 ? 0 : Float.random(in: 1e-6...3, using: &generator)
    }
    let top = UInt8(1 << scheme.bits - 1)
    codes = (0..<shape.reduce(1, *)).map { _ in
      var code: UInt8
      repeat { code = UInt8.random(in: 0...top, using: &generator) } while forbidden.contains(code)
      return code
    }
  }

  var description: String { "\(scheme.map.name) \(scheme.bits) \(scheme.scaling) \(shape)" }

  var scaleBytes: [UInt8] { littleEndian(floats: scales) }

  /// A string of bits, the earlier code above.
  var codeBytes: [UInt8] {
    if scheme.bits == 8 { return codes }
    var (bytes, held, left): ([UInt8], UInt64, Int) = ([], 0, 0)
    for code in codes + [0, 0, 0, 0] {
      held = held << UInt64(scheme.bits) | UInt64(code)
      left += scheme.bits
      while left >= 8 {
        left -= 8
        bytes.append(UInt8(truncatingIfNeeded: held >> UInt64(left)))
      }
    }
    return Array(bytes.prefix((codes.count * scheme.bits + 7) / 8))
  }

  private func scale(_ element: Int) -> Float {
    switch scheme.scaling {
    case .tensor: return scales[0]
    case .block(let size): return scales[element / size]
    case .row: return scales[element / (codes.count / Int(shape[0]))]
    case .column: return scales[element % Int(shape[shape.count - 1])]
    case .rank1:
      var (scale, rest, end) = (Float.infinity, element, scales.count)
      for length in shape.reversed() where length != 1 {
        end -= Int(length)
        scale = min(scale, scales[end + rest % Int(length)])
        rest /= Int(length)
      }
      return scale
    }
  }

  /// The bits of every element as float32; a sum with 0, for −0 is to be +0.
  func values() throws -> [UInt32] {
    let table = try #require(try TensorLayout(dtype: .f32, shape: shape, scheme: scheme).table)
    return codes.indices.map { (table.entries[Int(codes[$0])] * scale($0) + 0).bitPattern }
  }

  func add(to writer: CheckpointWriter, _ name: String = "t", dtype: DType = .f32) throws {
    try writer.addImport(
      name: name, dtype: dtype, shape: shape, role: .momentum, scheme: scheme,
      scales: MemorySource(bytes: scaleBytes), codes: MemorySource(bytes: codeBytes))
  }
}

extension CheckpointReader {
  /// Scales and codes of a tensor as they are stored.
  func codes(ofTensor index: Int, threads: Int = 2) throws -> (scales: [UInt8], codes: [UInt8]) {
    let sizes = try #require(try codeByteCounts(of: index))
    var scales = [UInt8](repeating: 0xEE, count: sizes.scales)
    var codes = [UInt8](repeating: 0xEE, count: sizes.codes)
    try unsafe scales.withMutableBytes { scales throws(QCodecError) in
      try unsafe codes.withMutableBytes { codes throws(QCodecError) in
        try unsafe readCodes(tensor: index, scales: scales, codes: codes, threads: threads)
      }
    }
    return (scales, codes)
  }
}

/// A table of another system: out of order and range, with entries that are no numbers.
func importTable() throws -> MapTable {
  try MapTable(
    custom: [0.5, -3, 2, .nan, 1, -1, 0.25, 7, .nan, 0, -0.0, 0, 0.1, 0.2, 0.3, -0.4], signed: true, isImport: true,
    scaleRule: .unknown)
}

@Suite("Tensors that another system quantized")
struct ImportTests {
  /// More than one chunk, of an odd number of elements.
  private static let long = UInt64(TensorLayout.chunkElements + 77)

  /// Every scaling and width over shapes with odd ends, short and of several chunks.
  private static func tensors() throws -> [ForeignTensor] {
    var result: [ForeignTensor] = []
    for bits in [8, 4] {
      for (index, block) in [32, 256, 65_536].enumerated() {
        let scheme = Scheme(map: .dynamic, bits: bits, signed: true, scaling: .block(block))
        for count in block == 256 ? [1, 77, long] : [1, 77, 4099] {
          let scales = (Int(count) + block - 1) / block
          result.append(ForeignTensor(shape: [count], scheme: scheme, scales: scales, seed: UInt64(index)))
        }
      }
      for (rows, columns) in [(65, 67), (515, 517)] as [(UInt64, UInt64)] {
        for (scaling, count) in [
          (Scheme.Scaling.tensor, 1), (.row, Int(rows)), (.column, Int(columns)), (.rank1, Int(rows + columns)),
        ] {
          let scheme = Scheme(map: .linearNoZero, bits: bits, signed: false, scaling: scaling)
          result.append(ForeignTensor(shape: [rows, columns], scheme: scheme, scales: count, seed: rows))
        }
      }
    }
    for (bits, count) in [(6, 77), (5, long), (3, long), (2, 4099)] {
      let scheme = Scheme(map: .cubic, bits: bits, signed: true, scaling: .block(64))
      result.append(ForeignTensor(shape: [count], scheme: scheme, scales: (Int(count) + 63) / 64, seed: UInt64(bits)))
    }
    // An axis of length 1 has no maxima.
    let rank1 = Scheme(map: .linear, bits: 4, signed: false, scaling: .rank1)
    result.append(ForeignTensor(shape: [9, 1, 33, 7], scheme: rank1, scales: 9 + 33 + 7, seed: 5))
    for scaling in [Scheme.Scaling.block(64), .row] {
      let scheme = Scheme(
        map: .custom, bits: 4, signed: true, scaling: scaling, rounding: .unknown, customTable: try importTable())
      let count = scaling == .row ? 65 : (65 * 4099 + 63) / 64
      result.append(
        ForeignTensor(shape: [65, 4099], scheme: scheme, scales: count, seed: 6, avoiding: [3, 8]))
    }
    return result
  }

  @Test("Codes, scales and values come back bit for bit", arguments: Compression.allCases)
  func roundTrip(compression: Compression) throws {
    let tensors = try Self.tensors()
    #expect(tensors.count == 2 * (9 + 8) + 4 + 3)
    for tensor in tensors {
      let reader = try opened(
        checkpoint(.init(compression: compression, threads: 2)) {
          try $0.add("before", bytes: [1])
          try tensor.add(to: $0)
          try $0.add("z", bytes: [2])
        })
      try reader.checkAllBytes()
      let (scales, codes) = try reader.codes(ofTensor: 1)
      #expect(scales == tensor.scaleBytes && codes == tensor.codeBytes, "\(tensor)")
      // Elements that decode to a NaN are none of these, so that bits are comparable.
      let values = try tensor.values().flatMap { littleEndian($0) }
      #expect(try reader.bytes(ofTensor: 1, threads: 2) == values, "\(tensor)")
      let info = reader.tensor(1)
      #expect(info.scheme?.rounding == .unknown && info.scheme?.scaleRule == .unknown, "\(tensor)")
      #expect(info.guaranteedMaxAbsError == nil && info.guaranteedMaxRelError == nil, "\(tensor)")
      #expect(info.role == .momentum && info.shape == tensor.shape && info.statistics.maxAbsError == 0, "\(tensor)")
      #expect(try reader.bytes(ofTensor: 2) == [2])
    }
  }

  @Test("Equal bytes at every thread count")
  func threads() throws {
    let tensor = ForeignTensor(
      shape: [Self.long], scheme: Scheme(map: .dynamic, bits: 4, signed: true, scaling: .block(128)),
      scales: (Int(Self.long) + 127) / 128, seed: 9)
    let files = try [1, 3, 8].map { threads in
      try checkpoint(.init(compression: .zstd, threads: threads)) { try tensor.add(to: $0) }
    }
    #expect(files[0] == files[1] && files[0] == files[2])
    let reader = try opened(files[0])
    for threads in [1, 2, 7] {
      let (scales, codes) = try reader.codes(ofTensor: 0, threads: threads)
      #expect(scales == tensor.scaleBytes && codes == tensor.codeBytes)
    }
  }

  @Test("What a reader reads, a writer takes: an import of an import is the same file")
  func again() throws {
    for tensor in try Self.tensors() {
      let file = try checkpoint { try tensor.add(to: $0) }
      let reader = try opened(file)
      let (scales, codes) = try reader.codes(ofTensor: 0)
      let scheme = try #require(reader.tensor(0).scheme)
      let second = try checkpoint {
        try $0.addImport(
          name: "t", shape: tensor.shape, role: .momentum, scheme: scheme, scales: MemorySource(bytes: scales),
          codes: MemorySource(bytes: codes))
      }
      #expect(second == file, "\(tensor)")
    }
  }

  @Test("Codes of what this encoder wrote, log and the update domain included, are those of the stream")
  func ownCodes() throws {
    let (m, v) = (momentValues(5001, signed: true, seed: 1), momentValues(5001, signed: false, seed: 2))
    let log = Scheme(map: .log, bits: 8, signed: false, scaling: .block(512))
    let cubic = Scheme(map: .cubic, bits: 4, signed: true, scaling: .block(128), domain: .update)
    let rank1 = Scheme(map: .linear, bits: 4, signed: false, scaling: .rank1)
    let reader = try opened(
      checkpoint {
        func new(_ name: String, _ scheme: Scheme, _ values: [Float]) -> NewTensor {
          NewTensor(name: name, dtype: .f32, encoding: .quantized(scheme), source: MemorySource(values))
        }
        try $0.add([
          .pair(first: new("m", cubic, m), second: new("v", log, v), shape: [3, 1667], fallback: nil),
          .tensor(new("r", rank1, v), shape: [3, 1667]),
        ])
      })
    let (first, second) = try MomentCodec(shape: [3, 1667], first: cubic, second: log).encode(first: m, second: v)
    let (stream, _) = try TensorCodec(dtype: .f32, shape: [3, 1667], scheme: rank1).encode(v)
    for (name, expected) in [("m", first), ("v", second), ("r", stream)] {
      let (scales, codes) = try reader.codes(ofTensor: #require(reader.find(name)))
      #expect(scales + codes == expected, "\(name)")
    }
  }

  @Test("Tensors without elements have neither scales nor codes", arguments: [8, 4])
  func empty(bits: Int) throws {
    for scaling in [Scheme.Scaling.block(32), .block(256)] {
      let scheme = Scheme(map: .linear, bits: bits, signed: true, scaling: scaling)
      let tensor = ForeignTensor(shape: [0, 5], scheme: scheme, scales: 0, seed: 1)
      let reader = try opened(checkpoint { try tensor.add(to: $0) })
      let (scales, codes) = try reader.codes(ofTensor: 0)
      #expect(scales.isEmpty && codes.isEmpty)
      #expect(try reader.bytes(ofTensor: 0).isEmpty)
    }
  }

  @Test("Narrow dtypes decode to the nearest value", arguments: [DType.bf16, .f16])
  func narrow(dtype: DType) throws {
    let scheme = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256))
    let tensor = ForeignTensor(shape: [1001], scheme: scheme, scales: 4, seed: 2)
    let reader = try opened(checkpoint { try tensor.add(to: $0, dtype: dtype) })
    let codec = try TensorCodec(dtype: dtype, shape: [1001], scheme: scheme)
    var expected = [UInt8](repeating: 0, count: 2002)
    var span = expected.mutableSpan
    var bytes = unsafe span.mutableBytes
    try unsafe codec.decode((tensor.scaleBytes + tensor.codeBytes).span.bytes, into: &bytes)
    #expect(try reader.bytes(ofTensor: 0) == expected)
  }
}

@Suite("Imports that are refused")
struct RefusedImportTests {
  private let blocks = Self.blocks32
  private static let blocks32 = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(32))
  private static let long = ForeignTensor(
    shape: [UInt64(TensorLayout.chunkElements + 20_032)], scheme: blocks32, scales: 8192 + 626, seed: 1)

  /// The error of an addition, and whether the writer then goes on.
  private func refusal(_ tensor: ForeignTensor, dtype: DType = .f32) throws -> (error: QCodecError?, goesOn: Bool) {
    let folder = try InputFolder()
    let writer = try CheckpointWriter(path: folder.path("c"), options: .init(threads: 2))
    let error = inputError { try tensor.add(to: writer, dtype: dtype) }
    #expect(error?.tensor == "t", "\(tensor)")
    let goesOn = inputError { try writer.add("after", bytes: [1]) } == nil
    #expect(try goesOn || folder.names == [])
    return (error, goesOn)
  }

  @Test("Scales and codes of another size, before anything is written")
  func sizes() throws {
    let rank1 = Scheme(map: .linear, bits: 4, signed: false, scaling: .rank1)
    for (scheme, shape, count) in [(blocks, [77] as [UInt64], 3), (rank1, [65, 67], 132)] {
      let tensor = ForeignTensor(shape: shape, scheme: scheme, scales: count, seed: 1)
      for change in [-1, 1, -count] {
        var wrong = tensor
        wrong.scales = (0..<count + change).map { _ in 1 }
        let (error, goesOn) = try refusal(wrong)
        #expect(error?.code == .shapeMismatch && goesOn, "\(change) scales")
        wrong = tensor
        wrong.codes = Array(repeating: 0, count: tensor.codes.count + 2 * change)
        let (other, goesOnToo) = try refusal(wrong)
        #expect(other?.code == .shapeMismatch && goesOnToo, "\(change) codes")
      }
    }
  }

  @Test("Log, the update domain and a scaling that the shape does not have")
  func schemes() throws {
    for scheme in [
      Scheme(map: .log, bits: 8, signed: false, scaling: .block(32)),
      Scheme(map: .cubic, bits: 8, signed: true, scaling: .block(32), domain: .update),
      Scheme(map: .linear, bits: 8, signed: true, scaling: .row),
      Scheme(map: .linear, bits: 8, signed: true, scaling: .column),
      Scheme(map: .linear, bits: 8, signed: false, scaling: .rank1),
      Scheme(map: .normal, bits: 8, signed: true, scaling: .block(32)),
      Scheme(map: .linear, bits: 8, signed: true, scaling: .block(33)),
      Scheme(map: .custom, bits: 8, signed: true, scaling: .block(32)),
    ] {
      let (error, goesOn) = try refusal(ForeignTensor(shape: [77], scheme: scheme, scales: 3, seed: 1))
      #expect(error?.code == .unsupportedScheme && goesOn, "\(scheme)")
    }
    let (error, goesOn) = try refusal(ForeignTensor(shape: [77], scheme: blocks, scales: 3, seed: 1), dtype: .f64)
    #expect(error?.code == .unsupportedScheme && goesOn)
  }

  @Test(
    "Scales that are not finite, with their byte among the scales",
    arguments: [Float.nan, .infinity, -.infinity], [0, 5000, 8191, 8192, 8700])
  func scales(value: Float, place: Int) throws {
    // 8,192 scales a chunk.
    var tensor = Self.long
    tensor.scales[place] = value
    let (error, goesOn) = try refusal(tensor)
    #expect(error?.code == .invalidScale && error?.offset == UInt64(place) * 4 && !goesOn)
  }

  @Test("Scale vectors that are not finite, and negative maxima of rank1")
  func vectors() throws {
    for (scaling, count, value) in [
      (Scheme.Scaling.tensor, 1, Float.nan), (.row, 65, .infinity), (.column, 67, -.infinity), (.rank1, 132, .nan),
      (.rank1, 132, -1),
    ] {
      let scheme = Scheme(map: .linear, bits: 4, signed: scaling != .rank1, scaling: scaling)
      var tensor = ForeignTensor(shape: [65, 67], scheme: scheme, scales: count, seed: 1)
      tensor.scales[count - 1] = value
      let (error, goesOn) = try refusal(tensor)
      #expect(error?.code == .invalidScale && error?.offset == UInt64(count - 1) * 4 && !goesOn, "\(scaling) \(value)")
    }
  }

  @Test("A code of an entry that is no number, with its element", arguments: [0, 1, 262_143, 262_144, 282_175])
  func codes(place: Int) throws {
    let scheme = Scheme(
      map: .custom, bits: 4, signed: true, scaling: .block(64), rounding: .unknown, customTable: try importTable())
    for code in [UInt8(3), 8] {
      var tensor = Self.long
      tensor.scheme = scheme
      tensor.codes = tensor.codes.map { $0 & 1 }
      tensor.scales = Array(tensor.scales.prefix(tensor.codes.count / 64))
      tensor.codes[place] = code
      let (error, goesOn) = try refusal(tensor)
      #expect(error?.code == .invalidCode && error?.index == UInt64(place) && !goesOn)
    }
  }

  @Test("A bit after the last code that is not zero, with its byte among the codes", arguments: [3, 4, 6])
  func lastBit(bits: Int) throws {
    let scheme = Scheme(map: .cubic, bits: bits, signed: true, scaling: .block(32))
    for count in [7, TensorLayout.chunkElements + 33] {
      let tensor = ForeignTensor(shape: [UInt64(count)], scheme: scheme, scales: (count + 31) / 32, seed: 3)
      var codes = tensor.codeBytes
      codes[codes.count - 1] |= 1
      let error = inputError {
        _ = try checkpoint {
          try $0.addImport(
            name: "t", shape: tensor.shape, scheme: scheme, scales: MemorySource(bytes: tensor.scaleBytes),
            codes: MemorySource(bytes: codes))
        }
      }
      #expect(error?.code == .invalidCode && error?.offset == UInt64(codes.count - 1) && error?.tensor == "t")
    }
  }

  @Test("Names, shapes and the end of the writer, as for any tensor")
  func common() throws {
    let tensor = ForeignTensor(shape: [77], scheme: blocks, scales: 3, seed: 1)
    let folder = try InputFolder()
    let writer = try CheckpointWriter(path: folder.path("c"), options: .init(threads: 1))
    #expect(inputError { try tensor.add(to: writer, "") }?.code == .invalidName)
    try tensor.add(to: writer)
    #expect(inputError { try tensor.add(to: writer) }?.code == .duplicateName)
    let wide = ForeignTensor(shape: Array(repeating: 1, count: 33), scheme: blocks, scales: 1, seed: 1)
    #expect(inputError { try wide.add(to: writer, "w") }?.code == .invalidShape)
    writer.abort()
    #expect(inputError { try tensor.add(to: writer, "late") }?.code == .writerClosed)
  }

  @Test("Reading codes: lossless tensors have none, and buffers are of one size")
  func reading() throws {
    let tensor = ForeignTensor(shape: [77], scheme: blocks, scales: 3, seed: 1)
    let reader = try opened(
      checkpoint {
        try $0.add("lossless", bytes: [1])
        try tensor.add(to: $0)
      })
    #expect(try reader.codeByteCounts(of: 0) == nil)
    let sizes = try reader.codeByteCounts(of: 1)
    #expect(sizes?.scales == 12 && sizes?.codes == 77)
    for (index, scales, codes, code) in [
      (0, 0, 0, QCodecError.Code.invalidArgument), (1, 11, 77, .shapeMismatch), (1, 12, 78, .shapeMismatch),
      (1, 0, 77, .shapeMismatch),
    ] {
      var (one, other) = ([UInt8](repeating: 0, count: scales), [UInt8](repeating: 0, count: codes))
      let error = inputError {
        try unsafe one.withMutableBytes { one throws(QCodecError) in
          try unsafe other.withMutableBytes { other throws(QCodecError) in
            try unsafe reader.readCodes(tensor: index, scales: one, codes: other)
          }
        }
      }
      #expect(error?.code == code && error?.tensor == reader.tensor(index).name)
    }
  }

  @Test("Reading codes of a damaged chunk names tensor and place")
  func damaged() throws {
    let scheme = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(32))
    let tensor = ForeignTensor(shape: [300_000], scheme: scheme, scales: 9375, seed: 1)
    var file = try checkpoint { try tensor.add(to: $0) }
    let chunk = try opened(file).chunk(1)
    file[Int(chunk.offset) + 4] ^= 0xFF
    let reader = try opened(file)
    let error = inputError { _ = try reader.codes(ofTensor: 0) }
    #expect(error?.code == .chunkCorrupt && error?.tensor == "t" && error?.offset == chunk.offset)

    // A scale that is no number under a checksum that nobody looks at.
    for index in 0..<4 { file[Int(chunk.offset) + index] = 0xFF }
    let trusting = try opened(file, verifyChecksums: false)
    let other = inputError { _ = try trusting.codes(ofTensor: 0) }
    #expect(other?.code == .invalidScale && other?.tensor == "t" && other?.offset == chunk.offset)
  }
}
