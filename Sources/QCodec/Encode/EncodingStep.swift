/// What a step makes of the scales or ends of one tensor: how its encoder chooses them (Spec/Stream.md, *Steps*).
public struct EncodingStep: Sendable, Hashable {
  /// What becomes of elements beyond the scale that a step makes.
  public enum Excess: Sendable, Hashable {
    /// Their scale is the one that the scheme's rule says, so that its step is wider: every bound holds.
    case widens
    /// They take the end codes. What bounds say of them does not hold: such elements are stored by other means.
    case clamps
  }

  /// The least scale; 0 where the extremes alone decide.
  let scale: Float
  let excess: Excess
  /// Of the `log` map.
  let grid: LogGrid?

  /// The extremes decide.
  public static let none = EncodingStep(scale: 0, excess: .widens, grid: nil)

  private init(scale: Float, excess: Excess, grid: LogGrid?) {
    (self.scale, self.excess, self.grid) = (scale, excess, grid)
  }

  /// The step of the `linear` map, in units of what is coded.
  ///
  /// The scale is n · step rounded to the nearest float32, n = 2^(b−1) − 1 of a signed map and 2^b − 1 of another; in the
  /// update domain then to one whose low eight mantissa bits are zero; at most the largest finite value of the dtype.
  /// What comes to 0 leaves the choice to the extremes.
  public init(linear step: Double, scheme: Scheme, dtype: DType, beyond excess: Excess = .widens) {
    let scale = withCodecEnvironment {
      let scale = Float(Double(scheme.linearSteps) * step)
      guard scheme.domain == .update else { return min(scale, dtype.greatestFinite) }
      return min(ScalarKernels.rounded(scale: scale), Float(bitPattern: 0x7F7F_FF00))
    }
    self.init(scale: scale, excess: excess, grid: nil)
  }

  /// The step of the `log` map in octaves, of a tensor whose least element that is not zero is `least`.
  ///
  /// A step is rint(octaves · 2^23) patterns, 1 at least and (P(Ω) − 2^23) / (2^b − 1) at most, Ω the largest finite value of
  /// the dtype: all codes are then finite. A tensor of
  /// zeros (`least` infinite) has no step.
  public init(octaves: Double, least: Float, scheme: Scheme, dtype: DType) {
    let grid = withCodecEnvironment { () -> LogGrid? in
      guard least.isFinite, least > 0 else { return nil }
      let highest = dtype.greatestFinite.bitPattern
      // One step of room, so that a whole number of them from `least` leads to a lower end.
      let most = (highest - 0x0080_0000) / UInt32((1 << scheme.bits) - 1)
      let patterns = min(max(1, (octaves * 0x1p23).rounded(.toNearestOrEven)), Double(most))
      return LogGrid(step: UInt32(patterns), lowest: least.bitPattern, highest: highest)
    }
    self.init(scale: 0, excess: .widens, grid: grid)
  }

  /// The step of a tensor whose values were looked over; nil leaves the choice to the extremes.
  ///
  /// - Parameters:
  ///   - step: what is asked for.
  ///   - scheme: the scheme of the tensor.
  ///   - dtype: the type of the elements.
  ///   - squares: the sum over the tensor, or over the quotients of the update domain; for steps in units of the root mean
  ///     square alone.
  ///   - least: the least magnitude that is not zero, infinite where there is none; for steps in octaves alone.
  public init(_ step: QuantizationStep?, scheme: Scheme, dtype: DType, squares: SquareSum, least: Float) {
    switch step {
    case nil: self = .none
    case .absolute(let step): self.init(linear: step, scheme: scheme, dtype: dtype)
    case .rms(let factor): self.init(linear: squares.step(factor), scheme: scheme, dtype: dtype)
    case .octaves(let octaves): self.init(octaves: octaves, least: least, scheme: scheme, dtype: dtype)
    }
  }

  /// A scale by the scheme's rule, or what the step makes of it.
  func applied(to scale: Float) -> Float {
    guard self.scale > 0 else { return scale }
    // Only `linear` has steps, whose scales are magnitudes.
    return excess == .clamps ? self.scale : max(scale, self.scale)
  }

  /// Whether quotients may exceed ±1.
  var clamps: Bool { scale > 0 && excess == .clamps }
}

/// The patterns that codes of the `log` map may have in one tensor: whole steps from its least element that is not zero.
///
/// On it each block has its mean at one code, the middle one: so the codes of all blocks have one histogram, as narrow as the
/// blocks', which is what an entropy coder lives on. With lower ends of their own, at their least values, blocks take 0.4 to
/// 0.9 bits a value more on real states.
struct LogGrid: Sendable, Hashable {
  /// Patterns from code to code.
  let step: UInt32
  /// The pattern from which steps are counted.
  let lowest: UInt32
  /// The greatest pattern that an end may have.
  let highest: UInt32
  /// The least that one may have: below 2^-126 patterns are no logarithm.
  private var bottom: Int64 { Int64(min(lowest, 0x0080_0000)) }

  /// The block of ends on the grid, with a code for zeros, that holds elements of these ends; nil where none does.
  ///
  /// Of all such blocks it is the one whose middle is nearest to the mean pattern of what is not zero.
  func block(_ ends: LogEnds, bits: Int) -> LogBlock? {
    guard let least = ends.least else { return nil }
    let (step, lowest) = (Int64(self.step), Int64(self.lowest))
    let count = (1 << bits) - 2
    let reach = Int64(count) * step
    let most = Self.floor(min(Int64(highest) - reach, Int64(least)) - lowest, step)
    let fewest = -Self.floor(lowest - max(bottom, Int64(ends.greatest) - reach), step)
    guard fewest <= most else { return nil }
    let mean = Self.floor(Int64(ends.sum / UInt64(ends.count)) - lowest + step / 2, step)
    let start = UInt32(lowest + min(max(mean - Int64(count / 2), fewest), most) * step)
    return LogBlock(
      low: Float(bitPattern: start | 0x8000_0000), high: Float(bitPattern: start + UInt32(reach)), bits: bits)
  }

  private static func floor(_ n: Int64, _ step: Int64) -> Int64 { n / step - (n % step < 0 ? 1 : 0) }
}

extension Scheme {
  /// n of the `linear` map: steps from zero to the scale.
  package var linearSteps: Int { (1 << (signed ? bits - 1 : bits)) - 1 }
}

extension DType {
  /// The largest finite value of a quantizable type.
  package var greatestFinite: Float {
    switch self {
    case .bf16: Float(bitPattern: 0x7F7F_0000)
    case .f16: 65_504
    default: .greatestFiniteMagnitude
    }
  }
}
