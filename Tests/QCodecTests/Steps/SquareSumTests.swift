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

  @Test("Sums of chunks in order are those of one pass")
  func appending() {
    var sum = SquareSum()
    for value in [Float(0.1), 0.2, 0.3] {
      sum.append(unsafe [value].withUnsafeBytes { unsafe SquareSum(of: $0, .f32) })
    }
    #expect(sum.count == 3)
    #expect(
      sum.sum == Double(Float(0.1)) * Double(Float(0.1)) + Double(Float(0.2)) * Double(Float(0.2))
        + Double(Float(0.3)) * Double(Float(0.3)))
  }
}
