import Foundation
import QCheckpoint
import QCodec
import Testing

@Suite struct SafetensorsWriterTests {
  private let folder: InputFolder

  init() throws { folder = try InputFolder() }

  private let tensors: [SafetensorsWriter.Tensor] = [
    .init(name: "odd \"name\"\n", dtype: .u8, shape: [3]), .init(name: "é", dtype: .f32, shape: [1, 2]),
    .init(name: "empty", dtype: .i64, shape: [0]), .init(name: "scalar", dtype: .bf16, shape: []),
  ]

  private func write(_ name: String, metadata: [String: String] = ["b": "2", "a": "{\"x\": 1}"]) throws {
    let writer = try SafetensorsWriter(path: folder.path(name), tensors: tensors, metadata: metadata)
    for entry in writer.entries {
      try writer.write(
        MemorySource(bytes: [UInt8](repeating: UInt8(entry.name.utf8.count), count: Int(entry.byteCount))))
    }
    try writer.finish()
  }

  @Test func whatIsWrittenReadsBack() throws {
    try write("x")
    let file = try SafetensorsFile(path: folder.path("x"))
    #expect(file.entries.map(\.name) == tensors.map(\.name))
    #expect(file.entries.map(\.dtype) == tensors.map(\.dtype))
    #expect(file.entries.map(\.shape) == tensors.map(\.shape))
    #expect(file.metadata == ["b": "2", "a": "{\"x\": 1}"])
    for entry in file.entries {
      #expect(try inputBytes(file.source(of: entry)).allSatisfy { $0 == UInt8(entry.name.utf8.count) })
    }
    #expect(file.entries[0].offset % 8 == 0)
  }

  @Test func equalTensorsGiveEqualBytes() throws {
    try write("x")
    try write("y")
    #expect(try folder.read("x") == folder.read("y"))
  }

  @Test func alignedOrderPutsWideElementsFirst() {
    #expect(SafetensorsWriter.aligned(tensors).map(\.dtype) == [.i64, .f32, .bf16, .u8])
  }

  @Test func anEmptyFileIsValid() throws {
    try SafetensorsWriter(path: folder.path("x"), tensors: []).finish()
    #expect(try SafetensorsFile(path: folder.path("x")).entries.isEmpty)
  }

  @Test func aFileThatIsNotFinishedLeavesNothing() throws {
    _ = try folder.write([1, 2, 3], "x")
    var writer: SafetensorsWriter? = try SafetensorsWriter(path: folder.path("x"), tensors: tensors)
    try writer?.write(MemorySource(bytes: [1, 2]))
    let error = inputError { try writer?.finish() }
    #expect(error?.code == .invalidArgument)
    writer = nil
    #expect(try folder.names == ["x"])
    #expect(try folder.read("x") == [1, 2, 3])
  }

  @Test func moreBytesThanPromisedAreRefused() throws {
    let writer = try SafetensorsWriter(path: folder.path("x"), tensors: tensors)
    let error = inputError { try writer.write(MemorySource(bytes: [UInt8](repeating: 0, count: 14))) }
    #expect(error?.code == .invalidArgument)
    #expect(inputError { try writer.finish() } != nil)
    #expect(try folder.names.isEmpty)
  }

  @Test func aFailingSourceLeavesNothing() throws {
    do {
      let writer = try SafetensorsWriter(path: folder.path("x"), tensors: tensors)
      let source = unsafe CallbackSource(byteCount: 3) { (_, _) throws(QCodecError) in
        throw QCodecError(.chunkCorrupt, "bad chunk")
      }
      #expect(inputError { try writer.write(source) }?.code == .chunkCorrupt)
    }
    #expect(try folder.names.isEmpty)
  }

  @Test func aDescriptorGetsTheSameBytes() throws {
    try write("x")
    _ = try folder.write([], "y")
    let handle = try #require(FileHandle(forWritingAtPath: folder.path("y")))
    let writer = try SafetensorsWriter(
      descriptor: handle.fileDescriptor, tensors: tensors, metadata: ["b": "2", "a": "{\"x\": 1}"])
    for entry in writer.entries {
      try writer.write(
        MemorySource(bytes: [UInt8](repeating: UInt8(entry.name.utf8.count), count: Int(entry.byteCount))))
    }
    try writer.finish()
    try handle.close()
    #expect(try folder.read("x") == folder.read("y"))
  }

  @Test func whatSafetensorsCannotHoldIsRefusedBeforeAnythingIsTouched() throws {
    func code(_ tensors: [SafetensorsWriter.Tensor]) -> QCodecError.Code? {
      inputError { _ = try SafetensorsWriter(path: folder.path("x"), tensors: tensors) }?.code
    }
    #expect(code([tensors[0], tensors[0]]) == .duplicateName)
    #expect(code([.init(name: "__metadata__", dtype: .u8, shape: [])]) == .invalidName)
    #expect(code([.init(name: "c", dtype: .c128, shape: [1])]) == .invalidSafetensors)
    #expect(code([.init(name: "c", dtype: .f4, shape: [1])]) == .invalidSafetensors)
    #expect(code([.init(name: "c", dtype: .u8, shape: [1 << 32, 1 << 32])]) == .invalidSafetensors)
    let huge = SafetensorsWriter.Tensor(name: "huge", dtype: .u8, shape: [1 << 60])
    #expect(code((0..<8).map { .init(name: "huge\($0)", dtype: huge.dtype, shape: huge.shape) }) == .limitExceeded)
    #expect(code([.init(name: "c", dtype: .u8, shape: [0, 1 << 63])]) == .limitExceeded)
    #expect(try folder.names.isEmpty)
  }
}
