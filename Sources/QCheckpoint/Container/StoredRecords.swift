import QCodec

/// A tensor's record as it lies in the directory, 17 words of which fields are taken when they are asked for.
struct StoredTensor {
  let words: InlineArray<17, UInt64>

  @inline(__always)
  init(_ fields: ByteFields, at offset: Int) { words = fields.words(offset) }

  var nameOffset: UInt64 { words[0] }
  var nameLength: Int { Int(words[1] & 0xFFFF_FFFF) }
  var dtypeCode: UInt8 { byte(1, 4) }
  var roleCode: UInt8 { byte(1, 5) }
  var encoding: UInt8 { byte(1, 6) }
  var dimCount: Int { Int(byte(1, 7)) }
  var dimsIndex: UInt64 { words[2] }
  var firstChunk: UInt64 { words[3] }
  var chunkCount: UInt64 { words[4] }
  /// The eight bytes of the scheme.
  var schemeCodes: UInt64 { words[5] }
  var tableOffset: UInt32 { UInt32(truncatingIfNeeded: words[6]) }
  var reasonCode: UInt8 { byte(6, 4) }
  var stride: UInt8 { byte(6, 5) }
  var reserved: UInt16 { UInt16(words[6] >> 48) }
  /// `Format.noReference` where there is none.
  var referenceCode: UInt64 { words[7] }
  var seed: UInt64 { words[8] }
  var guaranteedRelative: Double { double(16) }

  var reference: Int? { referenceCode == Format.noReference ? nil : Int(truncatingIfNeeded: referenceCode) }

  var statistics: TensorStatistics {
    var result = TensorStatistics()
    result.maxAbsError = double(9)
    result.maxScaledError = double(10)
    result.squaredError = double(11)
    result.squaredSource = double(12)
    result.zerosCreated = words[13]
    result.signChanges = words[14]
    result.guaranteedMaxAbsError = double(15)
    return result
  }

  /// Where the first of the fields is that a lossless tensor leaves zero, seed and errors, but that is not; nil if none.
  var firstError: Int? {
    // Without branches, for nearly always all of them are zero.
    var all: UInt64 = 0
    for index in 8..<17 { all |= words[index] }
    return all == 0 ? nil : (8..<17).first { words[$0] != 0 }.map { $0 * 8 }
  }

  @inline(__always)
  private func byte(_ word: Int, _ index: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: words[word] >> (index * 8)) }

  @inline(__always)
  func double(_ word: Int) -> Double { Double(bitPattern: words[word]) }
}

/// A chunk's record as it lies in the directory, four words.
struct StoredChunk {
  private let words: InlineArray<4, UInt64>

  @inline(__always)
  init(_ fields: ByteFields, at offset: Int) { words = fields.words(offset) }

  var offset: UInt64 { words[0] }
  var storedLength: UInt32 { UInt32(truncatingIfNeeded: words[1]) }
  var rawLength: UInt32 { UInt32(words[1] >> 32) }
  var hash: UInt64 { words[2] }
  var compressionCode: UInt8 { UInt8(truncatingIfNeeded: words[3]) }
  var kindCode: UInt8 { UInt8(truncatingIfNeeded: words[3] >> 8) }
  var reserved: UInt16 { UInt16(truncatingIfNeeded: words[3] >> 16) }
  var tensor: UInt32 { UInt32(words[3] >> 32) }
}
