import QCodec

/// The error that every element of a checkpoint's tensors is to keep, as it was asked for.
public struct RequestedBound: Sendable, Hashable {
  /// What is bounded.
  public enum Kind: String, Sendable, CaseIterable {
    /// |x − x̂|.
    case absolute
    /// |x − x̂| / |x|; zero stays zero.
    case relative
    /// |u − û|, u the update m/(√v + ε) of a pair of moments.
    case update
  }

  /// What is bounded.
  public var kind: Kind
  /// The bound, above 0.
  public var value: Double
  /// Whether the bound is in units of the tensor's own root mean square, for `update` of that of the pair's updates.
  public var isOfRMS: Bool
  /// ε of the update.
  public var epsilon: Double

  /// Creates a bound; throws `invalidArgument` for one that no encoding can be held to: what is not finite or not above
  /// 0, a relative one of 1 or more, or one in units of a root mean square.
  public init(
    _ kind: Kind, _ value: Double, isOfRMS: Bool = false, epsilon: Double = 1e-8
  ) throws(QCodecError) {
    func refuse(_ message: String) -> QCodecError { QCodecError(.invalidArgument, message) }
    guard value > 0, value.isFinite else { throw refuse("a bound of \(value), where one above 0 is wanted") }
    guard kind != .relative || !isOfRMS else {
      throw refuse("a bound relative to the root mean square is an absolute one: ask for that")
    }
    guard kind != .relative || value < 1 else { throw refuse("a relative bound is below 1, not \(value)") }
    guard epsilon >= 0, epsilon.isFinite else { throw refuse("ε is 0 or more, not \(epsilon)") }
    (self.kind, self.value, self.isOfRMS, self.epsilon) = (kind, value, isOfRMS, epsilon)
  }

  /// The preset whose roles and pairs a file with the bound has; schemes follow from the bound.
  public var presetName: String { kind == .update ? Policy.defaultName : "lossless" }

  /// The member of the metadata that tells the bound of a file.
  public static let member = "error_bound"

  /// The bound as the metadata hold it.
  public var json: JSONValue {
    var members: [String: JSONValue] = [
      "kind": .string(kind.rawValue), "value": .number(value), "unit": .string(isOfRMS ? "rms" : "one"),
    ]
    if kind == .update { members["eps"] = .number(epsilon) }
    return .object(members)
  }

  /// Reads a bound; throws `invalidJSON` for what is none.
  public init(json: JSONValue) throws(QCodecError) {
    var fields = try JSONFields(json, place: Self.member, code: .invalidJSON)
    guard let kind = try fields.name("kind", of: Kind.allCases, \.rawValue) else {
      throw fields.refuse("kind", "is missing")
    }
    guard let value = fields.value("value")?.doubleValue else { throw fields.refuse("value", "is to be a number") }
    let unit = try fields.name("unit", of: ["one", "rms"], \.self) ?? "one"
    let epsilon = fields.value("eps")?.doubleValue ?? 1e-8
    try fields.finish()
    do throws(QCodecError) { self = try RequestedBound(kind, value, isOfRMS: unit == "rms", epsilon: epsilon) } catch {
      throw QCodecError(.invalidJSON, "\(Self.member): \(error.message)")
    }
  }
}

extension CheckpointReader {
  /// The bound that every element of the file was to keep, as its metadata tell; nil where none was asked for.
  ///
  /// Throws `metadataCorrupt` for a member that is no bound, and as `metadata()`.
  public func requestedBound() throws(QCodecError) -> RequestedBound? {
    guard let member = try metadata()[RequestedBound.member] else { return nil }
    do throws(QCodecError) { return try RequestedBound(json: member) } catch {
      throw QCodecError(.metadataCorrupt, error.message, offset: trailer.metadataOffset)
    }
  }
}
