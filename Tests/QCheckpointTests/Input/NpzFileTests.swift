import QCheckpoint
import QCodec
import Testing

@Suite struct NpzFileTests {
  private let folder: InputFolder
  private let array = NumpyFixtures.npy("|u1", "(5,)", data: [1, 2, 3, 4, 5])

  init() throws { folder = try InputFolder() }

  private func open(_ bytes: [UInt8]) throws -> NpzFile { try NpzFile(path: folder.write(bytes)) }

  private func refusal(_ bytes: [UInt8]) -> QCodecError? { inputError { _ = try open(bytes) } }

  private func refusal(_ change: (inout ZipFixture) -> Void) -> QCodecError? {
    var member = ZipFixture(name: "a.npy", data: array)
    change(&member)
    return refusal(ZipFixture.archive([member]))
  }

  // MARK: Reading

  @Test func whatNumpyStoresIsRead() throws {
    let file = try open(NumpyFixtures.stored)
    #expect(file.arrays.map(\.name) == ["a"])
    #expect(file.arrays[0].dtype == .f64)
    #expect(file.arrays[0].shape == [2, 3])
    #expect(try inputBytes(file.arrays[0].source) == (0..<6).flatMap { littleEndian(Double($0).bitPattern) })
  }

  @Test func whatNumpyDeflatesIsReadInAnyOrder() throws {
    let file = try open(NumpyFixtures.deflated)
    let expected = littleEndian(floats: (0..<600).map { Float($0) / 7 })
    #expect(file.arrays.map(\.name) == ["exp_avg/w", "step"])
    #expect(file.arrays.map(\.dtype) == [.f32, .i64])
    #expect(file.arrays.map(\.shape) == [[20, 30], []])
    for _ in 0..<2 {
      #expect(try inputBytes(file.arrays[0].source) == expected)
      #expect(try inputBytes(file.arrays[1].source) == littleEndian(5 as Int64))
      #expect(try inputBytes(file.arrays[0].source, at: 1000, count: 40) == Array(expected[1000..<1040]))
    }
  }

  @Test(arguments: [false, true], [0, 8] as [UInt16])
  func zip64AndPrefixesAndCommentsAreRead(isZip64: Bool, method: UInt16) throws {
    var member = ZipFixture(name: "dir/é.npy", data: array, method: method)
    member.isZip64 = isZip64
    let bytes = ZipFixture.archive(
      [member, ZipFixture(name: "b.npy", data: array)], prefix: [1, 2, 3], comment: Array("PK\u{5}\u{6} hello".utf8),
      isZip64: isZip64)
    let file = try open(bytes)
    #expect(file.arrays.map(\.name) == ["dir/é", "b"])
    #expect(try inputBytes(file.arrays[0].source) == [1, 2, 3, 4, 5])
  }

  @Test func anEmptyArchiveIsRead() throws {
    #expect(try open(ZipFixture.archive([])).arrays.isEmpty)
  }

  @Test(arguments: [0, 8] as [UInt16])
  func largeMembersAreReadInPieces(method: UInt16) throws {
    // Beyond what is checked at once; deflate blocks hold less, so those stay small.
    let count = method == 8 ? 65_000 : 3_000_000
    let data = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
    let bytes = ZipFixture.archive([
      ZipFixture(name: "a.npy", data: NumpyFixtures.npy("|u1", "(\(count),)", data: data), method: method)
    ])
    let source = try #require(try open(bytes).arrays.first).source
    #expect(try inputBytes(source, at: UInt64(count) - 10) == Array(data[(count - 10)...]))
    #expect(try inputBytes(source, at: 5000, count: 50) == Array(data[5000..<5050]))
  }

  // MARK: Abuse

  @Test func aWrongChecksumIsFoundAtOnceOrWhenTheMemberIsRead() throws {
    #expect(refusal { $0.crc = 1 }?.code == .invalidNumpy)
    #expect(refusal { ($0.method, $0.crc) = (8, 1) }?.code == .invalidNumpy)
    let large = NumpyFixtures.npy("|u1", "(2000000,)", data: [UInt8](repeating: 7, count: 2_000_000))
    let file = try open(ZipFixture.archive([ZipFixture(name: "a.npy", data: large, crc: 1)]))
    let error = inputError { _ = try inputBytes(file.arrays[0].source, count: 1) }
    #expect(error?.code == .invalidNumpy)
    #expect(error?.message.contains("checksum") == true)
  }

  @Test func impossibleMembersAreRefused() {
    let refusals: [(String, QCodecError?)] = [
      ("method", refusal { $0.method = 12 }), ("encrypted", refusal { $0.flags = 1 }),
      ("local header name", refusal { $0.localName = "b.npy" }),
      ("longer local name", refusal { $0.localName = "abc.npy" }),
      ("offset", refusal { $0.localOffset = 1 }), ("offset beyond", refusal { $0.localOffset = 1 << 30 }),
      ("longer than stored", refusal { $0.statedBytes = UInt64(array.count) + 1 }),
      ("into the directory", refusal { $0.statedBytes = 1 << 20 }),
      ("bomb", refusal { ($0.method, $0.statedBytes, $0.isZip64) = (8, 1 << 50, true) }),
      ("inflates to less", refusal { ($0.method, $0.statedBytes) = (8, UInt64(array.count) + 1) }),
      ("inflates to more", refusal { ($0.method, $0.statedBytes) = (8, UInt64(array.count) - 1) }),
      ("name is not UTF-8", refusal { ($0.flags, $0.name) = (0, "é.npy") }),
      ("zero in the name", refusal { $0.name = "a\0.npy" }),
    ]
    for (what, error) in refusals { #expect(error?.code == .invalidNumpy, "\(what)") }
  }

  @Test func overlappingAndDuplicateMembersAreRefused() {
    let first = ZipFixture(name: "a.npy", data: array)
    #expect(refusal(ZipFixture.archive([first, first]))?.message.contains("two members") == true)
    var second = ZipFixture(name: "a.npy", data: array, localName: "b.npy")
    second.name = "b.npy"
    second.localOffset = 0
    second.localName = "a.npy"
    #expect(refusal(ZipFixture.archive([first, second]))?.code == .invalidNumpy)
    // A member within another: its local header is part of the other's data.
    let inner = ZipFixture.archive([first])
    let outer = NumpyFixtures.npy("|u1", "(\(inner.count),)", data: inner)
    let within = UInt64(30 + 7 + outer.count - inner.count)
    let members = [
      ZipFixture(name: "out.npy", data: outer), ZipFixture(name: "a.npy", data: array, localOffset: within),
    ]
    #expect(refusal(ZipFixture.archive(members))?.message.contains("overlaps") == true)
  }

  @Test func archivesOfOtherKindsAreNamed() {
    let other = refusal(ZipFixture.archive([ZipFixture(name: "README.txt", data: [1])]))
    #expect(other?.code == .notACheckpoint)
    #expect(other?.message.contains("README.txt") == true)
  }

  @Test func aDefectiveArrayIsNamed() {
    let error = refusal(
      ZipFixture.archive([ZipFixture(name: "x.npy", data: NumpyFixtures.npy(">f4", "()", data: [0, 0, 0, 0]))]))
    #expect(error?.code == .invalidNumpy)
    #expect(error?.tensor == "x")
  }

  @Test(arguments: [false, true])
  func everyTruncationIsRefused(isDeflated: Bool) throws {
    let bytes = isDeflated ? NumpyFixtures.deflated : NumpyFixtures.stored
    _ = try open(bytes)
    for count in 0..<bytes.count { #expect(refusal(Array(bytes[..<count]))?.code == .invalidNumpy, "\(count) bytes") }
  }

  @Test(arguments: [false, true])
  func everyChangedByteIsReadOrRefused(isDeflated: Bool) throws {
    let bytes =
      isDeflated
      ? NumpyFixtures.deflated
      : ZipFixture.archive([ZipFixture(name: "a.npy", data: array, isZip64: true)], isZip64: true)
    let original = try open(bytes).arrays.map { try inputBytes($0.source) }
    for index in bytes.indices {
      for flip in [0x01, 0x80, 0xFF] as [UInt8] {
        var changed = bytes
        changed[index] ^= flip
        do {
          // What is accepted has the values that it had: only dates and names may differ.
          let values = try open(changed).arrays.map { try inputBytes($0.source) }
          #expect(values == original, "byte \(index)")
        } catch {
          let code = (error as? QCodecError)?.code
          #expect(code == .invalidNumpy || code == .notACheckpoint, "byte \(index)")
        }
      }
    }
  }
}
