import CQCodecKernels
import Foundation
import QCodec
import Testing

@testable import QCheckpoint

@Suite("What is measured of pairs, and determinism")
struct PairRecordTests {
  /// The error of the update by its definition: sixteen sums a chunk, added as a tree, chunks in order.
  private static func update(
    _ m: [Float], _ v: [Float], _ decodedM: [Float], _ decodedV: [Float], epsilon: Double
  ) -> UpdateError {
    func value(_ m: Float, _ v: Float) -> Double {
      m == 0 && v == 0 ? 0 : Double(m) / (Double(v).squareRoot() + epsilon)
    }
    var result = UpdateError(epsilon: epsilon)
    for start in stride(from: 0, to: m.count, by: 262_144) {
      var sums = [[Double]](repeating: [0, 0], count: 16)
      for index in start..<min(start + 262_144, m.count) {
        let exact = value(m[index], v[index])
        let error = (exact - value(decodedM[index], decodedV[index])).magnitude
        sums[(index - start) % 16][0] += error * error
        sums[(index - start) % 16][1] += exact * exact
        result.maxAbsError = max(result.maxAbsError, error)
        if v[index] != 0, decodedV[index] == 0 { result.zeroedSecondMoments += 1 }
        if m[index] * decodedM[index] < 0 { result.signChanges += 1 }
      }
      while sums.count > 1 {
        var next: [[Double]] = []
        for at in stride(from: 0, to: sums.count, by: 2) {
          let (left, right) = (sums[at], sums[at + 1])
          next.append([left[0] + right[0], left[1] + right[1]])
        }
        sums = next
      }
      result.squaredError += sums[0][0]
      result.squaredUpdate += sums[0][1]
    }
    return result
  }

  private func floats(_ bytes: [UInt8], _ dtype: DType) -> [Float] {
    unsafe bytes.withUnsafeBytes { unsafe dtype.floats($0) }
  }

  @Test("Recorded is what the values in their dtypes give", arguments: [1e-8, 0.125])
  func recorded(epsilon: Double) throws {
    for (first, second, scheme) in [
      (DType.f32, DType.f32, log8), (.bf16, .f16, log4),
      // Second moments that become zero.
      (.f32, .f32, Scheme(map: .linear, bits: 4, signed: false, scaling: .row)),
    ] {
      let values = pairValues(530 * 999, seed: 96)
      let pair = Pair(values.m, values.v, shape: [530, 999]).with {
        ($0.dtypes, $0.second, $0.epsilon) = ((first, second), .quantized(scheme), epsilon)
        ($0.m, $0.v) = (momentBytes(values.m, dtype: first), momentBytes(values.v, dtype: second))
      }
      let reader = try opened(pair.file())
      let (m, v) = (try reader.named("m"), try reader.named("v"))
      let wanted = Self.update(
        floats(pair.m, first), floats(pair.v, second), floats(try reader.bytes(ofTensor: m.index, threads: 2), first),
        floats(try reader.bytes(ofTensor: v.index, threads: 2), second), epsilon: epsilon)
      let found = try #require(reader.measuredPairs.first)
      #expect(reader.measuredPairs.count == 1 && found.first == m.index && found.second == v.index)
      #expect((wanted.zeroedSecondMoments > 0) == (scheme.map == .linear))
      #expect(found.error == wanted, "ε \(epsilon), \(scheme.map.name)")
    }
  }

  @Test("Without ε: recorded as long as every update is finite")
  func withoutEpsilon() throws {
    let (m, v): ([Float], [Float]) = ([1, -2, 0, 0], [1, 4, 0, 9])
    func measured(_ pair: Pair) throws -> [UpdateError] {
      try opened(pair.with { $0.epsilon = 0 }.file()).measuredPairs.map(\.error)
    }
    let errors = try measured(Pair(m, v))
    #expect(errors.count == 1 && errors[0].epsilon == 0 && errors[0].squaredUpdate == 2)
    // A first moment over nothing; a second moment that decodes to nothing.
    #expect(try measured(Pair(m + [1], v + [0])).isEmpty)
    let linear = Encoding.quantized(Scheme(map: .linear, bits: 4, signed: false, scaling: .tensor))
    #expect(try measured(Pair(m + [1], v + [1e-6]).with { $0.second = linear }).isEmpty)
    #expect(try opened(Pair(m, v).with { $0.epsilon = nil }.file()).measuredPairs.isEmpty)
  }

  @Test("Records stand in the order of names, whatever that of addition; without measuring there are none")
  func order() throws {
    let names = ["c", "a", "b"]
    func file(measuring: Set<String>) throws -> CheckpointReader {
      try opened(
        checkpoint {
          for (index, name) in names.enumerated() {
            try Pair(shape: [UInt64(1000 + index)], seed: UInt64(index)).with {
              $0.names = (name + ".m", name + ".v")
              $0.epsilon = measuring.contains(name) ? 1e-8 : nil
            }.add(to: $0)
          }
        })
    }
    #expect(try file(measuring: []).measuredPairs.isEmpty)
    let all = try file(measuring: ["a", "b", "c"])
    let found = all.measuredPairs.map { (all.tensor($0.first).name, all.tensor($0.second).name) }
    #expect(found.map(\.0) == ["a.m", "b.m", "c.m"] && found.map(\.1) == ["a.v", "b.v", "c.v"])
    let one = try file(measuring: ["b"])
    #expect(one.measuredPairs.map { one.tensor($0.first).name } == ["b.m"])
    #expect(one.measuredPairs[0].error == all.measuredPairs[1].error)
  }

  // MARK: Determinism

  private static func fill(_ writer: CheckpointWriter) throws {
    for (index, schemes) in PairSchemes.all.enumerated() {
      var pair = Pair(shape: [66, 67], seed: UInt64(index))
      pair.names = ("m\(index)", "v\(index)")
      pair.first = .quantized(schemes.first)
      pair.second = .quantized(schemes.second)
      pair.epsilon = 1e-8
      try pair.add(to: writer)
    }
    var long = Pair(shape: [900_000], seed: 97)
    long.epsilon = 1e-8
    try long.add(to: writer)
    // Falls back once the values are known.
    var bad = Pair([1, 2, 1e38], [1, 2, 1e-30])
    bad.names = ("bad.m", "bad.v")
    try bad.add(to: writer)
  }

  @Test("Equal bytes over 1, 2 and 7 threads", arguments: Compression.allCases)
  func threads(compression: Compression) throws {
    let expected = try checkpoint(.init(compression: compression, threads: 1), Self.fill)
    let whole = try opened(expected).everything()
    for threads in [2, 7] {
      let file = try checkpoint(.init(compression: compression, threads: threads), Self.fill)
      #expect(file == expected, "\(threads) threads")
      let reader = try opened(file)
      try reader.checkAllBytes(threads: threads)
      #expect(try reader.everything(threads: threads) == whole, "\(threads) threads")
    }
  }

  // Made beforehand: what is tested must not depend on what the test computes in a changed environment.
  private static let small = PairSchemes.all.enumerated().map { index, schemes in
    // Subnormal quotients and second moments among others.
    var values = pairValues(66 * 67, seed: UInt64(98 + index))
    for at in stride(from: 0, to: values.m.count, by: 5) {
      (values.m[at], values.v[at]) = (values.m[at] * 0x1p-128, 0x1p-140)
    }
    return Pair(values.m, values.v, shape: [66, 67]).with {
      $0.names = ("m\(index)", "v\(index)")
      ($0.first, $0.second, $0.epsilon) = (.quantized(schemes.first), .quantized(schemes.second), 1e-8)
    }
  }

  @Test("Equal in every environment", arguments: [1, 2])
  func environments(threads: Int) throws {
    func file() throws -> [UInt8] {
      try checkpoint(.init(compression: .none, threads: threads)) { for pair in Self.small { try pair.add(to: $0) } }
    }
    try expectSameInEveryEnvironment("write") { try file() }
    let reader = try opened(file())
    try expectSameInEveryEnvironment("read") { try reader.everything(threads: threads) }
    for index in 0..<reader.tensorCount where reader.tensor(index).reference != nil {
      try expectSameInEveryEnvironment("rows") {
        try reader.rows(3..<9, ofTensor: index, count: 6 * 67 * 4, threads: threads)
      }
    }
    try expectSameInEveryEnvironment("relative L2") { reader.measuredPairs.map(\.error.relativeL2Error) }
  }

  @Test("A pipe gets the bytes that a file gets")
  func pipe() throws {
    let options = WriterOptions(compression: .lz4, threads: 2)
    let expected = try checkpoint(options, Self.fill)
    let pipe = Pipe()
    let reading = Thread.detached { [UInt8]((try? pipe.fileHandleForReading.readToEnd()) ?? Data()) }
    let writer = try CheckpointWriter(descriptor: pipe.fileHandleForWriting.fileDescriptor, options: options)
    try Self.fill(writer)
    _ = try writer.finish()
    try pipe.fileHandleForWriting.close()
    #expect(reading() == expected)
  }
}

extension Thread {
  /// Runs `body` on a thread of its own; the function waits for its result.
  fileprivate static func detached(_ body: @escaping @Sendable () -> [UInt8]) -> () -> [UInt8] {
    let result = ResultSlots<[UInt8]>(count: 1)
    let done = DispatchSemaphore(value: 0)
    DispatchQueue.global().async {
      result[0] = body()
      done.signal()
    }
    return {
      done.wait()
      return result[0] ?? []
    }
  }
}
