import QCheckpoint
import QCodec

extension Scheme {
  /// "cubic, signed 8 bits, blocks of 256, update domain".
  public var label: String {
    let scaling =
      switch scaling {
      case .tensor: "one scale"
      case .block(let size): "blocks of \(NumberText.grouped(UInt64(size)))"
      case .row: "scales by row"
      case .column: "scales by column"
      case .rank1: "scales by row and column"
      }
    var text = "\(map.name), \(signed ? "signed" : "unsigned") \(bits) bits, \(scaling)"
    if domain == .update { text += ", update domain" }
    if rounding != .nearest { text += ", \(rounding.name)" }
    return text
  }
}

extension Role {
  /// The words for people.
  var label: String {
    switch self {
    case .firstMoment: "First moments"
    case .secondMoment: "Second moments"
    case .momentum: "Momentum"
    case .masterWeight: "Master weights"
    case .parameter: "Parameters"
    case .other: "Other"
    }
  }

  /// The class of marks; the style sheet gives it a colour.
  var styleClass: String {
    switch self {
    case .firstMoment: "r1"
    case .secondMoment: "r2"
    case .momentum: "r3"
    case .masterWeight: "r4"
    case .parameter: "r5"
    case .other: "r6"
    }
  }
}

extension TensorFigures {
  /// The scheme, or that there is none.
  var schemeLabel: String { scheme?.label ?? "lossless" }
}
