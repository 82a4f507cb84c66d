import CQCodecKernels

/// A step as kernels want it.
///
/// Safe: written by its initialiser alone, freed with the object.
@safe final class KernelSpacing: @unchecked Sendable {
  let pointer: UnsafePointer<qcodec_spacing>

  /// nil where the extremes decide.
  init?(_ step: EncodingStep) {
    guard step != .none else { return nil }
    let memory = UnsafeMutablePointer<qcodec_spacing>.allocate(capacity: 1)
    let grid = step.grid
    unsafe memory.initialize(
      to: qcodec_spacing(
        scale: step.scale, clamps: step.clamps ? 1 : 0, step: grid?.step ?? 0, lowest: grid?.lowest ?? 0,
        highest: grid?.highest ?? 0))
    unsafe pointer = UnsafePointer(memory)
  }

  deinit { unsafe pointer.deallocate() }
}
