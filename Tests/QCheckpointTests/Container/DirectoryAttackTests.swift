import QCodec
import Testing

@testable import QCheckpoint

@Suite("Hostile directories with right checksums")
struct DirectoryAttackTests {
  @Test("Each gives its error, with a place", arguments: Attack.all)
  func attack(_ attack: Attack) throws {
    var patch = try CheckpointPatch(AttackFile.bytes())
    #expect(throws: Never.self) { _ = try opened(patch.sealed()).everything() }
    let before = patch.directory
    attack.change(&patch)
    #expect(patch.directory != before, "the attack changed nothing")
    let tensors = patch.wideCount(.tensors)
    // Beyond 2^32 the trailer refuses first, which has its own test.
    let error = inputError { _ = try opened(patch.sealed { if tensors <= 1 << 32 { $0.tensorCount = tensors } }) }
    #expect(error?.code == attack.code, "\(String(describing: error))")
    #expect(error?.offset != nil, "\(String(describing: error))")
  }

  @Test("Every byte of a directory, checksums made right: a typed error or a file that can be used")
  func everyByte() throws {
    let good = try CheckpointPatch(AttackFile.bytes())
    good.expectEveryByteIsChecked { good.isFree($0) }
  }

  @Test("Reserved bytes at the head of a directory", arguments: CheckpointPatch.reservedOfDirectory)
  func reserved(at offset: Int) throws {
    var patch = try CheckpointPatch(AttackFile.bytes())
    patch.directory[offset] = 1
    let error = inputError { _ = try opened(patch.sealed()) }
    #expect(error?.code == .reservedBits)
  }

  @Test("Counts of elements up to all of them are possible", arguments: [0, 1, 300] as [UInt64])
  func counts(count: UInt64) throws {
    var patch = try CheckpointPatch(AttackFile.bytes())
    for field in [RecordField.zerosCreated, RecordField.signChanges] {
      patch.set(directoryAt: patch.record(AttackFile.quantized) + field, count)
    }
    let statistics = try opened(patch.sealed()).tensor(AttackFile.quantized).statistics
    #expect(statistics.zerosCreated == count && statistics.signChanges == count)
  }

  @Test("A scheme that its shape cannot have is refused at its record")
  func schemeOfShape() throws {
    var patch = try CheckpointPatch(AttackFile.bytes())
    // One dimension: a writer takes blocks.
    let record = patch.record(AttackFile.custom)
    patch.set(directoryAt: record + RecordField.scaling, UInt8(3))
    let error = inputError { _ = try opened(patch.sealed()) }
    #expect(error?.code == .invalidScheme)
    #expect(error?.offset == patch.trailer.directoryOffset + UInt64(record + RecordField.map))
    #expect(error?.tensor == "custom")
  }

  @Test("Counts one off, and bytes that belong to nothing")
  func offByOne() throws {
    let good = try CheckpointPatch(AttackFile.bytes())
    for field in CheckpointPatch.Count.allCases {
      for delta in [-1, 1] {
        var patch = good
        patch.set(field, UInt64(truncatingIfNeeded: good.count(field) + delta))
        let tensors = patch.wideCount(.tensors)
        let error = inputError { _ = try opened(patch.sealed { $0.tensorCount = tensors }) }
        #expect(error != nil, "\(field) \(delta)")
      }
    }
    for count in [1, 32, Format.tensorRecordSize] {
      var patch = good
      patch.directory += [UInt8](repeating: 0, count: count)
      #expect(inputError { _ = try opened(patch.sealed()) }?.code == .invalidDirectory)
    }
    for length in [0, 1, 63, 64, 100, good.directory.count - 1] {
      var patch = good
      patch.directory = Array(patch.directory[..<length])
      #expect(inputError { _ = try opened(patch.sealed()) }?.code == .invalidDirectory, "\(length)")
    }
  }
}
