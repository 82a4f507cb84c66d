import CQCodecKernels
import QCodec

/// The step of a tensor whose moments kernels decode, move on and encode in one pass.
struct KernelPlan: Sendable {
  private let level: Int32
  /// A moment's kind and what its codes index.
  private let moments: [(kind: Int32, layout: TensorLayout?, table: KernelTable?)]
  private let tile: Int

  /// Elements that are worked on together where blocks are not larger: all that they need fits the nearest cache.
  private static let smallestTile = 1024

  /// nil at the scalar level, with scale vectors, under rounding other than to nearest, for maps that kernels do not encode,
  /// and for codes that lie otherwise than one or two a byte.
  init?(_ tensor: OptimizerTensor, level: KernelLevel) {
    guard level != .scalar else { return nil }
    var tile = Self.smallestTile
    var moments: [(kind: Int32, layout: TensorLayout?, table: KernelTable?)] = []
    for storage in tensor.layout.storages {
      switch storage {
      case .none:
        let isFactored = moments.count == 1 && tensor.layout.factored != nil
        moments.append((Int32(isFactored ? qcodec_moment_factored : qcodec_moment_none), nil, nil))
      case .float32: moments.append((Int32(qcodec_moment_floats), nil, nil))
      case .stream(let layout):
        let table = layout.table?.kernelTable
        guard layout.scheme.isServedByKernels, table?.encodes ?? true, case .block(let size) = layout.scheme.scaling
        else {
          return nil
        }
        tile = max(tile, size)
        let kind =
          layout.scheme.map == .log
          ? qcodec_moment_log : layout.scheme.domain == .update ? qcodec_moment_update : qcodec_moment_table
        moments.append((Int32(kind), layout, table))
      }
    }
    // The pair is fused with a second moment under the log map alone.
    if moments[0].kind == Int32(qcodec_moment_update), moments[1].kind != Int32(qcodec_moment_log) { return nil }
    self.level = level.rawValue
    self.moments = moments
    self.tile = tile
  }

  func run(
    _ tensor: OptimizerTensor, chunk: Int, elements: Range<Int>, _ step: qcodec_step, _ factors: Factors?
  ) throws(QCodecError) {
    var step = step
    let found = unsafe with(tensor, chunk: chunk, factors) { tensorStep, scratch in
      unsafe qcodec_step_chunk(level, &step, tensorStep, elements.lowerBound, elements.count, scratch)
    }
    guard found == 0 else {
      throw QCodecError(.updateNotFinite, "a moment is not finite after the step: the tensor has moved in part")
    }
  }

  func squaredDirection(_ tensor: OptimizerTensor, chunk: Int, _ step: qcodec_step) -> Double {
    var (step, sums) = (step, SquareSums())
    unsafe with(tensor, chunk: chunk, nil) { tensorStep, scratch in
      unsafe sums.with { sums in
        unsafe qcodec_lamb_squares(
          level, &step, tensorStep, 0, tensor.elements(ofChunk: chunk).count, scratch, sums)
      }
    }
    return sums.total
  }

  /// Calls `body` with a chunk as kernels want it, and room to work in.
  private func with<Result>(
    _ tensor: OptimizerTensor, chunk: Int, _ factors: Factors?,
    _ body: (UnsafePointer<qcodec_tensor_step>, UnsafeMutablePointer<Float>) -> Result
  ) -> Result {
    let elements = tensor.elements(ofChunk: chunk)
    var own = unsafe qcodec_tensor_step()
    unsafe own.parameters = tensor.parameterBytes(elements).baseAddress
    unsafe own.gradients = tensor.gradientBytes(elements).baseAddress
    unsafe own.parameter_dtype = tensor.parameterDType.kernelCode
    unsafe own.gradient_dtype = tensor.gradientDType.kernelCode
    unsafe own.tile = tile
    unsafe own.moments = (
      moment(0, tensor, chunk, elements.count), moment(1, tensor, chunk, elements.count),
      moment(2, tensor, chunk, elements.count)
    )
    return unsafe withUnsafeTemporaryAllocation(of: Float.self, capacity: 5 * tile) { scratch in
      let scratch = unsafe scratch.baseAddress.unsafelyUnwrapped
      guard let factors else { return unsafe body(&own, scratch) }
      return unsafe factors.rows.withUnsafeBufferPointer { rows in
        unsafe factors.columns.withUnsafeBufferPointer { columns in
          unsafe own.moments.1.rows = rows.baseAddress
          unsafe own.moments.1.columns = columns.baseAddress
          unsafe own.moments.1.column_count = columns.count
          unsafe own.moments.1.place = elements.lowerBound
          return unsafe body(&own, scratch)
        }
      }
    }
  }

  private func moment(_ index: Int, _ tensor: OptimizerTensor, _ chunk: Int, _ count: Int) -> qcodec_moment {
    let (kind, layout, table) = moments[index]
    var moment = unsafe qcodec_moment()
    unsafe moment.kind = kind
    guard kind != Int32(qcodec_moment_none), kind != Int32(qcodec_moment_factored) else { return unsafe moment }
    let payload = unsafe tensor.payload(index, chunk: chunk)
    let start = unsafe payload.baseAddress.unsafelyUnwrapped
    guard let layout, case .block(let size) = layout.scheme.scaling else {
      unsafe moment.floats = start.assumingMemoryBound(to: Float.self)
      return unsafe moment
    }
    unsafe moment.table = table?.pointer
    unsafe moment.block = size
    unsafe moment.bits = Int32(layout.scheme.bits)
    unsafe moment.rule = Int32(
      layout.scheme.scaleRule == .signedExtreme ? qcodec_rule_signed : qcodec_rule_magnitude)
    unsafe moment.scales = start.assumingMemoryBound(to: Float.self)
    unsafe moment.codes = (start + layout.blockByteCount(elements: count)).assumingMemoryBound(to: UInt8.self)
    return unsafe moment
  }
}
