import QCheckpoint
import QCodec

/// Elements of each tensor of a unit, one after the other.
struct ChunkMoments: Sendable {
  let m: [UInt8]
  let v: [UInt8]
  let count: Int
}

extension PlanUnit {
  /// Elements of both tensors, of one part or of several; throws as sources do, with the tensor's name.
  func moments(_ parts: [Range<Int>]) throws(QCodecError) -> ChunkMoments {
    ChunkMoments(
      m: try Self.bytes(first, parts), v: try Self.bytes(second, parts), count: parts.reduce(0) { $0 + $1.count })
  }

  private static func bytes(_ tensor: InputTensor?, _ parts: [Range<Int>]) throws(QCodecError) -> [UInt8] {
    guard let tensor else { return [] }
    let size = tensor.dtype.bitWidth / 8
    var bytes: [UInt8] = []
    do throws(QCodecError) {
      for part in parts {
        bytes += try tensor.source.bytes(at: UInt64(part.lowerBound * size), count: part.count * size)
      }
      return bytes
    } catch {
      var named = error
      named.tensor = error.tensor ?? tensor.name
      throw named
    }
  }
}

extension [UInt8] {
  /// Elements of a quantizable dtype.
  func floats(_ dtype: DType) -> [Float] { unsafe withUnsafeBytes { unsafe dtype.floats($0) } }
}
