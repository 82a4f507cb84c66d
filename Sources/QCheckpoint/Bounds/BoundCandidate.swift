import QCodec
import Synchronization

/// A way to store a tensor, or one of a pair, that is to keep a bound.
struct BoundCandidate: Sendable {
  let scheme: Scheme
  /// The scale of `tensor` scaling; nil for what the rule makes.
  var scale: Float?

  /// Neighbouring entries are as far apart as an absolute bound lets them be.
  ///
  /// The guarantee of the codes then is the bound itself: 2^-13 covers what ErrorBounds.md adds to half a step, and the
  /// rounding of entries and thresholds, of which an unsigned map of 8 bits has the most.
  static func linear(
    _ bits: Int, signed: Bool, bound: Double, dtype: DType, domain: Scheme.Domain = .value
  ) -> BoundCandidate? {
    let scheme = Scheme(map: .linear, bits: bits, signed: signed, scaling: .tensor, domain: domain)
    let wanted = withCodecEnvironment { Float(Double(scheme.linearSteps) * (2 * bound / (1 + 0x1p-13))) }
    guard wanted >= .leastNormalMagnitude, wanted.isFinite || domain == .value else { return nil }
    // Scales of the update domain have no low bits; cut off, they stay below what was wanted.
    let scale =
      domain == .update
      ? Float(bitPattern: wanted.bitPattern & ~0xFF) : min(wanted.nextDown, dtype.greatestFinite)
    return BoundCandidate(scheme: scheme, scale: scale)
  }

  /// Neighbouring entries have the ratio that a relative bound admits; one is zero.
  static func geometric(
    _ bits: Int, signed: Bool, bound: Double, scaling: Scheme.Scaling, _ tables: BoundTables
  ) -> BoundCandidate? {
    guard let table = tables.table(bits: bits, signed: signed, bound: bound) else { return nil }
    return BoundCandidate(
      scheme: Scheme(map: .custom, bits: bits, signed: signed, scaling: scaling, customTable: table))
  }

  static var log: BoundCandidate {
    BoundCandidate(scheme: Scheme(map: .log, bits: 8, signed: false, scaling: .block(512)))
  }

  /// What is tried for a tensor whose elements keep a bound each.
  static func all(
    for bound: ElementBound, signed: Bool, dtype: DType, _ tables: BoundTables
  ) -> [BoundCandidate] {
    let all: [BoundCandidate?]
    switch bound {
    case .absolute(let value):
      // Those between eight and four pay where no entropy coder follows.
      all = [8, 6, 5, 4].map { linear($0, signed: signed, bound: value, dtype: dtype) }
    case .relative(let value):
      let scalings: [(Int, Scheme.Scaling)] = [(8, .tensor), (8, .block(256)), (4, .tensor), (4, .block(128))]
      all =
        scalings.map { geometric($0.0, signed: signed, bound: value, scaling: $0.1, tables) } + (signed ? [] : [log])
    }
    return all.compactMap(\.self)
  }

  /// The encoder of elements whose largest magnitude is `greatest`; throws as `ChunkEncoder` does.
  func encoder(
    dtype: DType, shape: [UInt64], name: String, greatest: Float
  ) throws(QCodecError) -> ChunkEncoder {
    var scheme = scheme
    scheme.hasEscapes = true
    let layout = try TensorLayout(dtype: dtype, shape: shape, scheme: scheme)
    let scales = layout.scaleCount == 1 ? [scale ?? greatest] : []
    return try ChunkEncoder(layout: layout, name: name, scales: scales)
  }
}

/// Two of them, for a pair in the update domain.
struct BoundPairCandidate: Sendable {
  let first: BoundCandidate
  let second: BoundCandidate
  let bound: UpdateBound

  /// What is tried for a pair whose updates have a root mean square.
  ///
  /// - Parameter isEntropyCoded: whether the lossless stage makes of eight bits what their entropy is; four are not
  ///   tried then.
  static func all(
    limit: Double, rms: Double, epsilon: Double, dtype: DType, isEntropyCoded: Bool, _ tables: BoundTables
  ) -> [BoundPairCandidate] {
    let bound = UpdateBound(limit: limit, epsilon: epsilon, secondShare: 0.75)
    var all: [BoundPairCandidate] = []
    // The part of the limit that v takes where an update is of the size of most, and what m may then take.
    for (share, rest) in [(0.1, 0.9), (0.2, 0.85), (0.2, 0.7), (0.4, 0.75), (0.4, 0.55), (0.8, 0.5)] {
      // Of few values, so that tensors share tables.
      let ofV = withCodecEnvironment { rounded(min(0.95, 2 * share * limit / max(rms, limit / 4))) }
      for bits in isEntropyCoded ? [(8, 8)] : [(8, 8), (4, 8), (4, 4)] {
        guard
          let first = BoundCandidate.linear(
            bits.0, signed: true, bound: limit * rest, dtype: dtype, domain: .update),
          let second = BoundCandidate.geometric(bits.1, signed: false, bound: ofV, scaling: .tensor, tables)
        else { continue }
        all.append(BoundPairCandidate(first: first, second: second, bound: bound))
      }
      let wide = BoundCandidate.linear(8, signed: true, bound: limit * rest, dtype: dtype, domain: .update)
      if !isEntropyCoded, let first = wide {
        all.append(BoundPairCandidate(first: first, second: .log, bound: bound))
      }
    }
    return all
  }

  /// A positive number cut to a quarter of its binade.
  private static func rounded(_ value: Double) -> Double {
    (value.significand * 4).rounded(.down) / 4 * Double(sign: .plus, exponent: value.exponent, significand: 1)
  }
}

/// Tables of relative bounds, each made once: tensors of a checkpoint ask for the same few.
final class BoundTables: Sendable {
  private struct Key: Hashable {
    let bits: Int
    let signed: Bool
    let bound: Double
  }

  private let tables = Mutex<[Key: MapTable?]>([:])

  /// The table whose nearest entry is within `bound` of everything in its range, relative to it; nil where float32 has none.
  func table(bits: Int, signed: Bool, bound: Double) -> MapTable? {
    let key = Key(bits: bits, signed: signed, bound: bound)
    if let found = tables.withLock({ $0[key] }) { return found }
    let made = Self.make(bits: bits, signed: signed, bound: bound)
    tables.withLock { $0[key] = .some(made) }
    return made
  }

  private static func make(bits: Int, signed: Bool, bound: Double) -> MapTable? {
    let size = 1 << bits
    let entries = withCodecEnvironment {
      // What is rounded, entry, threshold and product, is some 2^-23 of itself.
      let own = bound - 0x1p-21
      let factor = (1 - own) / (1 + own)
      var magnitudes: [Double] = []
      var next = 1.0
      while own > 0, magnitudes.count < (signed ? size / 2 - 1 : size - 1), next > 0x1p-100 {
        magnitudes.append(next)
        next *= factor
      }
      let positive = magnitudes.reversed().map { Float($0) }
      return (signed ? magnitudes.map { -Float($0) } : []) + [0] + positive
    }
    let padded = entries + [Float](repeating: 1, count: size - entries.count)
    guard entries.count > 2 else { return nil }
    return (try? MapTable(custom: padded, signed: signed, scaleRule: .absmax))?.ready
  }
}
