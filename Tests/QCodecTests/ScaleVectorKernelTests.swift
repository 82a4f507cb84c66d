import CQCodecKernels
import Testing

@testable import QCodec

/// Scale vectors by kernels: the first pass, its parts merged, and codes under scales formed from rows and columns.
@Suite("Scale vectors by kernels")
struct ScaleVectorKernelTests {
  static let levels = KernelEquivalenceTests.levels

  /// Schemes whose vectors differ in kind: magnitudes and signed extremes, in both domains.
  private static let schemes: [Scheme] = [Scheme.Scaling.tensor, .row, .column, .rank1].flatMap { scaling in
    [
      Scheme(map: .dynamic, bits: 8, signed: true, scaling: scaling),
      Scheme(map: .linearNoZero, bits: 4, signed: false, scaling: scaling),
      Scheme(map: .dynamic, bits: 4, signed: true, scaling: scaling, domain: .update),
    ]
  }

  /// Many magnitudes, each often with both signs, so that the first among equals matters.
  private func values(_ count: Int, signed: Bool, seed: UInt64) -> [Float] {
    var random = SeededGenerator(seed: seed)
    return (0..<count).map { _ in
      let bits = random.next()
      let value = Float(bits >> 8 % 61) * (bits % 97 == 0 ? 1 : 0x1p-4)
      return signed && bits & 128 != 0 ? -value : value
    }
  }

  @Test("A pass, and passes over parts that are merged, find what the reference finds", arguments: levels)
  func passes(_ level: KernelLevel) throws {
    for (dtype, shape) in [
      (DType.f32, [300, 1000] as [UInt64]), (.bf16, [300, 1000]), (.f16, [301, 999]), (.f32, [150, 32, 3, 19]),
      (.f32, [2, 3, 45_001]), (.f32, [270_001, 1]),
    ] {
      let elements = Int(shape.reduce(1, *))
      let signed = try Narrow.bytes(values(elements, signed: true, seed: 1), dtype: dtype)
      let unsigned = try Narrow.bytes(values(elements, signed: false, seed: 2), dtype: dtype)
      for scheme in Self.schemes {
        let layout = try TensorLayout(dtype: dtype, shape: shape, scheme: scheme)
        guard ScalePass.isNeeded(for: layout) else { continue }
        let count = Int(layout.elementCount)
        let x = scheme.signed ? signed : unsigned
        let divisors: [Float] = scheme.domain == .update ? (0..<count).map { Float($0 % 7) * 0.3 + 0.1 } : []
        let expected = try pass(layout, x, divisors, 0..<layout.codeChunkCount, .scalar).finish()
        let place: Comment = "\(scheme) \(dtype.name) \(shape)"
        let whole = try pass(layout, x, divisors, 0..<layout.codeChunkCount, level)
        #expect(whole.finish().map(\.bitPattern) == expected.map(\.bitPattern), place)
        for split in 0..<layout.codeChunkCount {
          let first = try pass(layout, x, divisors, 0..<split, level)
          first.merge(try pass(layout, x, divisors, split..<layout.codeChunkCount, level))
          #expect(first.finish().map(\.bitPattern) == expected.map(\.bitPattern), place)
        }
      }
    }
  }

  private func pass(
    _ layout: TensorLayout, _ x: [UInt8], _ divisors: [Float], _ chunks: Range<Int>, _ level: KernelLevel
  ) throws -> ScalePass {
    let pass = ScalePass(layout: layout, kernels: level)
    for chunk in chunks {
      let elements = layout.elements(ofChunk: chunk)
      let range = Int(elements.lowerBound)..<Int(elements.upperBound)
      let size = layout.elementSize
      try unsafe x.withUnsafeBytes { bytes in
        try unsafe pass.accumulate(
          chunk: chunk, source: .init(rebasing: bytes[range.lowerBound * size..<range.upperBound * size]),
          divisors: divisors.isEmpty ? [] : Array(divisors[range]))
      }
    }
    return pass
  }

  // MARK: Codes

  /// Scales from the least to the greatest, on both sides of where inverses stop to serve.
  private static let scales: [Float] = [
    .leastNonzeroMagnitude, Float(bitPattern: 3), Float(bitPattern: 0x9_1A2B), .leastNormalMagnitude, 0x1p-118,
    Float(0x1p-118).nextDown, 0x1.fffffep-119, 1e-20, 0x1.fffffep-1, 1, 1.1, 0x1.555556p3, 1e20, 0x1p120,
    0x1.fffffep126,
    .greatestFiniteMagnitude,
    0,
  ]

  /// A matrix each of whose rows (or columns) has one scale and values at the thresholds and their neighbours under it.
  private func thresholds(of scheme: Scheme, side: Int, byRow: Bool) throws -> [Float] {
    let thresholds = try #require(try scheme.resolvedTable()).thresholds
    var x = [Float](repeating: 0, count: side * side)
    for line in 0..<side {
      for i in 0..<side {
        let scale = Self.scales[line % Self.scales.count]
        // Beside line 0, whose values are the greatest, each line begins with its scale.
        var value: Float = line == 0 ? .greatestFiniteMagnitude : scale
        if line > 0, i > 0 {
          let number = (line / Self.scales.count) * side + i
          value = thresholds[number / 5 % thresholds.count] * scale
          for _ in 0..<abs(number % 5 - 2) { value = number % 5 < 2 ? value.nextDown : value.nextUp }
          if value.magnitude > scale { value = scale }
          if !scheme.signed, value < 0 { value = 0 }
        }
        x[byRow ? line * side + i : i * side + line] = value
      }
    }
    return x
  }

  @Test("Codes at every threshold are the reference's, with and without statistics", arguments: levels)
  func codes(_ level: KernelLevel) throws {
    for (map, bits, signed) in [
      (Scheme.Map.linearNoZero, 4, false), (.linear, 4, true), (.linear, 4, false), (.linearNoZero, 8, false),
      (.linear, 8, true), (.linear, 8, false), (.normal, 4, true), (.dynamic, 8, false),
    ] {
      let scheme = Scheme(map: map, bits: bits, signed: signed, scaling: .rank1)
      for (side, byRow) in [(300, true), (300, false), (301, true)] {
        let x = try thresholds(of: scheme, side: side, byRow: byRow)
        let layout = try TensorLayout(dtype: .f32, shape: [UInt64(side), UInt64(side)], scheme: scheme)
        #expect(layout.scheme.scaling == .rank1)
        let place: Comment = "\(scheme) side \(side) by row \(byRow)"
        let bytes = try Narrow.bytes(x, dtype: .f32)
        let scales = try pass(layout, bytes, [], 0..<1, level).finish()
        let expected = try payload(layout, bytes, scales, .scalar)
        #expect(try payload(layout, bytes, scales, level) == expected, place)
        let table = try #require(layout.table).kernelTable
        let vector = try #require(KernelScales(layout, vector: scales, table: table, level: level.rawValue))
        // Parts begin anywhere in a row, on a byte.
        for start in [0, 2, 64, side * 8, side * 8 + 6] {
          let count = x.count - start
          var codes = [UInt8](repeating: 0xAA, count: count * bits / 8 + 1)
          let found = unsafe x.withUnsafeBufferPointer { x in
            unsafe vector.with(from: UInt64(start), count: count) { rows in
              unsafe qcodec_encode_scaled(
                level.rawValue, table.pointer, x.baseAddress! + start, count, rows, 0, &codes, nil)
            }
          }
          #expect(found & Int32(qcodec_found_nonfinite) == 0)
          let length = (count * bits + 7) / 8
          #expect(codes[..<length] == expected[(start * bits / 8)...], place)
        }
      }
    }
  }

  private func payload(
    _ layout: TensorLayout, _ bytes: [UInt8], _ scales: [Float], _ level: KernelLevel
  ) throws -> [UInt8] {
    let encoder = try ChunkEncoder(layout: layout, name: "t", scales: scales, kernels: level)
    var payload = [UInt8](repeating: 0, count: layout.payloadByteCount(ofChunk: 0))
    _ = try unsafe bytes.withUnsafeBytes { source in
      try unsafe payload.withUnsafeMutableBytes { try unsafe encoder.encode(chunk: 0, source: source, into: $0) }
    }
    return payload
  }

  @Test("What is not finite, or negative, is found wherever it stands", arguments: levels)
  func offenders(_ level: KernelLevel) throws {
    let scheme = Scheme(map: .linearNoZero, bits: 4, signed: false, scaling: .rank1)
    let layout = try TensorLayout(dtype: .f32, shape: [80, 300], scheme: scheme)
    let scales = [Float](repeating: 2, count: layout.scaleCount)
    for at in [0, 1, 299, 300, 8 * 300 + 63, 79 * 300 + 299] {
      for value in [Float.nan, -.nan, .infinity, -.infinity, -1] {
        var x = [Float](repeating: 1, count: 80 * 300)
        x[at] = value
        let bytes = try Narrow.bytes(x, dtype: .f32)
        let errors = try [KernelLevel.scalar, level].map { level in
          let encoder = try ChunkEncoder(layout: layout, name: "t", scales: scales, kernels: level)
          return failure { () throws(QCodecError) in
            var payload = [UInt8](repeating: 0, count: layout.payloadByteCount(ofChunk: 0))
            _ = try unsafe bytes.withBytes { source throws(QCodecError) in
              try unsafe payload.withMutableBytes { payload throws(QCodecError) in
                try unsafe encoder.encode(chunk: 0, source: source, into: payload)
              }
            }
          }
        }
        // NaN differs from itself: messages are compared by what they say.
        #expect(errors[0]?.index == UInt64(at) && errors[1]?.description == errors[0]?.description)
      }
    }
  }
}
