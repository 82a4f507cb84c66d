import CCampaign
import QCheckpoint
import QCodec
import QVerify

/// What reading one file allocated at most, in bytes, beyond what was allocated before.
struct AllocationProbe {
  let byteCount: UInt64
  /// Opening and a list of all tensors.
  let opening: Int?
  /// The metadata, beyond what the open file holds; nil where it could not be opened.
  let metadata: Int?
  /// Verification by one thread, beyond what the open file holds; nil where it could not be opened.
  let verifying: Int?
  /// Recovery by one thread; nil for what is no checkpoint.
  let salvage: Int?

  /// Measures a file, whatever it is; throws only where there is none.
  init(path: String) throws(QCodecError) {
    let file = try InputFile(path: path)
    byteCount = file.byteCount
    let start = try file.bytes(at: 0, count: Int(min(4, file.byteCount)))
    guard start == [0x89, 0x51, 0x43, 0x4B] else {
      opening = Self.peak { _ = Self.refusable { () throws(QCodecError) in _ = try openInput(file: file, path: path) } }
      (metadata, verifying, salvage) = (nil, nil, nil)
      return
    }
    var opened: CheckpointReader?
    opening = Self.peak {
      _ = Self.refusable { () throws(QCodecError) in
        let reader = try CheckpointReader(file: file)
        opened = reader
        let tensors = (0..<reader.tensorCount).map(reader.tensor)
        precondition(tensors.count == reader.tensorCount)
      }
    }
    let reader = opened
    metadata = reader.map { reader in
      Self.peak { _ = Self.refusable { () throws(QCodecError) in _ = try reader.metadata() } }
    }
    verifying = reader.map { reader in
      Self.peak { _ = Self.refusable { () throws(QCodecError) in _ = try Verifier(reader, threads: 1).verify() } }
    }
    salvage = Self.peak {
      _ = Self.refusable { () throws(QCodecError) in _ = try Recovery(file: file, threads: 1) }
    }
  }

  /// Makes the named maps, which every process makes once for all files, and keeps.
  static func warmUp() {
    for map in Scheme.Map.allCases {
      for (bits, signed) in Scheme.widths.flatMap({ [($0, false), ($0, true)] }) {
        // Not every map exists with every width and sign.
        _ = refusable { () throws(QCodecError) in _ = try MapTable.named(map, bits: bits, signed: signed).entries }
      }
    }
  }

  private static func peak(_ body: () -> Void) -> Int {
    campaign_reset_peak()
    body()
    return campaign_peak()
  }

  /// The error with which a file is refused, as many are that this is for.
  private static func refusable(_ body: () throws(QCodecError) -> Void) -> QCodecError? {
    do throws(QCodecError) { try body() } catch { return error }
    return nil
  }
}
