import QCodec
import Testing

@testable import QCheckpoint

@Suite("Many tensors added and read in one call")
struct AdditionTests {
  private static let signed = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256))

  /// Large and small tensors and pairs, lossless ones and empty ones, in turn.
  private static let additions: [Addition] = {
    var result: [Addition] = []
    for index in 0..<40 {
      let count = index % 9 == 4 ? 700_001 : 300 + index
      let values = momentValues(count, signed: true, seed: UInt64(index))
      let pair = pairValues(count, seed: UInt64(100 + index))
      func tensor(_ name: String, _ values: [Float], _ encoding: Encoding) -> NewTensor {
        NewTensor(name: "\(name)\(index)", dtype: .f32, encoding: encoding, source: MemorySource(values))
      }
      let shape = [UInt64(count)]
      switch index % 4 {
      case 0: result.append(.tensor(tensor("t", values, .quantized(signed)), shape: shape))
      case 1:
        result.append(
          .pair(
            first: tensor("m", pair.m, .quantized(updateScheme())), second: tensor("v", pair.v, .quantized(log8)),
            shape: shape, fallback: nil))
      case 2: result.append(.tensor(tensor("l", values, .lossless(reason: .none)), shape: shape))
      default: result.append(.tensor(tensor("e", [], .quantized(signed)), shape: [0, 3]))
      }
    }
    return result
  }()

  @Test("The bytes are those of adding one after another, at every thread count", arguments: [1, 2, 7])
  func bytes(threads: Int) throws {
    let options = WriterOptions(compression: .lz4, threads: threads)
    let expected = try checkpoint(.init(compression: .lz4, threads: 1)) { writer in
      for addition in Self.additions { try writer.add([addition], measuring: 1e-8) }
    }
    var added: [Int] = []
    let file = try checkpoint(options) { writer in
      try writer.add(Self.additions, measuring: 1e-8) { added.append($0) }
    }
    #expect(file == expected)
    #expect(added == Array(Self.additions.indices))
  }

  @Test("A name that comes twice, and nothing is added")
  func duplicates() throws {
    let file = try checkpoint { writer in
      try writer.add([Self.additions[0]])
      #expect(inputError { try writer.add([Self.additions[1], Self.additions[0]]) }?.code == .duplicateName)
      #expect(inputError { try writer.add([Self.additions[1], Self.additions[1]]) }?.code == .duplicateName)
      try writer.add([Self.additions[1]])
    }
    #expect(try opened(file).tensorCount == 3)
  }

  @Test("The first addition that fails is named, at every thread count", arguments: [1, 2, 7])
  func failure(threads: Int) throws {
    var values = momentValues(700_000, signed: true, seed: 9)
    values[650_000] = .infinity
    let bad = { (name: String) -> Addition in
      .tensor(
        NewTensor(name: name, dtype: .f32, encoding: .quantized(Self.signed), source: MemorySource(values)),
        shape: [700_000])
    }
    let error = inputError {
      _ = try checkpoint(.init(threads: threads)) { writer in
        try writer.add([Self.additions[0], bad("first"), Self.additions[1], bad("second")])
      }
    }
    #expect(error?.code == .nonFiniteValue && error?.tensor == "first" && error?.index == 650_000)
  }

  @Test("Several tensors read in one call are those read one by one", arguments: [1, 2, 7])
  func reading(threads: Int) throws {
    let reader = try opened(try checkpoint { try $0.add(Self.additions) })
    // Second moments before and after their first moments, with them and without, and one tensor twice.
    let lists = [
      Array(0..<reader.tensorCount), Array((0..<reader.tensorCount).reversed()),
      try ["v1", "m5", "l2", "m5", "v5", "v5", "e3"].map { try reader.named($0).index }, [],
    ]
    for list in lists {
      let targets = list.map { index in
        unsafe UnsafeMutableRawBufferPointer.allocate(
          byteCount: Int(reader.tensor(index).sourceBytes), alignment: 1)
      }
      defer { for target in unsafe targets { unsafe target.deallocate() } }
      try unsafe reader.read(zip(list, targets).map { unsafe (tensor: $0, target: $1) }, threads: threads)
      var streamed: [UInt8] = []
      try unsafe reader.stream(list, threads: threads) { bytes in unsafe streamed.append(contentsOf: bytes) }
      var expected: [UInt8] = []
      for unsafe(index, target) in zip(list, targets) {
        let bytes = try reader.bytes(ofTensor: index, threads: 1)
        #expect(unsafe Array(target) == bytes)
        expected += bytes
      }
      #expect(streamed == expected)
    }
  }

  @Test("Room of another size than the tensor's")
  func room() throws {
    let reader = try opened(try checkpoint { try $0.add([Self.additions[0]]) })
    let target = unsafe UnsafeMutableRawBufferPointer.allocate(byteCount: 8, alignment: 1)
    defer { unsafe target.deallocate() }
    let error = inputError { try unsafe reader.read([(tensor: 0, target: target)]) }
    #expect(error?.code == .shapeMismatch && error?.tensor == "t0")
  }

  @Test("A borrowed tensor is encoded where it lies, and refuses what it does not have")
  func borrowed() throws {
    let values = momentValues(300_000, signed: true, seed: 3)
    let expected = try checkpoint { try $0.add("t", values, shape: [300_000], Self.signed) }
    let file = try unsafe values.withUnsafeBytes { bytes in
      let source = unsafe BorrowedSource(bytes)
      #expect(inputError { _ = try source.bytes(at: source.byteCount - 1, count: 2) }?.code == .truncated)
      return try checkpoint { writer in
        try writer.add(
          name: "t", dtype: .f32, shape: [300_000], encoding: .quantized(Self.signed), source: source)
      }
    }
    #expect(file == expected)
  }
}
