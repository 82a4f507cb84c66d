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
    /// Whether the name is that of an embedding (`isEmbedding(_:)`).
    public var isEmbedding: Bool?

    /// Creates conditions; without arguments they hold for every tensor.
    public init(
      name: Glob? = nil, roles: Set<Role>? = nil, dtypes: Set<DType>? = nil, minDims: Int? = nil,
      maxDims: Int? = nil, minElements: UInt64? = nil, maxElements: UInt64? = nil, isEmbedding: Bool? = nil
    ) {
      self.name = name
      self.roles = roles
      self.dtypes = dtypes
      self.minDims = minDims
      self.maxDims = maxDims
      self.minElements = minElements
      self.maxElements = maxElements
      self.isEmbedding = isEmbedding
    }

    func holds(name: String, role: Role, dtype: DType, dims: Int, elements: UInt64) -> Bool {
      if let glob = self.name, !glob.matches(name) { return false }
      if let roles, !roles.contains(role) { return false }
      if let dtypes, !dtypes.contains(dtype) { return false }
      if let isEmbedding, isEmbedding != Policy.isEmbedding(name) { return false }
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
    /// The scheme of the value domain for first moments that cannot be in the update domain; nil for the signed dynamic
    /// map of the same width in blocks.
    public var fallback: Scheme?
    /// The lossless stage; nil for the one that the whole checkpoint is written with.
    public var compression: Compression?

    /// Creates a rule.
    public init(
      match: Match, action: Action, negativeFallsBack: Bool = false, fallback: Scheme? = nil,
      compression: Compression? = nil
    ) {
      self.match = match
      self.action = action
      self.negativeFallsBack = negativeFallsBack
      self.fallback = fallback
      self.compression = compression
    }
  }

  /// How a policy wants one tensor to be stored.
  public struct TensorPlan: Sendable, Hashable {
    /// Quantized or lossless.
    public var encoding: Encoding
    /// As in `Rule`.
    public var negativeFallsBack = false
    /// For the update domain: the scheme of the value domain that serves where it cannot be had.
    public var fallback: Scheme?
    /// As in `Rule`.
    public var compression: Compression?

    /// The plan with its fallback, and why.
    func fallingBack(_ reason: FallbackReason) -> TensorPlan {
      var result = self
      if let fallback { result.encoding = .quantized(fallback, reason: reason) }
      return result
    }
  }

  /// What a policy decides for one tensor.
  public enum Decision: Sendable, Hashable {
    case drop
    case encode(TensorPlan)
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

  /// What to do with a tensor, its partner apart (`plan` finds it); throws `limitExceeded` where its element count exceeds 64 bits.
  public func decide(name: String, role: Role, dtype: DType, shape: [UInt64]) throws(QCodecError) -> Decision {
    try decide(name: name, role: role, dtype: dtype, shape: shape, by: RuleFinder(rules))
  }

  /// The same with the rules' finder, which is made once for many tensors.
  func decide(
    name: String, role: Role, dtype: DType, shape: [UInt64], by finder: RuleFinder
  ) throws(QCodecError) -> Decision {
    let elements: UInt64
    do throws(QCodecError) { elements = try TensorLayout.elementCount(of: shape) } catch { throw error.named(name) }
    let rule = finder.first(forName: name) {
      $0.holds(name: name, role: role, dtype: dtype, dims: shape.count, elements: elements)
    }
    var plan = TensorPlan(encoding: .lossless(reason: .none), compression: rule?.compression)
    switch rule?.action ?? .lossless {
    case .drop: return .drop
    case .lossless: return .encode(plan)
    case .quantize(let scheme):
      guard dtype.isQuantizable else {
        plan.encoding = .lossless(reason: .dtype)
        return .encode(plan)
      }
      guard elements >= minElements else {
        plan.encoding = .lossless(reason: .tooSmall)
        return .encode(plan)
      }
      plan.encoding = .quantized(scheme)
      plan.negativeFallsBack = rule?.negativeFallsBack ?? false
      if scheme.domain == .update { plan.fallback = rule?.fallback ?? scheme.updateFallback }
      return .encode(plan)
    }
  }
}
