/// How a tensor is quantized: map, bits, signedness, scaling, domain, rounding and scale rule.
public struct Scheme: Sendable, Hashable {
  /// The named quantization maps; the raw value is the code that files store.
  public enum Map: UInt8, Sendable, CaseIterable {
    case dynamic = 1
    case linear = 2
    case linearNoZero = 3
    case dynamicNoZero = 4
    case normal = 5
    case custom = 6
    /// Codes evenly spaced in the bit pattern of the float, between a block's least and greatest non-zero value.
    case log = 7
    /// Denser around 0 than at the ends; fitted to Adam updates.
    case cubic = 8

    /// The name in policies, specs and JSON.
    public var name: String {
      switch self {
      case .dynamic: "dynamic"
      case .linear: "linear"
      case .linearNoZero: "linear-nozero"
      case .dynamicNoZero: "dynamic-nozero"
      case .normal: "normal"
      case .custom: "custom"
      case .log: "log"
      case .cubic: "cubic"
      }
    }
  }

  /// How scales are laid out over a tensor.
  public enum Scaling: Sendable, Hashable {
    case tensor
    /// Consecutive elements in C order share a scale; the size is a power of two, 32 to 65,536.
    case block(Int)
    case row
    case column
    /// One vector of maxima an axis; an element's scale is the least of its axes' maxima.
    case rank1

    /// The name in policies, specs and JSON.
    public var name: String {
      switch self {
      case .tensor: "tensor"
      case .block: "block"
      case .row: "row"
      case .column: "column"
      case .rank1: "rank1"
      }
    }
  }

  /// What the codes describe; the raw value is the code that files store.
  public enum Domain: UInt8, Sendable {
    case value = 0
    /// A first moment divided by the root of its decoded second moment.
    case update = 1

    /// The name in policies, specs and JSON.
    public var name: String { self == .value ? "value" : "update" }
  }

  /// How a code is chosen; the raw value is the code that files store.
  public enum Rounding: UInt8, Sendable {
    case nearest = 1
    /// As nearest, but a non-zero element never takes a zero code.
    case nearestKeepNonzero = 2
    case stochastic = 3
    /// An import: nothing is known of the encoder, so nothing is guaranteed.
    case unknown = 4

    /// The name in policies, specs and JSON.
    public var name: String {
      switch self {
      case .nearest: "nearest"
      case .nearestKeepNonzero: "nearest-keep-nonzero"
      case .stochastic: "stochastic"
      case .unknown: "unknown"
      }
    }
  }

  /// How a scale follows from its elements; the raw value is the code that files store.
  public enum ScaleRule: UInt8, Sendable {
    /// The element of largest magnitude with its sign, the first among equals.
    case signedExtreme = 1
    /// The largest magnitude.
    case absmax = 2
    /// An import.
    case unknown = 3

    /// The name in policies, specs and JSON.
    public var name: String {
      switch self {
      case .signedExtreme: "signed-extreme"
      case .absmax: "absmax"
      case .unknown: "unknown"
      }
    }
  }

  /// The widths of codes, in bits.
  public static let widths = [2, 3, 4, 5, 6, 8]

  /// The quantization map.
  public var map: Map
  /// Bits a code: one of `widths`.
  public var bits: Int
  /// Whether values of both signs are held.
  public var signed: Bool
  /// How scales are laid out.
  public var scaling: Scaling
  /// What the codes describe.
  public var domain: Domain
  /// How a code is chosen.
  public var rounding: Rounding
  /// The seed of stochastic rounding; 0 otherwise.
  public var seed: UInt64
  /// How a scale follows from its elements.
  public var scaleRule: ScaleRule
  /// The table of a custom map; nil for named maps.
  public var customTable: MapTable?
  /// Whether chunks in a file hold values of elements beside their codes (Spec/Stream.md, *Escapes*).
  ///
  /// Writers set it for tensors whose every element is to keep a bound; streams in memory have no escapes.
  public var hasEscapes = false

  /// Creates a scheme; `scaleRule` nil takes the map's own rule, that of a custom table being what it states.
  public init(
    map: Map, bits: Int, signed: Bool, scaling: Scaling, domain: Domain = .value, rounding: Rounding = .nearest,
    seed: UInt64 = 0, scaleRule: ScaleRule? = nil, customTable: MapTable? = nil
  ) {
    self.map = map
    self.bits = bits
    self.signed = signed
    self.scaling = scaling
    self.domain = domain
    self.rounding = rounding
    self.seed = seed
    self.scaleRule = scaleRule ?? customTable?.scaleRule ?? map.scaleRule(signed: signed)
    self.customTable = customTable
  }
}

extension Scheme.Map {
  /// The rule of a named map: the signed extreme where a signed table holds +1 and not −1, so that the extreme has an
  /// entry of its own whatever its sign; else absmax.
  public func scaleRule(signed: Bool) -> Scheme.ScaleRule {
    signed && (self == .dynamic || self == .cubic) ? .signedExtreme : .absmax
  }
}
