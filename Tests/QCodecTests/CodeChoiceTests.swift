import Testing

@testable import QCodec

@Suite("Choosing a code")
struct CodeChoiceTests {
  /// The definition: the number of thresholds below y.
  private static func definition(_ y: Float, _ thresholds: [Float]) -> UInt8 {
    UInt8(thresholds.filter { $0 < y }.count)
  }

  @Test("The search equals its definition at and beside every entry, threshold and bucket", arguments: allSchemes())
  func search(scheme: Scheme) throws {
    let table = try MapTable.named(scheme.map, bits: scheme.bits, signed: scheme.signed)
    let search = try #require(table.search)
    var values: [Float] = [0, -0.0, .leastNonzeroMagnitude, -.leastNonzeroMagnitude, 1, -1]
    for value in table.entries + table.thresholds { values += [value.nextDown, value, value.nextUp] }
    for bucket in 0..<65_536 {
      values += [Float(bitPattern: UInt32(bucket) << 16), Float(bitPattern: UInt32(bucket) << 16 | 0xFFFF)]
    }
    values = values.filter { $0.magnitude <= 1 }
    var codes = [UInt8](repeating: 0, count: values.count)
    unsafe values.withUnsafeBufferPointer { y in
      unsafe codes.withUnsafeMutableBufferPointer { codes in
        unsafe ScalarKernels.nearest(y.baseAddress!, count: y.count, search: search, into: codes.baseAddress!)
      }
    }
    for (value, code) in zip(values, codes) where code != Self.definition(value, table.thresholds) {
      Issue.record("\(value) has code \(code)")
    }
  }

  @Test("Ties go to the lower index, and every entry to itself", arguments: allSchemes(scaling: .block(256)))
  func entries(scheme: Scheme) throws {
    let codec = try TensorCodec(dtype: .f32, shape: [256], scheme: scheme)
    let table = try #require(codec.layout.table)
    var values = [Float](repeating: 1, count: 256)
    for (index, entry) in table.entries.enumerated() { values[index] = entry }
    let decoded = try codec.decode(codec.encode(values).stream)
    for (value, result) in zip(values, decoded) { #expect(result == value + 0) }
  }

  @Test("Keep-nonzero: only zeros take the zero code", arguments: allSchemes(rounding: .nearestKeepNonzero))
  func keepNonzero(scheme: Scheme) throws {
    var values = moments(count: 512, signed: scheme.signed, seed: 3)
    // A quotient that underflows to zero is still not zero.
    values[0] = 1e30
    values[1] = 1e-30
    if scheme.signed { values[2] = -1e-30 }
    let codec = try TensorCodec(dtype: .f32, shape: [512], scheme: scheme)
    let (stream, statistics) = try codec.encode(values)
    let decoded = try codec.decode(stream)
    #expect(statistics.zerosCreated == 0)
    #expect(statistics.signChanges == 0)
    for (value, result) in zip(values, decoded) {
      if value != 0 { #expect(result != 0 && (result < 0) == (value < 0)) }
    }
  }

  @Test("Signed linear-nozero keeps signs, and zero is positive", arguments: Scheme.widths)
  func ownSign(bits: Int) throws {
    let scheme = Scheme(map: .linearNoZero, bits: bits, signed: true, scaling: .block(32))
    let codec = try TensorCodec(dtype: .f32, shape: [8], scheme: scheme)
    let values: [Float] = [1e20, 0, -0.0, 1e-30, -1e-30, .leastNonzeroMagnitude, -.leastNonzeroMagnitude, -1]
    let decoded = try codec.decode(codec.encode(values).stream)
    #expect(decoded.map { $0 < 0 } == [false, false, false, false, true, false, true, true])
  }

  @Test("The scale of the signed dynamic map is its extreme with its sign, the first among equals")
  func signedExtreme() throws {
    let scheme = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(32))
    let codec = try TensorCodec(dtype: .f32, shape: [3], scheme: scheme)
    let (stream, statistics) = try codec.encode([0.5, -2, 2])
    #expect(Array(stream[..<4]) == [0, 0, 0, 0xC0])
    #expect(try codec.decode(stream)[1] == -2)
    #expect(statistics.zerosCreated == 0)
    let absmax = Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(32), scaleRule: .absmax)
    let peer = try TensorCodec(dtype: .f32, shape: [3], scheme: absmax).encode([0.5, -2, 2]).stream
    #expect(Array(peer[..<4]) == [0, 0, 0, 0x40])
  }
}

@Suite("Stochastic rounding")
struct StochasticTests {
  @Test("The counter's numbers are those of the spec")
  func vectors() {
    #expect(StochasticCounter(seed: 0, tensor: "").number(at: 0) == 0x04F2A7)
    #expect(StochasticCounter(seed: 1, tensor: "exp_avg").number(at: 0) == 0x3B62FC)
    #expect(StochasticCounter(seed: 1, tensor: "exp_avg").number(at: 1) == 0x6B2111)
    #expect(StochasticCounter(seed: .max, tensor: "ü").number(at: 1 << 40) == 0x3A8056)
  }

  @Test("Exact entries never move; others go to a neighbour, on average to themselves")
  func unbiased() throws {
    let scheme = Scheme(
      map: .linear, bits: 4, signed: false, scaling: .block(65_536), rounding: .stochastic, seed: 7)
    let codec = try TensorCodec(dtype: .f32, shape: [65_536], scheme: scheme)
    let entries = try #require(codec.layout.table).entries
    var values = [Float](repeating: 0.41, count: 65_536)
    values[0] = 1
    for index in 1...15 { values[index] = entries[index] }
    let decoded = try codec.decode(codec.encode(values, name: "v").stream)
    #expect(Array(decoded[...15]) == Array(values[...15]))
    let others = decoded[16...]
    #expect(Set(others) == [entries[6], entries[7]])
    let mean = others.reduce(0.0) { $0 + Double($1) } / Double(others.count)
    // Four standard errors of the mean of 65,520 steps of 1/15.
    let deviation: Double = (mean - Double(Float(0.41))).magnitude
    let tolerance: Double = 4.0 / 15 / 512
    #expect(deviation < tolerance)
    let other = try codec.encode(values, name: "w").stream
    #expect(try codec.decode(other) != decoded)
  }

  @Test("Equal at every thread count")
  func threads() throws {
    let values = moments(count: 600_000, signed: true, seed: 1)
    let scheme = Scheme(
      map: .dynamic, bits: 4, signed: true, scaling: .block(128), rounding: .stochastic, seed: 42)
    let codec = try TensorCodec(dtype: .f32, shape: [600_000], scheme: scheme)
    let one = try codec.encode(values, name: "m", threads: 1)
    let seven = try codec.encode(values, name: "m", threads: 7)
    #expect(one.stream == seven.stream)
    #expect(one.statistics == seven.statistics)
  }
}
