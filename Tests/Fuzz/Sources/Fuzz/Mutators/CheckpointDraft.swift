import QCodec

/// A checkpoint in parts, to be changed and put together again with every length, place and checksum made right, by
/// Spec/Checkpoint.md and apart from the library's writer.
struct CheckpointDraft {
  private static let header = Array("\u{89}QCK".unicodeScalars.map { UInt8($0.value) })

  var header: [UInt8]
  /// The stored bytes of each chunk record.
  var chunks: [[UInt8]]
  var metadata: [UInt8]
  var directory: [UInt8]

  /// nil for a file whose parts cannot be found.
  init?(_ file: [UInt8]) {
    guard file.count >= 160, file.starts(with: Self.header) else { return nil }
    let trailer = file.count - 96
    func part(_ field: Int) -> [UInt8]? { Self.slice(file, file.word(trailer + field), file.word(trailer + field + 8)) }
    guard let directory = part(0), let metadata = part(24), let places = DirectoryPlaces(directory) else { return nil }
    header = Array(file[..<64])
    (self.directory, self.metadata) = (directory, metadata)
    chunks = (0..<places.chunks).map { index in
      let at = places.chunk(index)
      return Self.slice(file, directory.word(at), UInt64(directory.half(at + 8))) ?? []
    }
  }

  private static func slice(_ file: [UInt8], _ offset: UInt64, _ count: UInt64) -> [UInt8]? {
    guard offset <= UInt64(file.count), count <= UInt64(file.count) - offset else { return nil }
    return Array(file[Int(offset)..<Int(offset + count)])
  }

  var places: DirectoryPlaces? { DirectoryPlaces(directory) }

  // MARK: Putting together

  /// The whole file.
  func sealed() -> [UInt8] {
    var file = header
    file.set(56, xxh3(Array(file[..<56])))
    var directory = directory
    if let places { appendChunks(to: &file, &directory, places) }
    file.pad()
    let metadataStart = UInt64(file.count)
    file += metadata
    file.pad()
    let start = UInt64(file.count)
    file += directory
    file.pad()
    let tensors = directory.count >= 8 ? directory.word(0) : 0
    var trailer: [UInt8] = []
    for field in [
      start, UInt64(directory.count), xxh3(directory), metadataStart, UInt64(metadata.count), xxh3(metadata),
      file.word(56), UInt64(file.count + 96), tensors, 0,
    ] { trailer.append(littleEndian: field) }
    trailer += Array("QCKPTEND".utf8)
    trailer.append(littleEndian: xxh3(trailer))
    return file + trailer
  }

  private func appendChunks(to file: inout [UInt8], _ directory: inout [UInt8], _ places: DirectoryPlaces) {
    repairDigests(&directory, places)
    let ordinals = ordinals(directory, places)
    var seen: [UInt32: UInt32] = [:]
    for (index, stored) in chunks.enumerated() where index < places.chunks {
      let at = places.chunk(index)
      let tensor = directory.half(at + 28)
      let number = seen[tensor, default: 0]
      seen[tensor] = number + 1
      if number == 0 {
        file += [UInt8](repeating: 0, count: (8 - file.count % 8) % 8)
        file += preamble(of: Int(tensor), directory, places, ordinals)
      }
      file += [UInt8](repeating: 0, count: (64 - (file.count + 24) % 64) % 64)
      directory.set(at, UInt64(file.count + 24))
      directory.set(at + 8, UInt32(stored.count))
      directory.set(at + 16, xxh3(stored))
      file.append(littleEndian: UInt32(stored.count))
      file += directory[at + 24..<at + 26] + [0, 0]
      file.append(littleEndian: ordinals[tensor] ?? 0)
      file.append(littleEndian: number)
      file.append(littleEndian: xxh3(stored))
      file += stored
    }
  }

  /// How frames count tensors.
  private func ordinals(_ directory: [UInt8], _ places: DirectoryPlaces) -> [UInt32: UInt32] {
    var result: [UInt32: UInt32] = [:]
    for index in 0..<places.chunks {
      let tensor = directory.half(places.chunk(index) + 28)
      if result[tensor] == nil { result[tensor] = UInt32(result.count) }
    }
    return result
  }

  /// The preamble that a record implies; nothing where the record leads nowhere.
  private func preamble(
    of tensor: Int, _ directory: [UInt8], _ places: DirectoryPlaces, _ ordinals: [UInt32: UInt32]
  ) -> [UInt8] {
    guard tensor < places.tensors else { return [] }
    let at = places.tensor(tensor)
    let (dims, scheme) = (Int(directory[at + 15]), Array(directory[at + 40..<at + 48]))
    let lengths = Self.slice(directory, UInt64(places.dimsStart) &+ directory.word(at + 16) &* 8, UInt64(dims * 8))
    let name = Self.slice(
      directory, UInt64(places.namesStart) &+ directory.word(at), UInt64(min(directory.half(at + 8), 65_536)))
    guard let lengths, let name, !name.isEmpty else { return [] }
    var body: [UInt8] = []
    body.append(littleEndian: UInt16(name.count - 1))
    body += [directory[at + 12], directory[at + 15]] + scheme + lengths
    if directory[at + 14] == 1, scheme[5] == 1 {
      body.append(littleEndian: UInt64(ordinals[UInt32(truncatingIfNeeded: directory.word(at + 56))] ?? 0))
    }
    if directory[at + 14] == 1, scheme[0] == 6, scheme[1] == 4 || scheme[1] == 8 {
      let start = UInt64(places.tablesStart) &+ UInt64(directory.half(at + 48)) &+ 16
      body += Self.slice(directory, start, 4 << UInt64(scheme[1])) ?? []
    }
    body += name
    var result: [UInt8] = []
    result.append(littleEndian: UInt32(truncatingIfNeeded: xxh3(body)))
    return result + body
  }

  /// Makes the digests of custom tables right.
  private func repairDigests(_ directory: inout [UInt8], _ places: DirectoryPlaces) {
    var at = places.tablesStart
    while places.namesStart - at >= 16 {
      let size = Int(min(directory.half(at + 4), 1 << 20)) * 4
      guard size <= places.namesStart - at - 16 else { return }
      if size > 0 { directory.set(at + 8, xxh3(Array(directory[at + 16..<at + 16 + size]))) }
      at += 16 + size
    }
  }
}

extension [UInt8] {
  /// Zeros up to the next multiple of 64.
  fileprivate mutating func pad() { self += [UInt8](repeating: 0, count: (64 - count % 64) % 64) }
}
