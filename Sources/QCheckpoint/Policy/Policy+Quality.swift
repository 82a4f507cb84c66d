import QCodec

extension Policy {
  /// The relative errors that `adamq` can be asked for.
  public static let qualities = 0.001...0.6
  /// The relative error that `adamq` aims at where none is named: about that of `adam4`.
  public static let defaultQuality = 0.1

  /// The preset `adamq` for a relative error of the update: uniform steps, with zstd behind them.
  ///
  /// A uniform quantizer with an entropy coder comes within a quarter of a bit of what any can do at its error. `quality` is
  /// the relative L2 error of the update m/(√v + ε) aimed at, √(Σ(w − ŵ)²/Σw²). Its square is shared between the moments
  /// equally, which costs the fewest bits at a high rate: a step of a·rms makes a relative error of a/√12 in m, and a step
  /// of s octaves one of s·ln 2/2/√12 in √v. A step of v above one octave is out of reach for its 8 bits; m then takes what
  /// remains. Momentum, and first moments without a partner, have the relative error `quality` themselves.
  ///
  /// What was decoded keeps its steps, so that saving it again changes nothing (Spec/Stream.md, *Steps*).
  ///
  /// `quality` is to be in `qualities`. Bits come out of the entropy coder: with another lossless stage there is no gain.
  public static func adamq(quality: Double = defaultQuality) -> Policy {
    precondition(qualities.contains(quality), "a quality of \(quality) is outside \(qualities)")
    let (rms, octaves) = steps(for: quality)
    let momentum = Scheme(map: .linear, bits: 8, signed: true, scaling: .block(256))
    let first = Scheme(map: .linear, bits: 8, signed: true, scaling: .block(256), domain: .update)
    // Small blocks: each has its mean at one code, and their ends repeat, which the entropy coder makes little of.
    let second = Scheme(map: .log, bits: 8, signed: false, scaling: .block(128))
    return Policy(
      name: quality == defaultQuality ? "adamq" : "adamq:\(quality)",
      rules: [
        Rule(
          match: Match(roles: [.firstMoment]), action: .quantize(first), negativeFallsBack: true, fallback: momentum,
          compression: .zstd, step: .rms(rms)),
        Rule(
          match: Match(roles: [.secondMoment]), action: .quantize(second), negativeFallsBack: true, compression: .zstd,
          step: .octaves(octaves)),
        Rule(
          match: Match(roles: [.momentum]), action: .quantize(momentum), negativeFallsBack: true, compression: .zstd,
          step: .rms(quality * 12.0.squareRoot())),
      ], minElements: 4096)
  }

  /// The quality that a preset's name states: `adamq:0.05`.
  static func qualityName(_ name: String) -> Double? {
    guard name.hasPrefix("adamq:"), let quality = Double(name.dropFirst(6)), qualities.contains(quality) else {
      return nil
    }
    return quality
  }

  /// What to say of a name that no preset has.
  package static func complaint(about name: String) -> String {
    guard name.hasPrefix("adamq:") else {
      return "there is no policy '\(name)'; policies are \(presetNames.joined(separator: ", "))"
    }
    return "adamq takes an error of \(qualities.lowerBound) to \(qualities.upperBound), not '\(name.dropFirst(6))'"
  }

  private static func steps(for quality: Double) -> (rms: Double, octaves: Double) {
    // ln 2 / 2: relative change of √v for an octave of v.
    let halfOctave = 0.34657359027997264
    let octaves = min(1, quality * 6.0.squareRoot() / halfOctave)
    let second = octaves * halfOctave
    return ((12 * quality * quality - second * second).squareRoot(), octaves)
  }
}
