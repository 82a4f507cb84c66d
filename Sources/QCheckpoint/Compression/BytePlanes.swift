/// Byte-plane transposition: plane p holds byte p of every element, so that bytes of like meaning stand together.
///
/// Trained float32 values share exponents; beside one another they compress, interleaved with mantissas they do not.
enum BytePlanes {
  /// The planes of `bytes`, whose count is a multiple of `planes`.
  static func split(_ bytes: [UInt8], planes: Int) -> [UInt8] {
    guard planes > 1 else { return bytes }
    let count = bytes.count / planes
    return unsafe [UInt8](unsafeUninitializedCapacity: bytes.count) { target, written in
      unsafe bytes.withUnsafeBufferPointer { source in
        for plane in 0..<planes {
          for i in 0..<count { unsafe target[plane * count + i] = source[i * planes + plane] }
        }
      }
      written = bytes.count
    }
  }

  /// The inverse: the elements whose planes `bytes` holds.
  static func join(_ bytes: [UInt8], planes: Int, into target: UnsafeMutableRawBufferPointer) {
    let count = bytes.count / planes
    unsafe bytes.withUnsafeBufferPointer { source in
      for plane in 0..<planes {
        for i in 0..<count { unsafe target[i * planes + plane] = source[plane * count + i] }
      }
    }
  }
}
