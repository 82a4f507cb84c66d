/// Size against the error of the update: this file, what else the state could be stored as, and a front of the best.
///
/// Whoever plans schemes hands in points and front of its own; without it the presets are the points.
public struct TradeOff: Sendable, Equatable {
  /// One way to store the state.
  public struct Point: Sendable, Equatable {
    /// What a point stands for.
    public enum Kind: Sendable { case file, preset, plan }

    /// What it is called.
    public var name: String
    /// What it stands for.
    public var kind: Kind
    /// Bits that both moments of a parameter take.
    public var bitsPerParameter: Double
    /// √(Σ (u − û)² / Σ u²) over all updates u = m / (√v + ε).
    public var updateError: Double
    /// max |u − û|.
    public var maxUpdateError: Double

    /// A way to store the state.
    public init(
      name: String, kind: Kind, bitsPerParameter: Double, updateError: Double, maxUpdateError: Double
    ) {
      self.name = name
      self.kind = kind
      self.bitsPerParameter = bitsPerParameter
      self.updateError = updateError
      self.maxUpdateError = maxUpdateError
    }
  }

  /// What the figures were measured on.
  public struct Sample: Sendable, Equatable {
    /// Pairs that were measured.
    public var pairs: Int
    /// Pairs that could be.
    public var allPairs: Int
    /// Parameters that were measured.
    public var parameters: UInt64
    /// Those of all pairs.
    public var allParameters: UInt64

    /// A part of a state, or the whole.
    public init(pairs: Int, allPairs: Int, parameters: UInt64, allParameters: UInt64) {
      self.pairs = pairs
      self.allPairs = allPairs
      self.parameters = parameters
      self.allParameters = allParameters
    }

    /// Whether nothing was left out.
    public var isWhole: Bool { parameters == allParameters }
  }

  /// The ways, this file's among them.
  public var points: [Point]
  /// Ways than which none is both smaller and closer, by size; empty where no plan gave them.
  public var front: [Point]
  /// nil for the whole state.
  public var sample: Sample?

  /// A comparison.
  public init(points: [Point], front: [Point] = [], sample: Sample? = nil) {
    self.points = points
    self.front = front
    self.sample = sample
  }
}
