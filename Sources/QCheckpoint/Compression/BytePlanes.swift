/// Byte-plane transposition: plane p holds byte p of every element, so that bytes of like meaning stand together.
///
/// Trained float32 values share exponents; beside one another they compress, interleaved with mantissas they do not.
enum BytePlanes {
  /// Puts the planes of `source`, whose count is a multiple of `planes`, into `target`.
  static func split(_ source: UnsafeRawBufferPointer, planes: Int, into target: UnsafeMutableRawBufferPointer) {
    let count = source.count / planes
    for plane in 0..<planes {
      for i in 0..<count { unsafe target[plane * count + i] = source[i * planes + plane] }
    }
  }

  /// The inverse: the elements whose planes `source` holds.
  static func join(_ source: UnsafeRawBufferPointer, planes: Int, into target: UnsafeMutableRawBufferPointer) {
    let count = source.count / planes
    for plane in 0..<planes {
      for i in 0..<count { unsafe target[i * planes + plane] = source[plane * count + i] }
    }
  }
}
