/// The working memory of one call: arrays of `ScalarKernels.segment` elements.
///
/// Safe: allocated and freed with the object, and kernels are never given a count above a segment.
@safe final class SegmentScratch {
  /// The source as float32.
  let x: UnsafeMutablePointer<Float>
  /// In the update domain, x divided by the root of its second moment.
  let quotients: UnsafeMutablePointer<Float>
  /// What is encoded: x or the quotients.
  var operand: UnsafeMutablePointer<Float>
  /// The scale of each element.
  let scales: UnsafeMutablePointer<Float>
  /// The operand over its scale when encoding; decoded values.
  let values: UnsafeMutablePointer<Float>
  let codes: UnsafeMutablePointer<UInt8>

  init() {
    let count = ScalarKernels.segment
    unsafe x = .allocate(capacity: count)
    unsafe quotients = .allocate(capacity: count)
    unsafe operand = x
    unsafe scales = .allocate(capacity: count)
    unsafe values = .allocate(capacity: count)
    unsafe codes = .allocate(capacity: count)
  }

  deinit {
    unsafe x.deallocate()
    unsafe quotients.deallocate()
    unsafe scales.deallocate()
    unsafe values.deallocate()
    unsafe codes.deallocate()
  }
}
