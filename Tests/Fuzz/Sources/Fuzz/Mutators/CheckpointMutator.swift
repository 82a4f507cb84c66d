import CLibFuzzer
import QCodec

/// Changes a part of a checkpoint and makes the rest right again, so that fuzzing goes past the checksums.
enum CheckpointMutator {
  static func mutate(_ input: [UInt8], _ maximum: Int, _ random: inout Random) -> [UInt8] {
    if random.once(in: 64) { return FreshCheckpoint.make(&random) }
    if random.once(in: 6) { return bytes(input, maximum) }
    guard var draft = CheckpointDraft(input), let places = draft.places else { return bytes(input, maximum) }
    for _ in 0..<1 + random.below(3) { change(&draft, places, &random) }
    let file = draft.sealed()
    guard file.count <= maximum else { return bytes(input, maximum) }
    // Now and then one thing more that no checksum covers up.
    return random.once(in: 12) ? bytes(file, maximum) : file
  }

  /// What libFuzzer makes of bytes.
  private static func bytes(_ input: [UInt8], _ maximum: Int) -> [UInt8] {
    let capacity = max(maximum, input.count)
    return [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
      for index in input.indices { buffer[index] = input[index] }
      count = LLVMFuzzerMutate(buffer.baseAddress, input.count, maximum)
    }
  }

  /// As `bytes`, of the same length as before.
  private static func inPlace(_ bytes: inout [UInt8], _ range: Range<Int>) {
    guard !range.isEmpty else { return }
    let changed = self.bytes(Array(bytes[range]), range.count)
    bytes.replaceSubrange(range.prefix(changed.count), with: changed)
  }

  // MARK: Parts

  private static func change(_ draft: inout CheckpointDraft, _ places: DirectoryPlaces, _ random: inout Random) {
    switch random.below(16) {
    case 0: inPlace(&draft.header, 8..<56)
    case 1: draft.metadata = bytes(draft.metadata, draft.metadata.count + 64)
    case 2, 3, 4: chunk(&draft, places, &random)
    case 5: inPlace(&draft.directory, 0..<draft.directory.count)
    case 6: guarantee(&draft.directory, places, &random)
    case 7, 8, 9: scheme(&draft.directory, places, &random)
    default: section(&draft.directory, places, &random)
    }
  }

  /// Stored bytes of a chunk, mostly of the length that is due.
  private static func chunk(_ draft: inout CheckpointDraft, _ places: DirectoryPlaces, _ random: inout Random) {
    guard !draft.chunks.isEmpty else { return }
    let index = random.below(draft.chunks.count)
    guard random.once(in: 4) else {
      // Scales stand in front.
      let count = draft.chunks[index].count
      return inPlace(&draft.chunks[index], 0..<(random.once(in: 2) ? min(count, 16) : count))
    }
    draft.chunks[index] = bytes(draft.chunks[index], draft.chunks[index].count + 64)
  }

  /// A part of one section.
  private static func section(_ directory: inout [UInt8], _ places: DirectoryPlaces, _ random: inout Random) {
    let range: Range<Int>
    switch random.below(8) {
    case 0, 1, 2: range = record(places.tensors, 136, at: places.tensor(0), &random)
    case 3: range = record(places.dims, 8, at: places.dimsStart, &random)
    case 4: range = record(places.chunks, 32, at: places.chunk(0), &random)
    case 5: range = record(places.pairs, 56, at: places.pair(0), &random)
    case 6: range = places.tablesStart..<places.namesStart
    default: range = places.namesStart..<directory.count
    }
    guard range.count > 8, random.once(in: 2) else { return inPlace(&directory, range) }
    // Fields lie at multiples of four.
    let start = range.lowerBound + random.below(range.count / 4) * 4
    inPlace(&directory, start..<min(start + 8, range.upperBound))
  }

  private static func record(_ count: Int, _ size: Int, at start: Int, _ random: inout Random) -> Range<Int> {
    guard count > 0 else { return start..<start }
    let at = start + random.below(count) * size
    return at..<at + size
  }

  /// A scheme that could be: one field of it, of its range.
  private static func scheme(_ directory: inout [UInt8], _ places: DirectoryPlaces, _ random: inout Random) {
    guard places.tensors > 0 else { return }
    let at = places.tensor(random.below(places.tensors))
    switch random.below(9) {
    case 0: directory[at + 12] = UInt8(1 + random.below(23))
    case 1: directory[at + 40] = UInt8(1 + random.below(8))
    case 2: directory[at + 42] ^= 1
    case 3:
      let hasBlocks = random.once(in: 2)
      directory[at + 43] = hasBlocks ? 2 : [1, 3, 4, 5][random.below(4)]
      directory[at + 44] = hasBlocks ? UInt8(5 + random.below(12)) : 0
    case 4: directory[at + 46] = UInt8(1 + random.below(4))
    case 5: directory[at + 47] = UInt8(1 + random.below(3))
    case 6: directory.set(at + 64, random.once(in: 2) ? 0 : random.next())
    case 7: directory[at + 13] = UInt8(random.below(6))
    default: directory[at + 52] = UInt8(random.below(9))
    }
  }

  /// Guarantees that hold whatever codes and scales say, or none.
  private static func guarantee(_ directory: inout [UInt8], _ places: DirectoryPlaces, _ random: inout Random) {
    for index in 0..<places.tensors where directory[places.tensor(index) + 14] == 1 {
      let at = places.tensor(index)
      let isUnknown = directory[at + 46] == 4
      let isRelative = !isUnknown && (directory[at + 40] == 7 || directory[at + 45] == 1)
      let large = Double.greatestFiniteMagnitude.bitPattern
      directory.set(at + 120, isUnknown ? 0x7FF8_0000_0000_0000 : large)
      directory.set(at + 128, isRelative ? large : 0x7FF8_0000_0000_0000)
    }
  }
}
