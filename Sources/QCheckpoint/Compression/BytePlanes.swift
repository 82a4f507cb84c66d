import CQCodecKernels
import QCodec

/// Byte-plane transposition: plane p holds byte p of every element, so that bytes of like meaning stand together.
///
/// Trained float32 values share exponents; beside one another they compress, interleaved with mantissas they do not.
enum BytePlanes {
  /// Puts the planes of `source`, whose count is a multiple of `planes`, into `target`, which has equally many bytes.
  ///
  /// - Parameter kernels: the instruction set to use; it does not change the result.
  static func split(
    _ source: UnsafeRawBufferPointer, planes: Int, into target: UnsafeMutableRawBufferPointer,
    kernels: KernelLevel = .selected
  ) {
    let count = source.count / planes
    if kernels != .scalar, planes == 2 || planes == 4 || planes == 8 {
      return unsafe qcodec_split_planes(
        kernels.rawValue, source.baseAddress, count, Int32(planes), target.baseAddress)
    }
    for plane in 0..<planes {
      for i in 0..<count { unsafe target[plane * count + i] = source[i * planes + plane] }
    }
  }

  /// The inverse: puts the elements whose planes `source` holds into `target`.
  ///
  /// - Parameter kernels: the instruction set to use; it does not change the result.
  static func join(
    _ source: UnsafeRawBufferPointer, planes: Int, into target: UnsafeMutableRawBufferPointer,
    kernels: KernelLevel = .selected
  ) {
    let count = source.count / planes
    if kernels != .scalar, planes == 2 || planes == 4 || planes == 8 {
      return unsafe qcodec_join_planes(kernels.rawValue, source.baseAddress, count, Int32(planes), target.baseAddress)
    }
    for plane in 0..<planes {
      for i in 0..<count { unsafe target[i * planes + plane] = source[plane * count + i] }
    }
  }
}
