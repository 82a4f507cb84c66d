import QVerify

/// How verifying a file ended.
public enum Verdict: Sendable {
  /// Every byte and every guarantee was checked, and every element where there was an original.
  case verified(VerificationReport, compared: Bool)
  /// Bytes are damaged; one line for each defect.
  case damaged([String])

  /// Whether all is as it should be.
  public var ok: Bool {
    switch self {
    case .verified(let report, _): report.ok
    case .damaged: false
    }
  }
}
