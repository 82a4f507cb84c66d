import QCheckpoint
import QCodec
import Testing

@Suite struct NumpyFileTests {
  private let folder: InputFolder

  init() throws { folder = try InputFolder() }

  private func open(_ bytes: [UInt8]) throws -> NumpyFile { try NumpyFile(path: folder.write(bytes)) }

  private func refusal(_ bytes: [UInt8]) -> QCodecError? { inputError { _ = try open(bytes) } }

  @Test(arguments: [
    ("<f2", DType.f16), ("<f4", .f32), ("<f8", .f64), ("|i1", .i8), ("<i2", .i16), ("<i4", .i32), ("<i8", .i64),
    ("|u1", .u8), ("<u2", .u16), ("<u4", .u32), ("<u8", .u64), ("|b1", .bool), ("<c8", .c64), ("<c16", .c128),
    ("<i1", .i8),
  ])
  func everyDtypeIsRead(descr: String, dtype: DType) throws {
    let data = (0..<UInt8(dtype.bitWidth / 8 * 6)).map { $0 }
    let file = try open(NumpyFixtures.npy(descr, "(2, 3)", data: data))
    #expect(file.dtype == dtype)
    #expect(file.shape == [2, 3])
    #expect(try inputBytes(file.source) == data)
    #expect(try inputBytes(file.source, at: 1, count: 2) == [1, 2])
  }

  @Test(arguments: [1, 2, 3] as [UInt8])
  func everyVersionIsRead(version: UInt8) throws {
    let file = try open(
      NumpyFixtures.npy("{\"shape\":(4,),'fortran_order':False,'descr':'|u1'}", data: [1, 2, 3, 4], version: version))
    #expect(file.shape == [4])
    #expect(try inputBytes(file.source) == [1, 2, 3, 4])
  }

  @Test func scalarsAndEmptyArraysAreRead() throws {
    #expect(try open(NumpyFixtures.npy("<f4", "()", data: [0, 0, 0, 0])).shape == [])
    #expect(try open(NumpyFixtures.npy("<f4", "(0, 5)")).shape == [0, 5])
  }

  @Test(arguments: [
    (">f4", "big-endian"), ("|O", "pickles"), ("<U5", "text"), ("|S3", "text"), ("|V2", "bfloat16"),
    ("<M8[ns]", "time"),
    ("<f16", "not supported"), ("=f4", "byte order"), ("|f4", "byte order"), ("f4", "not supported"),
    ("", "not supported"),
  ])
  func dtypesThatCannotBeStoredAreRefusedWithAReason(descr: String, word: String) {
    let error = refusal(NumpyFixtures.npy(descr, "(1,)", data: [0, 0, 0, 0]))
    #expect(error?.code == .invalidNumpy)
    #expect(error?.message.contains(word) == true, "\(error?.message ?? "accepted")")
  }

  @Test func fortranOrderIsRefused() {
    let error = refusal(
      NumpyFixtures.npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1), }", data: [0, 0, 0, 0]))
    #expect(error?.code == .invalidNumpy)
    #expect(error?.message.contains("Fortran") == true)
  }

  @Test func structuredArraysAreRefused() {
    let error = refusal(NumpyFixtures.npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }"))
    #expect(error?.code == .invalidNumpy)
    #expect(error?.message.contains("structured") == true)
  }

  @Test(arguments: [
    "", "{", "{}", "[]", "{'descr': '|u1', 'fortran_order': False}", "{'descr': '|u1', 'shape': (1,)}",
    "{'fortran_order': False, 'shape': (1,)}", "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)} x",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'x': 1}",
    "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (1,)}",
    "{'descr': '|u1', 'fortran_order': 0, 'shape': (1,)}", "{'descr': '|u1', 'fortran_order': False, 'shape': (1)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': [1]}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (1L,)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (1 1)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (18446744073709551616,)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (9223372036854775807,)}",
    "{'descr': '|u1, 'fortran_order': False, 'shape': (1,)}",
    "{'descr': '|u\\x31', 'fortran_order': False, 'shape': (1,)}",
    "{'descr': '|u1' 'fortran_order': False, 'shape': (1,)}", "{,}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (,)}",
    "__import__('os')", "{'descr': '|u1', 'fortran_order': False, 'shape': (2,)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': ()", "{'descr': '|u1', 'fortran_order': False, 'shape': (0,)}",
  ])
  func malformedHeadersAreRefusedWithAnOffset(header: String) {
    let error = refusal(NumpyFixtures.npy(header, data: [0]))
    #expect(error?.code == .invalidNumpy, "\(header)")
    #expect(error?.offset != nil)
  }

  @Test func unknownVersionsAreRefused() {
    var bytes = NumpyFixtures.npy("|u1", "(1,)", data: [0])
    bytes[7] = 1
    #expect(refusal(bytes)?.offset == 6)
    (bytes[6], bytes[7]) = (4, 0)
    #expect(refusal(bytes)?.offset == 6)
  }

  @Test func anEndlessHeaderIsRefused() {
    var bytes = NumpyFixtures.npy("", data: [], version: 2)
    bytes.replaceSubrange(8..<12, with: [0xFF, 0xFF, 0xFF, 0xFF])
    #expect(refusal(bytes)?.code == .invalidNumpy)
  }

  @Test func everyTruncationAndExtensionIsRefused() throws {
    let bytes = NumpyFixtures.npy("<f4", "(2,)", data: Array(0..<8))
    _ = try open(bytes)
    for count in 0..<bytes.count { #expect(refusal(Array(bytes[..<count]))?.code == .invalidNumpy, "\(count) bytes") }
    #expect(refusal(bytes + [0])?.code == .invalidNumpy)
  }
}
