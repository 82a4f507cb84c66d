import QCheckpoint
import QCodec
import QVerify

/// Whole files: opened, described, read in every way, verified and salvaged; all ways must agree.
enum CheckpointTarget {
  /// Decoded bytes of an input that are looked at, so that inputs take milliseconds.
  private static let budget: UInt64 = 3 << 20

  static func run(_ input: [UInt8]) -> Bool {
    let source = MemorySource(bytes: input)
    let salvage = outcome { () throws(QCodecError) in try Salvage(source: source) }.value
    if let salvage { readSalvaged(salvage) }
    guard let reader = outcome({ () throws(QCodecError) in try CheckpointReader(source: source) }).value else {
      return true
    }
    require(reader.fileBytes == UInt64(input.count), "a reader of another length than the file's")
    describe(reader)
    guard isAffordable(reader) else { return false }
    let contents = (0..<reader.tensorCount).map { index in
      outcome { () throws(QCodecError) in try reader.bytes(ofTensor: index, threads: 1) }
    }
    var random = Random(seed: xxh3(input))
    for (index, bytes) in contents.enumerated() { slices(reader, index, bytes, &random) }
    together(reader, contents)
    verify(input, reader, contents, salvage, &random)
    return true
  }

  /// Whether all tensors decode to no more than an input may cost.
  private static func isAffordable(_ reader: CheckpointReader) -> Bool {
    var total: UInt64 = 0
    for index in 0..<reader.tensorCount {
      let size = reader.tensor(index).sourceBytes
      guard size <= budget - total else { return false }
      total += size
    }
    return true
  }

  // MARK: Descriptions

  private static func describe(_ reader: CheckpointReader) {
    for index in 0..<min(reader.tensorCount, 512) {
      let info = reader.tensor(index)
      require(reader.find(info.name) == index, "a tensor is not found by its name")
      for chunk in info.chunks { require(reader.chunk(chunk).tensor == index, "a chunk of another tensor") }
      let layout = outcome { () throws(QCodecError) in try reader.layout(of: index) }
      require(layout.value.map { ($0 == nil) == (info.scheme == nil) } == true, "a tensor without a layout")
    }
    _ = reader.measuredPairs
    _ = reader.momentPairs()
    tolerate { () throws(QCodecError) in
      let text = try CheckpointSummary(reader).json().serialized()
      require(outcome { () throws(QCodecError) in try JSONValue(parsing: text) }.isSuccess, "a summary is no JSON")
    }
    guard let metadata = outcome({ () throws(QCodecError) in try reader.metadata() }).value else { return }
    let again = outcome { () throws(QCodecError) in try JSONValue(parsing: metadata.serialized()) }
    require(again.value == metadata, "metadata change when they are written again")
  }

  // MARK: Ways of reading

  /// Rows, byte ranges and codes of a tensor agree with the whole of it.
  private static func slices(
    _ reader: CheckpointReader, _ index: Int, _ whole: Result<[UInt8], QCodecError>, _ random: inout Random
  ) {
    let info = reader.tensor(index)
    codes(reader, index, isReadable: whole.isSuccess)
    tolerate { () throws(QCodecError) in _ = try CodeHistogram(reader, tensor: index) }
    let length = info.shape.first ?? 1
    let limit = min(length, .max - 1) + 1
    let (one, other) = (random.next() % limit, random.next() % limit)
    let rows = min(one, other)..<max(one, other)
    guard let bytes = whole.value else {
      // What cannot be read whole may be readable in part; it must not trap.
      return tolerate { () throws(QCodecError) in
        let elements = try TensorLayout.elements(
          ofRows: rows, shape: info.shape, elementCount: info.elementCount)
        let size = try info.dtype.byteCount(elements: elements.upperBound - elements.lowerBound)
        _ = try read(rows, of: index, Int(size), reader)
      }
    }
    let row = length == 0 ? 0 : UInt64(bytes.count) * 8 / length
    guard row % 8 == 0 else {
      tolerate { () throws(QCodecError) in _ = try read(rows, of: index, 0, reader) }
      return
    }
    let range = Int(rows.lowerBound * row / 8)..<Int(rows.upperBound * row / 8)
    let part = outcome { () throws(QCodecError) in try read(rows, of: index, range.count, reader) }
    require(part.value == Array(bytes[range]), "rows \(rows) of '\(info.name)' are not those of the whole")
  }

  private static func read(
    _ rows: Range<UInt64>, of index: Int, _ size: Int, _ reader: CheckpointReader
  ) throws(QCodecError) -> [UInt8] {
    var part = [UInt8](repeating: 0xA5, count: size)
    try part.withMutableRaw { target throws(QCodecError) in
      try reader.readRows(tensor: index, rows: rows, into: target, threads: 1)
    }
    return part
  }

  private static func codes(_ reader: CheckpointReader, _ index: Int, isReadable: Bool) {
    guard let sizes = outcome({ () throws(QCodecError) in try reader.codeByteCounts(of: index) }).value.flatMap(\.self)
    else { return }
    var (scales, codes) = ([UInt8](repeating: 0, count: sizes.scales), [UInt8](repeating: 0, count: sizes.codes))
    let result = outcome { () throws(QCodecError) in
      try scales.withMutableRaw { scales throws(QCodecError) in
        try codes.withMutableRaw { codes throws(QCodecError) in
          try reader.readCodes(tensor: index, scales: scales, codes: codes, threads: 1)
        }
      }
    }
    if reader.tensor(index).scheme?.hasEscapes == true {
      require(result.error?.code == .unsupportedScheme, "codes without their escapes: \(result.error as Any)")
      return
    }
    // A first moment may have good codes and a second moment that has not.
    let isAlone = reader.tensor(index).reference == nil
    let agrees = isAlone ? result.isSuccess == isReadable : result.isSuccess || !isReadable
    require(agrees, "codes and values do not agree: \(result.error as Any)")
  }

  /// Tensors read together and one after another are what they are alone.
  private static func together(_ reader: CheckpointReader, _ contents: [Result<[UInt8], QCodecError>]) {
    let all = contents.compactMap(\.value)
    let isWhole = all.count == contents.count
    var streamed: [UInt8] = []
    let stream = outcome { () throws(QCodecError) in
      try reader.stream(Array(contents.indices), threads: 1) { bytes throws(QCodecError) in
        streamed.append(contentsOf: bytes)
      }
    }
    require(stream.isSuccess == isWhole, "a stream of tensors that cannot all be read, or not of those that can")
    if isWhole { require(streamed == Array(all.joined()), "tensors are not what they are alone when streamed") }
    let total = contents.indices.reduce(0) { $0 + Int(reader.tensor($1).sourceBytes) }
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(total, 1), alignment: 64)
    defer { memory.deallocate() }
    var (start, wanted) = (0, [(tensor: Int, target: UnsafeMutableRawBufferPointer)]())
    for index in contents.indices {
      let end = start + Int(reader.tensor(index).sourceBytes)
      wanted.append((index, UnsafeMutableRawBufferPointer(rebasing: memory[start..<end])))
      start = end
    }
    let result = outcome { () throws(QCodecError) in try reader.read(wanted, threads: 1) }
    require(result.isSuccess == isWhole, "tensors read together that cannot all be read, or not those that can")
    if isWhole {
      let isSame = UnsafeRawBufferPointer(rebasing: memory[..<total]).elementsEqual(streamed)
      require(isSame, "tensors are not what they are alone when read together")
    }
  }

  // MARK: Verification

  private static func verify(
    _ input: [UInt8], _ reader: CheckpointReader, _ contents: [Result<[UInt8], QCodecError>], _ salvage: Salvage?,
    _ random: inout Random
  ) {
    let bytes = outcome { () throws(QCodecError) in try reader.checkAllBytes(threads: 1) }
    let report = outcome { () throws(QCodecError) in try Verifier(reader, threads: 1).verify() }
    let all = contents.compactMap(\.value)
    guard bytes.isSuccess else { return require(!report.isSuccess, "verified in spite of \(bytes)") }
    require(report.isSuccess == (all.count == contents.count), "\(report) of tensors that say \(contents.map(\.error))")
    guard let found = report.value, found.ok else { return }
    require(outcome { () throws(QCodecError) in try JSONValue(parsing: found.json.serialized()) }.isSuccess, "no JSON")
    against(reader, all, found)
    if let salvage { requireSalvage(salvage, of: reader, all) } else { fatalError("a good file cannot be salvaged") }
    // A change of any one byte makes verification fail.
    var spoiled = input
    let place = random.below(input.count)
    spoiled[place] ^= UInt8(1 + random.below(255))
    let isCaught = outcome { () throws(QCodecError) in
      try Verifier(CheckpointReader(source: MemorySource(bytes: spoiled)), threads: 1).verify().ok
    }
    require(isCaught.value != true, "a changed byte at \(place) is not noticed")
  }

  /// A good file verifies against what it decodes to.
  private static func against(_ reader: CheckpointReader, _ contents: [[UInt8]], _ alone: VerificationReport) {
    let tensors = contents.enumerated().map { index, bytes in
      let info = reader.tensor(index)
      return InputTensor(name: info.name, dtype: info.dtype, shape: info.shape, source: MemorySource(bytes: bytes))
    }
    let document = InputDocument(tensors: tensors, metadata: [:], kind: "fuzz", files: [])
    let report = outcome { () throws(QCodecError) in try Verifier(reader, threads: 1).verify(against: document) }
    require(
      report.value?.ok == true,
      "against itself: \(report.value?.firstViolation.map { "\($0)" } ?? "\(report)")")
  }

  // MARK: Salvage

  /// Whatever a salvage calls whole can be read or says why not.
  private static func readSalvaged(_ salvage: Salvage) {
    let reader = salvage.reader
    require(reader.tensorCount <= salvage.tensors.count, "more tensors than were found")
    guard isAffordable(reader) else { return }
    for index in 0..<reader.tensorCount {
      tolerate { () throws(QCodecError) in _ = try reader.bytes(ofTensor: index, threads: 1) }
    }
  }

  /// Of a good file everything is salvaged that has chunks.
  private static func requireSalvage(_ salvage: Salvage, of reader: CheckpointReader, _ contents: [[UInt8]]) {
    for (index, bytes) in contents.enumerated() where !bytes.isEmpty {
      let name = reader.tensor(index).name
      guard let found = salvage.reader.find(name) else { fatalError("'\(name)' of a good file is not salvaged") }
      let again = outcome { () throws(QCodecError) in try salvage.reader.bytes(ofTensor: found, threads: 1) }
      require(again.value == bytes, "'\(name)' is salvaged with other bytes")
    }
  }
}
