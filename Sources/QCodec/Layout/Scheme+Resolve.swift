extension Scheme {
  /// The default block of a width, which row, column and rank1 fall back to: 256 for 8 bits, 128 for fewer.
  public static func defaultBlock(bits: Int) -> Int { bits == 8 ? 256 : 128 }

  /// The default block of a map: that of its width, twice as much for `log`, whose blocks store two floats.
  public static func defaultBlock(map: Map, bits: Int) -> Int { defaultBlock(bits: bits) * (map == .log ? 2 : 1) }

  /// The table that codes of this scheme index, nil for `log`; throws `unsupportedScheme` where there is none.
  func resolvedTable() throws(QCodecError) -> MapTable? {
    if map == .log {
      guard Self.widths.contains(bits) else { throw QCodecError(.unsupportedScheme, "codes of \(bits) bits") }
      return nil
    }
    guard map == .custom else { return try .named(map, bits: bits, signed: signed) }
    guard let table = customTable else { throw QCodecError(.unsupportedScheme, "a custom map needs a table") }
    guard table.bits == bits, table.signed == signed else {
      throw QCodecError(.unsupportedScheme, "the custom table is not one of \(bits) bits and the scheme's signedness")
    }
    return table
  }

  /// The scheme that a tensor of this shape really gets: fallbacks taken, contradictions refused.
  func resolved(shape: [UInt64], elementCount: UInt64) throws(QCodecError) -> Scheme {
    if domain == .update, !signed || customTable?.isImport == true {
      throw QCodecError(.unsupportedScheme, "the update domain takes signed maps to encode with")
    }
    if map == .log { try checkLog() }
    guard rounding == .stochastic || seed == 0 else {
      throw QCodecError(.unsupportedScheme, "a seed belongs to stochastic rounding alone")
    }
    // A bound needs |x| ≤ |scale| (Spec/ErrorBounds.md), which an unknown rule does not promise.
    guard scaleRule != .unknown || rounding == .unknown else {
      throw QCodecError(.unsupportedScheme, "an unknown scale rule goes with unknown rounding alone")
    }
    guard !hasEscapes || rounding != .unknown else {
      throw QCodecError(.unsupportedScheme, "escapes go with a known rounding, not with imports")
    }
    if map != .custom, customTable != nil {
      throw QCodecError(.unsupportedScheme, "a named map takes no table of its own")
    }
    var result = self
    result.scaling = try resolvedScaling(shape: shape.span, elementCount: elementCount)
    // Row-and-column maxima are magnitudes.
    if result.scaling == .rank1, scaleRule == .signedExtreme { result.scaleRule = .absmax }
    if result.scaleRule == .signedExtreme, map != .custom, map.scaleRule(signed: signed) != .signedExtreme {
      throw QCodecError(.unsupportedScheme, "the \(map.name) map holds −1 or no sign: its scale is the absmax")
    }
    if rounding == .nearestKeepNonzero, signed, customTable?.entries.first == 0 {
      throw QCodecError(.unsupportedScheme, "keep-nonzero needs a negative entry beside the zero of a signed table")
    }
    return result
  }

  private func checkLog() throws(QCodecError) {
    guard case .block = scaling else {
      throw QCodecError(.unsupportedScheme, "the log map has blocks, not \(scaling.name) scaling")
    }
    guard !signed, rounding == .nearest || rounding == .stochastic, scaleRule == .absmax else {
      throw QCodecError(
        .unsupportedScheme, "the log map is unsigned, rounds to nearest or stochastically, and makes no scales")
    }
  }

  /// The scaling that a tensor of this shape really gets; throws `unsupportedScheme` for a block that cannot be.
  package func resolvedScaling(shape: Span<UInt64>, elementCount: UInt64) throws(QCodecError) -> Scaling {
    switch scaling {
    case .tensor: return .tensor
    case .block(let size):
      guard size & (size - 1) == 0, (32...65_536).contains(size) else {
        throw QCodecError(.unsupportedScheme, "a block is a power of two from 32 to 65,536, not \(size)")
      }
      return scaling
    case .row, .column:
      return shape.count < 2 ? .block(Self.defaultBlock(bits: bits)) : scaling
    case .rank1:
      var (axes, maxima) = (0, UInt64(0))
      for index in shape.indices where shape[index] != 1 {
        axes += 1
        // Saturates: beside a length of 0 the others may be anything.
        maxima = shape[index] > .max - maxima ? .max : maxima + shape[index]
      }
      return axes < 2 || maxima > elementCount / 32 ? .block(128) : .rank1
    }
  }
}
