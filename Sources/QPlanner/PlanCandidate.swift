import QCodec

/// One way to store a unit: a scheme for each of its tensors, nil for lossless.
public struct PlanCandidate: Sendable, Hashable {
  /// Of the first moment.
  public var first: Scheme?
  /// Of the second moment.
  public var second: Scheme?

  /// A way of two schemes.
  public init(first: Scheme? = nil, second: Scheme? = nil) {
    self.first = first
    self.second = second
  }

  /// Bits that a unit takes: codes, scales and custom tables, before the lossless stage. A lossless tensor counts in full.
  func bits(of unit: PlanUnit) throws(QCodecError) -> Int {
    var total = 0
    for (tensor, scheme) in [(unit.first, first), (unit.second, second)] {
      guard let tensor else { continue }
      guard let scheme else {
        total += unit.elements * tensor.dtype.bitWidth
        continue
      }
      total += try TensorLayout(dtype: tensor.dtype, shape: tensor.shape, scheme: scheme).streamByteCount * 8
      if let table = scheme.customTable { total += table.entries.count * 32 }
    }
    return total
  }
}

extension PlanCandidate {
  /// What is tried for every unit. Tables that are fitted to a tensor come on top.
  ///
  /// Second moments are under `log` in pairs: no other map keeps the update bounded (Spec/ErrorBounds.md). First moments are
  /// in the update domain, whose errors are those of the update, and in the value domain for comparison.
  static func catalogue(of unit: PlanUnit) -> [PlanCandidate] {
    let lossless = PlanCandidate()
    guard unit.isQuantizable else { return [lossless] }
    if unit.isPair {
      return [lossless]
        + (updates + signed(blocks: [128, 256])).flatMap { first in
          logs.map { PlanCandidate(first: first, second: $0) }
        }
    }
    if unit.first != nil {
      return [lossless] + signed(blocks: [32, 64, 128, 256, 1024]).map { PlanCandidate(first: $0) }
    }
    return [lossless] + (logs + unsigned).map { PlanCandidate(second: $0) }
  }

  /// First moments in the update domain.
  private static let updates: [Scheme] =
    [64, 256, 1024, 4096].map { block in scheme(.cubic, 8, block, .update) }
    + [32, 64, 128, 256, 1024].map { block in scheme(.cubic, 4, block, .update) }
    + [scheme(.linear, 8, 256, .update), scheme(.normal, 4, 64, .update), scheme(.linear, 4, 64, .update)]

  private static let logs: [Scheme] =
    [128, 512, 2048, 8192].map { block in scheme(.log, 8, block, signed: false) }
    + [32, 64, 128, 256, 512, 1024].map { block in scheme(.log, 4, block, signed: false) }

  private static let unsigned: [Scheme] = [
    scheme(.dynamicNoZero, 8, 256, signed: false), scheme(.linearNoZero, 8, 256, signed: false),
    scheme(.linearNoZero, 4, 128, signed: false), scheme(.dynamicNoZero, 4, 128, signed: false),
  ]

  /// In the value domain.
  private static func signed(blocks: [Int]) -> [Scheme] {
    blocks.flatMap { block in
      [
        scheme(.dynamic, 8, block), scheme(.cubic, 8, block), scheme(.dynamic, 4, block), scheme(.cubic, 4, block),
        scheme(.normal, 4, block),
      ]
    }
  }

  private static func scheme(
    _ map: Scheme.Map, _ bits: Int, _ block: Int, _ domain: Scheme.Domain = .value, signed: Bool = true
  ) -> Scheme {
    Scheme(map: map, bits: bits, signed: signed, scaling: .block(block), domain: domain)
  }
}
