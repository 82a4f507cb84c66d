import QCodec

@testable import QCheckpoint

/// Attacks on the records of tensors and on the counts before them.
extension Attack {
  static let counts: [Attack] = CheckpointPatch.Count.allCases.flatMap { field in
    ([1 << 63, 1 << 62, 1 << 40, 1 << 32, .max, .max / 136 + 1] as [UInt64]).map { value in
      Attack("\(field) \(value)", .invalidDirectory) { $0.set(field, value) }
    }
  }

  private static let far: [UInt64] = [.max, 1 << 63]

  static let places: [Attack] = [
    quantized("name offset", RecordField.nameOffset, wide: [0] + far, .invalidDirectory),
    quantized("name length", RecordField.nameLength, wide: [0, 65_537, .max] as [UInt32], .invalidName),
    quantized("name length", RecordField.nameLength, wide: [10, 65_536] as [UInt32], .invalidDirectory),
    quantized("dims", RecordField.dimCount, [33, 255], .invalidShape),
    quantized("dims index", RecordField.dimsIndex, wide: [0] + far, .invalidDirectory),
    quantized("first chunk", RecordField.firstChunk, wide: [1, 4] + far, .invalidChunkTable),
    quantized("chunks", RecordField.chunkCount, wide: [0, 2, 3, 5] + far, .invalidChunkTable),
    quantized("chunk stride", RecordField.stride, [0, 2, 255], .invalidChunkTable),
    quantized("reserved", RecordField.reserved, [1, 128], .reservedBits),
    quantized("reserved", RecordField.reserved + 1, [1, 128], .reservedBits),
    quantized("reference", RecordField.reference, wide: [0, 1, .max - 1] as [UInt64], .invalidReference),
    [
      Attack("another shape", .invalidChunkTable) { $0.set(directoryAt: $0.dims, UInt64(33)) },
      Attack("dims beyond 64 bits", .limitExceeded) { $0.set(directoryAt: $0.dims + 16, UInt64(1) << 63) },
    ],
  ].flatMap(\.self)

  static let kinds: [Attack] = [
    quantized("dtype", RecordField.dtype, [0, 24, 255], .invalidDirectory),
    quantized("dtype that cannot be quantized", RecordField.dtype, [DType.i32.rawValue], .invalidScheme),
    quantized("role", RecordField.role, [6, 255], .invalidDirectory),
    quantized("encoding", RecordField.encoding, [2, 255], .invalidScheme),
    quantized("reason of a quantized tensor", RecordField.reason, [1, 4], .invalidScheme),
    quantized("reason", RecordField.reason, [9, 255], .invalidDirectory),
    [
      lossless("a scheme of a lossless tensor", RecordField.map, UInt8(1), .invalidScheme),
      lossless("a table of a lossless tensor", RecordField.tableOffset, UInt32(0), .invalidScheme),
      lossless("a lossless tensor called quantized", RecordField.encoding, UInt8(1), .invalidScheme),
      lossless("a seed of a lossless tensor", RecordField.seed, UInt64(1), .invalidScheme),
      lossless("an error of a lossless tensor", RecordField.maxAbsError, UInt64(1), .invalidScheme),
      lossless("a guarantee of a lossless tensor", RecordField.guarantee, UInt64(1) << 63, .invalidScheme),
      lossless("reason", RecordField.reason, UInt8(9), .invalidDirectory),
      lossless("a reason of the update domain", RecordField.reason, UInt8(5), .invalidScheme),
    ],
  ].flatMap(\.self)

  static let schemes: [Attack] = [
    quantized("map", RecordField.map, [0, 9, 255], .invalidScheme),
    quantized("a signed log map", RecordField.map, [Scheme.Map.log.rawValue], .invalidScheme),
    quantized("another map", RecordField.map, [Scheme.Map.linear.rawValue], .invalidMapTable),
    quantized("bits", RecordField.bits, [0, 1, 7, 9, 16, 255], .unsupportedFeature),
    quantized("bits of another table", RecordField.bits, [2, 3, 4, 5, 6], .invalidMapTable),
    quantized("signedness", RecordField.signed, [2, 255], .invalidScheme),
    quantized("sign of another table", RecordField.signed, [0], .invalidMapTable),
    quantized("scaling", RecordField.scaling, [0, 6, 255], .invalidScheme),
    quantized("scaling with a block", RecordField.scaling, [1, 3, 4, 5], .invalidScheme),
    quantized("block", RecordField.block, [0, 1, 4, 17, 255], .invalidScheme),
    quantized("domain", RecordField.domain, [2, 255], .invalidScheme),
    quantized("the update domain without a reference", RecordField.domain, [1], .invalidReference),
    quantized("rounding", RecordField.rounding, [0, 5, 255], .invalidScheme),
    quantized("unknown rounding with a guarantee", RecordField.rounding, [4], .invalidDirectory),
    quantized("scale rule", RecordField.scaleRule, [0, 4, 255], .invalidScheme),
    quantized("seed", RecordField.seed, wide: [1, 1 << 63] as [UInt64], .invalidScheme),
    quantized("table offset", RecordField.tableOffset, wide: [0, 15, 96, .max] as [UInt32], .invalidMapTable),
  ].flatMap(\.self)

  static let errors: [Attack] = {
    let fields = [
      RecordField.maxAbsError, RecordField.maxScaledError, RecordField.squaredError, RecordField.squaredSource,
      RecordField.guarantee,
    ]
    let values: [Double] = [.nan, .infinity, -.infinity, -1, -.leastNonzeroMagnitude]
    let bad = fields.flatMap {
      quantized("recorded error at \($0):", $0, wide: values.map(\.bitPattern), .invalidDirectory)
    }
    let relative: [Double] = [0, 1, .infinity, -.infinity, -1]
    return bad
      + quantized("zeros created", RecordField.zerosCreated, wide: [301, .max] as [UInt64], .invalidDirectory)
      + quantized("sign changes", RecordField.signChanges, wide: [301, .max] as [UInt64], .invalidDirectory)
      + quantized(
        "a relative guarantee", RecordField.relative, wide: relative.map(\.bitPattern), .invalidDirectory)
  }()
}
