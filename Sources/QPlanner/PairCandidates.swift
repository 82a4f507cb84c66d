import QCheckpoint
import QCodec

/// The ways to store a pair that are measured on all of it: those of the catalogue, and those that a sample speaks for.
struct PairCandidates {
  let unit: PlanUnit
  let options: Planner.Options

  /// Elements that are tried, as so many parts of the tensor.
  private static let sampleElements = 65_536
  private static let sampleParts = 4
  /// The largest block of a way.
  private static let alignment = 8192

  /// Throws as sources do.
  func all() throws(QCodecError) -> [PlanCandidate] {
    let always = PlanCandidate.catalogue(of: unit)
    guard unit.isPair, unit.isQuantizable else { return always }
    let moments = try unit.moments(sample)
    let screening = Screening(
      unit: unit, firsts: PlanCandidate.firsts + tables(moments), seconds: PlanCandidate.seconds, options: options)
    let chosen = try screening.chosen(moments)
    return always + chosen.filter { !always.contains($0) }
  }

  /// All of a small tensor, else some evenly spaced parts.
  private var sample: [Range<Int>] {
    guard unit.elements > Self.sampleElements else { return [0..<unit.elements] }
    let size = Self.sampleElements / Self.sampleParts
    return (0..<Self.sampleParts).map { part in
      let start = (unit.elements - size) * part / (Self.sampleParts - 1) / Self.alignment * Self.alignment
      return start..<start + size
    }
  }

  /// First moments under tables of their own: float types, and what is fitted to them at each width.
  private func tables(_ moments: ChunkMoments) -> [Scheme] {
    let floats = FloatTables.all.flatMap { table in
      (table.bits == 8 ? [256] : [64, 128]).map { scheme(table, $0) }
    }
    let fitted = [64, 128, 256].flatMap { block -> [Scheme] in
      guard let fit = FittedTables(samples(moments, block: block)) else { return [] }
      let tables = Scheme.widths.flatMap { bits in [fit.lloydMax(bits: bits), fit.quantiles(bits: bits)] }
      return tables.compactMap(\.self).map { scheme($0, block) }
    }
    return floats + fitted
  }

  private func scheme(_ table: MapTable, _ block: Int) -> Scheme {
    Scheme(
      map: .custom, bits: table.bits, signed: true, scaling: .block(block), domain: .update, customTable: table)
  }

  /// First moments in the update domain over their blocks' extremes, and the squares of these.
  private func samples(_ moments: ChunkMoments, block: Int) -> [(value: Float, weight: Double)] {
    guard let first = unit.first, let second = unit.second else { return [] }
    let quotients = zip(moments.m.floats(first.dtype), moments.v.floats(second.dtype)).map { m, v in
      v > 0 ? m / v.squareRoot() : m
    }
    return stride(from: 0, to: quotients.count, by: block).flatMap { start -> [(value: Float, weight: Double)] in
      let own = quotients[start..<min(quotients.count, start + block)]
      guard let extreme = own.max(by: { $0.magnitude < $1.magnitude }), extreme != 0, extreme.isFinite else {
        return []
      }
      let weight = Double(extreme) * Double(extreme)
      return own.map { ($0 / extreme, weight) }
    }
  }
}
