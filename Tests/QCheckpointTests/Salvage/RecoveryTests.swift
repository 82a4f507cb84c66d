import QCodec
import Testing

@testable import QCheckpoint

/// What is left of damaged files, by their directories wherever those are.
@Suite("Recovery")
struct RecoveryTests {
  /// A pair of two chunks, a tensor of scale and code chunks, one without elements and one of two lossless chunks.
  private static func file() throws -> SalvageFile {
    let values = momentValues(300_000, signed: true, seed: 91)
    return try SalvageFile(
      checkpoint(.init(threads: 2)) {
        let second = Scheme(map: .log, bits: 8, signed: false, scaling: .block(512))
        let first = Scheme(
          map: .linear, bits: 8, signed: true, scaling: .block(256), domain: .update, scaleRule: .absmax)
        let moments = (MemorySource(values), MemorySource(values.map { $0 * $0 }))
        try $0.addPair(
          first: NewTensor(
            name: "m", dtype: .f32, role: .firstMoment, encoding: .quantized(first), source: moments.0),
          second: NewTensor(
            name: "v", dtype: .f32, role: .secondMoment, encoding: .quantized(second), source: moments.1),
          shape: [300, 1000])
        try $0.add("row", values, shape: [600, 500], Scheme(map: .linear, bits: 8, signed: true, scaling: .row))
        try $0.add(
          name: "none", dtype: .f32, shape: [0, 3], encoding: .lossless(reason: .none), source: MemorySource([]))
        try $0.add("bytes", bytes: noise(1_500_000, seed: 92))
        try $0.setMetadata(.object(["k": .string("v")]))
      })
  }

  private static let names = ["bytes", "m", "none", "row", "v"]

  private func recovered(_ bytes: [UInt8]) throws(QCodecError) -> Recovery {
    try Recovery(source: MemorySource(bytes: bytes), threads: 2)
  }

  /// Expects that these tensors are lost in part, and that every other is there and what it was.
  private func expect(
    _ recovery: Recovery, of file: SalvageFile, lost: [String: [Range<UInt64>]] = [:], _ comment: Comment,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    #expect(recovery.tensors.map(\.name) == Self.names, comment, sourceLocation: sourceLocation)
    for tensor in recovery.tensors {
      #expect(tensor.lost == lost[tensor.name] ?? [], "\(tensor.name), \(comment)", sourceLocation: sourceLocation)
      guard tensor.isWhole else { continue }
      let bytes = try recovery.reader.bytes(ofTensor: #require(tensor.number), threads: 1)
      #expect(bytes == file.contents[tensor.name], "\(tensor.name), \(comment)", sourceLocation: sourceLocation)
    }
  }

  @Test("A header that is gone takes nothing with it")
  func header() throws {
    let file = try Self.file()
    for count in [1, 8, 64] {
      let recovery = try recovered([UInt8](repeating: 0, count: count) + file.bytes[count...])
      #expect(!recovery.isDirectoryLost && recovery.metadata == .object(["k": .string("v")]))
      try expect(recovery, of: file, "\(count) bytes of the header")
    }
    // The first sector takes the first chunk as well, which is the second moment's and costs both.
    let sector = try recovered([UInt8](repeating: 0, count: 512) + file.bytes[512...])
    try expect(sector, of: file, lost: ["m": [0..<262_144], "v": [0..<262_144]], "the first sector")
    #expect(sector.tensors[1].lostRows == [0..<263])
  }

  @Test("Bytes that were added or lost move chunks, which are found again", arguments: [1, 7, 64, 4096])
  func moved(count: Int) throws {
    let file = try Self.file()
    let first = file.range(ofChunk: 0)
    var longer = file.bytes
    longer.insert(contentsOf: noise(count, seed: 93), at: first.upperBound)
    let recovery = try recovered(longer)
    #expect(recovery.movedChunks == file.reader.chunkCount - 1 && !recovery.isDirectoryLost)
    #expect(recovery.metadata == .object(["k": .string("v")]))
    try expect(recovery, of: file, "\(count) bytes more")
    var shorter = file.bytes
    shorter.removeSubrange(first.lowerBound..<first.lowerBound + count)
    try expect(
      try recovered(shorter), of: file, lost: ["m": [0..<262_144], "v": [0..<262_144]], "\(count) bytes less")
  }

  @Test("Without trailer or directory the chunks are all there is")
  func scan() throws {
    let file = try Self.file()
    let places = [file.bytes.count - 1, file.bytes.count - 90, file.bytes.count - 97 - 64]
    for place in places {
      var bytes = file.bytes
      bytes[place] ^= 1
      let recovery = try recovered(bytes)
      #expect(recovery.isDirectoryLost && recovery.metadata == nil, "byte \(place)")
      #expect(Set(recovery.tensors.map(\.name)) == Set(Self.names).subtracting(["none"]), "byte \(place)")
      for tensor in recovery.tensors {
        let bytes = try recovery.reader.bytes(ofTensor: #require(tensor.number), threads: 1)
        #expect(bytes == file.contents[tensor.name], "\(tensor.name)")
      }
    }
    // Neither header nor trailer: the tensors alone say what the file was.
    var bytes = file.bytes
    for place in places + [0, 1, 2, 3] { bytes[place] = 0 }
    #expect(try recovered(bytes).tensors.count { $0.isWhole } == 4)
  }

  @Test("Each chunk costs its own elements and rows")
  func chunks() throws {
    let file = try Self.file()
    for index in 0..<file.reader.chunkCount {
      let place = file.reader.location(ofChunk: index)
      let name = file.reader.tensor(place.tensor).name
      var bytes = file.bytes
      bytes[file.range(ofChunk: index).upperBound - 1] ^= 0x80
      let recovery = try recovered(bytes)
      var lost = [name: [place.elements]]
      if name == "v" { lost["m"] = [place.elements] }
      try expect(recovery, of: file, lost: lost, "chunk \(index)")
      let rows = try #require(recovery.tensors.first { $0.name == name }).lostRows
      #expect(rows == [try #require(place.rows)], "chunk \(index)")
    }
  }

  @Test("Rows of elements: the first axis, whole and in part")
  func rows() {
    #expect(TensorRows.holding(0..<1, shape: [5, 10]) == 0..<1)
    #expect(TensorRows.holding(9..<11, shape: [5, 10]) == 0..<2)
    #expect(TensorRows.holding(10..<20, shape: [5, 2, 5]) == 1..<2)
    #expect(TensorRows.holding(49..<50, shape: [5, 10]) == 4..<5)
    #expect(TensorRows.holding(3..<7, shape: [50]) == 3..<7)
    #expect(TensorRows.holding(0..<1, shape: []) == nil)
    #expect(TensorRows.holding(0..<0, shape: [0, 3]) == nil)
    #expect(TensorRows.holding([0..<5, 7..<9, 30..<31], shape: [5, 10]) == [0..<1, 3..<4])
    #expect(TensorRows.holding(UInt64.max - 1..<UInt64.max, shape: [1, .max]) == 0..<1)
  }

  @Test("Other files, versions and features are refused, and so are metadata that are damaged not made up")
  func refused() throws {
    let file = try Self.file()
    func code(_ bytes: [UInt8]) -> QCodecError.Code? { inputError { _ = try recovered(bytes) }?.code }
    #expect(code([]) == .notACheckpoint)
    #expect(code(Array("hello, world".utf8)) == .notACheckpoint)
    #expect(code(Array("GGUF".utf8) + file.bytes[4..<file.bytes.count - 1]) == .notACheckpoint)
    #expect(code(Array(file.bytes[..<63])) == .truncated)
    let patch = try CheckpointPatch(file.bytes)
    #expect(code(patch.sealed(headerByte: CheckpointPatch.HeaderField.major, 2)) == .unsupportedVersion)
    #expect(code(patch.sealed(headerByte: CheckpointPatch.HeaderField.required, 4)) == .unsupportedFeature)
    var bytes = file.bytes
    bytes[patch.metadataRange.lowerBound] ^= 1
    let recovery = try recovered(bytes)
    #expect(recovery.metadata == nil && !recovery.isDirectoryLost)
    try expect(recovery, of: file, "damaged metadata")
  }

  @Test("Frames by the thousand that promise a missing chunk: an end, and the chunk is still found before them")
  func impostors() throws {
    let file = try Self.file()
    let last = file.range(ofChunk: file.reader.chunkCount - 1)
    let chunk = file.reader.chunk(file.reader.chunkCount - 1)
    let frame = Array(file.bytes[last.lowerBound - ChunkFrame.size..<last.lowerBound])
    let impostors = [[UInt8]](repeating: frame, count: 40_000).flatMap(\.self)
    // Behind the chunk they are not looked at; before it they use up what may be hashed, and it is lost.
    for (place, isFound) in [(last.upperBound, true), (Format.headerSize, false)] {
      var bytes = file.bytes
      bytes.insert(contentsOf: impostors, at: place)
      let recovery = try recovered(bytes)
      let tensor = try #require(recovery.tensors.first { $0.name == file.reader.tensor(chunk.tensor).name })
      #expect(tensor.isWhole == isFound, "\(place)")
      #expect(!recovery.isDirectoryLost)
    }
  }

  @Test("Only what is wanted is looked at")
  func wanted() throws {
    let file = try Self.file()
    let recovery = try Recovery(source: MemorySource(bytes: file.bytes), threads: 1) { $0 == "v" }
    #expect(recovery.tensors.map(\.name) == ["v"] && recovery.movedChunks == 0)
  }
}

/// The list of all that is wrong with a file that can be opened.
@Suite("Lists of damage")
struct DamageListTests {
  @Test("A sound file has none")
  func none() throws {
    #expect(try opened(SalvageTests.file()).damage(threads: 2).isEmpty)
  }

  @Test("Every damaged chunk, lead, padding and the metadata, in the order of the file")
  func all() throws {
    var bytes = try checkpoint {
      try $0.add(
        "a", momentValues(300_000, signed: true, seed: 5), shape: [300, 1000],
        Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256)))
      try $0.add("b", bytes: noise(77, seed: 2))
      try $0.setMetadata(.object(["k": .string("v")]))
    }
    let sound = try opened(bytes)
    let patch = try CheckpointPatch(bytes)
    let chunks = (0..<3).map(sound.chunk)
    // Both chunks of a, the lead of the second, and the padding after the metadata.
    for place in [
      Int(chunks[0].offset), Int(chunks[1].offset) - 1, Int(chunks[1].offset) + 100, patch.metadataRange.lowerBound,
      patch.metadataRange.upperBound,
    ] { bytes[place] ^= 4 }
    let found = try opened(bytes).damage(threads: 2)
    #expect(
      found.map(\.error.code) == [.chunkCorrupt, .chunkCorrupt, .leadCorrupt, .metadataCorrupt, .paddingNotZero])
    #expect(found.map(\.error.tensor) == ["a", "a", "a", nil, nil])
    #expect(found.map(\.chunk) == [0, 1, 1, nil, nil])
    #expect(found.map(\.elements) == [0..<262_144, 262_144..<300_000, 0..<0, 0..<0, 0..<0])
    #expect(found.map(\.rows) == [0..<263, 262..<300, nil, nil, nil])
    #expect(
      found[1].error.message == "a chunk's checksum is wrong: chunk 1 of 0-1 holds elements 262144-299999, rows 262-299"
    )
    // The first is what a reader throws.
    #expect(inputError { try opened(bytes).checkAllBytes() } == found[0].error)
  }

  @Test("What only decoding shows under right checksums")
  func contents() throws {
    let good = try checkpoint {
      try $0.add(
        "a", momentValues(300_000, signed: true, seed: 5), shape: [300, 1000],
        Scheme(map: .linear, bits: 8, signed: true, scaling: .block(256), scaleRule: .absmax))
      try $0.add(
        "row", momentValues(100, signed: true, seed: 6), shape: [10, 10],
        Scheme(map: .linear, bits: 8, signed: true, scaling: .row, scaleRule: .absmax))
    }
    var patch = try CheckpointPatch(good)
    patch.overwrite(chunk: 1, at: 0, littleEndian(floats: [.nan]))
    patch.overwrite(chunk: 2, at: 4, littleEndian(floats: [-1]))
    // Leads keep the former checksums, which is damage of its own but costs nothing.
    let found = try opened(patch.sealed()).damage(threads: 2)
    #expect(found.map(\.error.code) == [.leadCorrupt, .leadCorrupt, .invalidScale, .invalidScale])
    #expect(found.map(\.error.tensor) == ["a", "row", "a", "row"])
    #expect(found.map(\.chunk) == [1, 0, 1, 0])
    #expect(found.map(\.elements) == [0..<0, 0..<0, 262_144..<300_000, 0..<100])
    let reader = try opened(patch.sealed())
    #expect(try reader.lostElements(ofTensor: 0) == [262_144..<300_000])
    #expect(try reader.lostElements(ofTensor: 1) == [0..<100])
  }
}
