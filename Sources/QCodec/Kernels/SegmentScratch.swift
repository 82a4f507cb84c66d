/// The working memory of one call: arrays of `ScalarKernels.segment` elements.
///
/// Safe: allocated and freed with the object, and kernels are never given a count above a segment.
@safe final class SegmentScratch {
  /// The source as float32.
  let x: UnsafeMutablePointer<Float>
  /// The scale of each element.
  let scales: UnsafeMutablePointer<Float>
  /// x / scale when encoding; decoded values.
  let values: UnsafeMutablePointer<Float>
  let codes: UnsafeMutablePointer<UInt8>

  init() {
    let count = ScalarKernels.segment
    unsafe x = .allocate(capacity: count)
    unsafe scales = .allocate(capacity: count)
    unsafe values = .allocate(capacity: count)
    unsafe codes = .allocate(capacity: count)
  }

  deinit {
    unsafe x.deallocate()
    unsafe scales.deallocate()
    unsafe values.deallocate()
    unsafe codes.deallocate()
  }
}
