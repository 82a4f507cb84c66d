import QCodec

/// The squared length of values, for clipping gradients: Σ x² in float64, the same at every number of threads.
///
/// Each chunk of 262,144 elements has sixteen sums of its own, of which element i enters sum i % 16; chunks follow one
/// another. Throws `invalidArgument` for types that no optimizer computes with and for bytes that are no whole elements.
public func squaredNorm(
  _ values: UnsafeRawBufferPointer, _ dtype: DType, threads: Int? = nil, kernels level: KernelLevel = .selected
) throws(QCodecError) -> Double {
  guard dtype.isQuantizable, values.count % dtype.elementSize == 0 else {
    throw QCodecError(.invalidArgument, "\(values.count) bytes of \(dtype.name)")
  }
  let chunk = TensorLayout.chunkElements * dtype.elementSize
  let count = (values.count + chunk - 1) / chunk
  let slots = ResultSlots<Double>(count: count)
  // Safe: read alone, and the buffer outlives the call.
  nonisolated(unsafe) let values = unsafe values
  try parallelFor(count: count, threads: threads ?? availableThreads()) { index throws(QCodecError) in
    var sums = SquareSums()
    let end = unsafe min(values.count, (index + 1) * chunk)
    unsafe sums.add(UnsafeRawBufferPointer(rebasing: values[index * chunk..<end]), dtype, level: level)
    slots[index] = sums.total
  }
  return withCodecEnvironment { slots.inOrder.reduce(0, +) }
}
