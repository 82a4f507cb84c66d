import Testing

@testable import QCodec

@Suite("Sums of squares, by which steps are measured")
struct SquareSumTests {
  @Test("Every kernel gives the same sum, of elements and of quotients", arguments: [DType.f32, .bf16, .f16])
  func kernels(_ dtype: DType) throws {
    let (m, v) = adamMoments(70_001, seed: 89, exponents: dtype == .f16 ? -10...1 : -40...3)
    let (first, second) = (try Narrow.bytes(m, dtype: dtype), try Narrow.bytes(v, dtype: dtype))
    let sums = KernelLevel.allCases.filter(\.isSupported).map { level in
      unsafe first.withUnsafeBytes { m in
        unsafe second.withUnsafeBytes { v in
          unsafe [
            SquareSum(of: m, dtype, kernels: level), SquareSum(of: m, dtype, over: v, dtype, kernels: level),
          ]
        }
      }
    }
    #expect(sums.allSatisfy { $0 == sums[0] })
    let (own, other) = (Narrow.values(first, dtype: dtype), Narrow.values(second, dtype: dtype))
    #expect(sums[0][0].count == UInt64(own.count { $0 != 0 }))
    let exact = own.reduce(0) { $0 + $1 * $1 }
    #expect((sums[0][0].sum - exact).magnitude <= exact * 1e-12)
    let quotients = zip(own, other).map { $1 > 0 ? $0 / $1.squareRoot() : $0 }.reduce(0) { $0 + $1 * $1 }
    #expect((sums[0][1].sum - quotients).magnitude <= quotients * 1e-5)
  }

  @Test("A step has five significant bits, ties to even; nothing has none")
  func rounding() {
    func step(_ values: [Float], _ factor: Double) -> Double {
      unsafe values.withUnsafeBytes { unsafe SquareSum(of: $0, .f32).step(factor) }
    }
    #expect(step([1, -1, 0], 1) == 1)
    #expect(step([3, 0, 4], 1) == 3.5)
    #expect(step([1], 1 + 0x1p-5) == 1)
    #expect(step([1], 1 + 0x1.8p-4) == 1.125)
    #expect(step([1], 1 + 0x1.8p-4 + 0x1p-20) == 1.125)
    #expect(step([1], 1.9999) == 2)
    #expect(step([0, 0], 1) == 0)
    #expect(SquareSum().step(0.3) == 0)
  }

  @Test("Steps that decoded values may have: no more than their least, no less than the factor can have made")
  func formerSteps() {
    func steps(_ values: [Float], _ factor: Double, zeros: UInt64 = 0, bits: Int = 8) -> [Double] {
      let scheme = Scheme(map: .linear, bits: bits, signed: true, scaling: .block(256))
      return unsafe values.withUnsafeBytes {
        unsafe SquareSum(of: $0, .f32).formerSteps(factor, of: UInt64(values.count) + zeros, scheme: scheme)
      }
    }
    #expect(steps([1, 2, 3], 0.5) == [1, 0.96875, 0.9375, 0.90625, 0.875, 0.84375, 0.8125, 0.78125])
    #expect(steps([1, -2, 5], 2, zeros: 60) == [1])
    #expect(steps([1, -1, 1, -1], 0.3, zeros: 12).last == 0.125)
    #expect(steps([1, 1], 0.001, bits: 4).last == 0.07421875)
    #expect(steps([0.01, 1], 0.3).isEmpty && steps([0, 0], 1).isEmpty && steps([], 1).isEmpty)
    #expect(steps([.infinity, 1], 0.3).isEmpty && steps([.nan, 1], 0.3).isEmpty)
    #expect(steps([0x1p-149], 0.3).first == 0x1p-149)
    #expect(SquareSum().least == .infinity)
  }

  @Test("Sums of chunks in order are those of one pass")
  func appending() {
    var sum = SquareSum()
    for value in [Float(0.1), 0.2, 0.3] {
      sum.append(unsafe [value].withUnsafeBytes { unsafe SquareSum(of: $0, .f32) })
    }
    #expect(sum.count == 3 && sum.least == 0.1)
    #expect(
      sum.sum == Double(Float(0.1)) * Double(Float(0.1)) + Double(Float(0.2)) * Double(Float(0.2))
        + Double(Float(0.3)) * Double(Float(0.3)))
  }
}
