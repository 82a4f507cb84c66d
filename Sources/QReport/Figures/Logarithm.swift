#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// log₁₀ of a positive number.
func decimalLogarithm(_ value: Double) -> Double { log10(value) }

/// 10 to the power of an integer, as exact as a float64 can be where it is small.
func power(ofTen exponent: Int) -> Double {
  // Division by an exact power errs by half a unit; repeated multiplication by 0.1 would err more at each step.
  let magnitude = (0..<exponent.magnitude).reduce(1.0) { product, _ in product * 10 }
  return exponent < 0 ? 1 / magnitude : magnitude
}
