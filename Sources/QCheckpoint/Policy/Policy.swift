import QCodec

/// Ordered rules that choose for each tensor whether it is quantized, and how; the first rule that matches decides.
///
/// A tensor that no rule matches is stored lossless. So is one whose rule names a scheme but whose dtype cannot be
/// quantized, or which has fewer than `minElements` elements; the checkpoint records that reason.
public struct Policy: Sendable, Hashable {
  /// What becomes of a tensor.
  public enum Action: Sendable, Hashable {
    case quantize(Scheme)
    case lossless
    /// The tensor is not stored.
    case drop
  }

  /// What a rule asks of a tensor; a condition that is nil holds always.
  public struct Match: Sendable, Hashable {
    /// The whole name.
    public var name: Glob?
    /// The roles that qualify.
    public var roles: Set<Role>?
    /// The dtypes that qualify.
    public var dtypes: Set<DType>?
    /// The fewest dimensions.
    public var minDims: Int?
    /// The most dimensions.
    public var maxDims: Int?
    /// The fewest elements.
    public var minElements: UInt64?
    /// The most elements.
    public var maxElements: UInt64?

    /// Creates conditions; without arguments they hold for every tensor.
    public init(
      name: Glob? = nil, roles: Set<Role>? = nil, dtypes: Set<DType>? = nil, minDims: Int? = nil,
      maxDims: Int? = nil, minElements: UInt64? = nil, maxElements: UInt64? = nil
    ) {
      self.name = name
      self.roles = roles
      self.dtypes = dtypes
      self.minDims = minDims
      self.maxDims = maxDims
      self.minElements = minElements
      self.maxElements = maxElements
    }

    func holds(name: String, role: Role, dtype: DType, dims: Int, elements: UInt64) -> Bool {
      if let glob = self.name, !glob.matches(name) { return false }
      if let roles, !roles.contains(role) { return false }
      if let dtypes, !dtypes.contains(dtype) { return false }
      return dims >= minDims ?? 0 && dims <= maxDims ?? .max && elements >= minElements ?? 0
        && elements <= maxElements ?? .max
    }
  }

  /// Conditions and what to do where they hold.
  public struct Rule: Sendable, Hashable {
    /// When the rule decides.
    public var match: Match
    /// What it decides.
    public var action: Action
    /// Whether a tensor with a negative element under an unsigned map is stored lossless instead of refused.
    public var negativeFallsBack: Bool

    /// Creates a rule.
    public init(match: Match, action: Action, negativeFallsBack: Bool = false) {
      self.match = match
      self.action = action
      self.negativeFallsBack = negativeFallsBack
    }
  }

  /// What a policy decides for one tensor.
  public enum Decision: Sendable, Hashable {
    case drop
    /// Store it so; `negativeFallsBack` as in `Rule`.
    case encode(Encoding, negativeFallsBack: Bool)
  }

  /// The preset's name, or what the author calls it.
  public var name: String
  /// The rules, the first that matches deciding.
  public var rules: [Rule]
  /// Tensors with fewer elements are stored lossless whatever their rule's scheme.
  public var minElements: UInt64

  /// Creates a policy.
  public init(name: String, rules: [Rule], minElements: UInt64 = 0) {
    self.name = name
    self.rules = rules
    self.minElements = minElements
  }

  /// What to do with a tensor; throws `limitExceeded` where its element count exceeds 64 bits.
  public func decide(name: String, role: Role, dtype: DType, shape: [UInt64]) throws(QCodecError) -> Decision {
    let elements: UInt64
    do throws(QCodecError) { elements = try TensorLayout.elementCount(of: shape) } catch { throw error.named(name) }
    let rule = rules.first {
      $0.match.holds(name: name, role: role, dtype: dtype, dims: shape.count, elements: elements)
    }
    switch rule?.action ?? .lossless {
    case .drop: return .drop
    case .lossless: return .encode(.lossless(reason: .none), negativeFallsBack: false)
    case .quantize(let scheme):
      guard dtype.isQuantizable else { return .encode(.lossless(reason: .dtype), negativeFallsBack: false) }
      guard elements >= minElements else { return .encode(.lossless(reason: .tooSmall), negativeFallsBack: false) }
      return .encode(.quantized(scheme), negativeFallsBack: rule?.negativeFallsBack ?? false)
    }
  }
}
