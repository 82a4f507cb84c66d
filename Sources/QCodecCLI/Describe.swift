import QCheckpoint
import QCodec
import QReport
import QVerify

/// Shapes and schemes for people.
enum Describe {
  /// "1024x768", "scalar".
  static func shape(_ shape: [UInt64]) -> String {
    shape.isEmpty ? "scalar" : shape.map(String.init).joined(separator: "x")
  }

  /// "dynamic s8 block256", "linear-nozero u4 rank1".
  static func scheme(_ scheme: Scheme) -> String {
    var scaling = scheme.scaling.name
    if case .block(let size) = scheme.scaling { scaling += String(size) }
    var text = "\(scheme.map.name) \(scheme.signed ? "s" : "u")\(scheme.bits) \(scaling)"
    if scheme.domain != .value { text += " \(scheme.domain.name)" }
    if scheme.rounding != .nearest { text += " \(scheme.rounding.name)" }
    return text
  }

  /// A scheme, or lossless with its reason.
  static func stored(_ scheme: Scheme?, _ reason: FallbackReason) -> String {
    if let scheme { return self.scheme(scheme) + (reason.name.map { " (\($0))" } ?? "") }
    return reason.name.map { "lossless (\($0))" } ?? "lossless"
  }

  /// What an encoding would make of a tensor, fallbacks by shape taken.
  static func encoding(_ encoding: Encoding, dtype: DType, shape: [UInt64]) -> String {
    switch encoding {
    case .lossless(let reason): stored(nil, reason)
    case .quantized(let scheme, let reason):
      stored((try? TensorLayout(dtype: dtype, shape: shape, scheme: scheme))?.scheme ?? scheme, reason)
    }
  }

  /// What coding did to the update, in a line.
  static func update(_ error: UpdateError, pairs: Int) -> String {
    "update m/(√v + \(error.epsilon)) of \(pairs) pair\(pairs == 1 ? "" : "s") of moments: relative L2 error "
      + "\(Decimal.scientific(error.relativeL2Error)), largest \(Decimal.scientific(error.maxAbsError)); "
      + "\(error.zeroedSecondMoments) second moments became zero, \(error.signChanges) first moments changed sign"
  }

  /// How many violations there are, and the first.
  static func violations(_ first: VerificationReport.Violation, of count: UInt64) -> String {
    "\(count) violation\(count == 1 ? "" : "s"); the first: \(first.text)"
  }
}
