import QCodec

/// A tensor to be added to a checkpoint.
public struct NewTensor: Sendable {
  /// 1 byte to 64 KiB of UTF-8, unlike every other.
  public var name: String
  /// The type of the elements.
  public var dtype: DType
  /// What the tensor is to the optimizer.
  public var role: Role
  /// How it is to be stored.
  public var encoding: Encoding
  /// Whether a negative element under an unsigned map makes the tensor lossless, not an error.
  public var negativeFallsBack: Bool
  /// The lossless stage; nil for that of the whole checkpoint.
  public var compression: Compression?
  /// How far apart codes stand; nil where the extremes decide. Where a pair falls back to a scheme of the `linear` map, a
  /// step in units of the root mean square is that one's too.
  public var step: QuantizationStep?
  /// The elements in C order.
  public var source: any TensorSource
  /// What every element is to keep, by escapes where its scheme does not; nil for what the scheme makes of it.
  ///
  /// Of a pair in the update domain that of the first moment counts. It takes a writer that allows escapes.
  public var bound: TensorBound?
  /// The scale of `tensor` scaling in the place of what the scale rule makes; elements beyond it are escaped, so that it
  /// goes with a bound. nil for the rule's.
  public var scale: Float?

  /// Describes a tensor.
  public init(
    name: String, dtype: DType, role: Role = .other, encoding: Encoding, negativeFallsBack: Bool = false,
    compression: Compression? = nil, step: QuantizationStep? = nil, source: any TensorSource
  ) {
    self.name = name
    self.dtype = dtype
    self.role = role
    self.encoding = encoding
    self.negativeFallsBack = negativeFallsBack
    self.compression = compression
    self.step = step
    self.source = source
  }

  /// The scale vector of the tensor where the rule makes `found`.
  func scales(_ found: [Float]) -> [Float] { found.count == 1 ? [scale ?? found[0]] : found }

  func description(shape: [UInt64]) -> TensorDescription {
    TensorDescription(name: name, dtype: dtype, shape: shape, role: role, compression: compression)
  }
}

/// What the elements of a tensor are held to.
public enum TensorBound: Sendable, Hashable {
  /// Each element by itself; for the value domain.
  case element(ElementBound)
  /// The update of each element of a pair; for a first moment in the update domain.
  case update(UpdateBound)
}

/// What is added to a checkpoint in one piece.
public enum Addition: Sendable {
  /// A tensor alone, its shape up to 32 lengths.
  case tensor(NewTensor, shape: [UInt64])
  /// A first moment with its second moment, both of one shape.
  ///
  /// In the update domain the first is stored divided by the root of what the second decodes to. Where that cannot be
  /// (the second turns out lossless, is signed or an import, or a quotient overflows), the first is stored under
  /// `fallback`, a scheme of the value domain, nil for the signed dynamic map of the same width; the directory says why.
  case pair(first: NewTensor, second: NewTensor, shape: [UInt64], fallback: Scheme?)

  /// In the order in which they are added: of a pair the second moment comes first.
  var tensors: [NewTensor] {
    switch self {
    case .tensor(let tensor, _): [tensor]
    case .pair(let first, let second, _, _): [second, first]
    }
  }

  var shape: [UInt64] {
    switch self {
    case .tensor(_, let shape), .pair(_, _, let shape, _): shape
    }
  }

  /// Bytes of its tensors as given.
  public var byteCount: UInt64 { tensors.reduce(0) { $0 + $1.source.byteCount } }
}

/// A tensor of which every decision is taken that depends on its values.
struct SettledTensor: Sendable {
  let description: TensorDescription
  /// nil for lossless.
  let layout: TensorLayout?
  let reason: FallbackReason
  let scales: [Float]
  let step: EncodingStep
  let source: any TensorSource
  var bound: TensorBound?
}

/// An addition of which every decision is taken: what remains can be made chunk by chunk.
struct SettledAddition: Sendable {
  /// In the order in which they are added.
  let tensors: [SettledTensor]
  /// Whether it is a pair whose first moment is in the update domain.
  let isUpdate: Bool
  let sourceBytes: UInt64
}

/// Makes the chunks of an addition, in any order and on any thread.
struct AdditionWork: Sendable {
  /// Chunks of one kind, of the tensors as they are numbered in the addition.
  private enum Kind {
    case scales(of: Int)
    case data(of: Int)
    /// Of both moments.
    case pairs
  }

  /// What was made, in the order of the file.
  struct Made: Sendable {
    var chunks: [(tensor: Int, chunk: PreparedChunk)] = []
    var updates: [UpdateError] = []
  }

  private let addition: SettledAddition
  private let preparations: [ChunkPreparation]
  /// For pairs of the update domain.
  private let pair: PairPreparation?
  /// In the order of the file.
  private let segments: [(kind: Kind, count: Int)]
  /// Parts that are made each on its own.
  let stepCount: Int

  init(_ addition: SettledAddition, options: WriterOptions, epsilon: Double?, pool: BufferPool) throws(QCodecError) {
    self.addition = addition
    let preparations = try addition.tensors.map { tensor throws(QCodecError) in
      try Self.preparation(tensor, options: options, pool: pool)
    }
    self.preparations = preparations
    pair =
      addition.isUpdate
      ? try PairPreparation(
        sources: (addition.tensors[1].source, addition.tensors[0].source), chunks: (preparations[1], preparations[0]),
        epsilon: epsilon, bound: addition.tensors[1].bound) : nil
    let plans = preparations.map(\.plan)
    segments =
      addition.isUpdate
      ? [
        (.scales(of: 1), plans[1].scaleChunks), (.scales(of: 0), plans[0].scaleChunks),
        (.pairs, Int(plans[0].dataChunks)),
      ]
      : plans.indices.flatMap { tensor in
        [(.scales(of: tensor), plans[tensor].scaleChunks), (.data(of: tensor), Int(plans[tensor].dataChunks))]
      }
    stepCount = segments.reduce(0) { $0 + $1.count }
  }

  private static func preparation(
    _ tensor: SettledTensor, options: WriterOptions, pool: BufferPool
  ) throws(QCodecError) -> ChunkPreparation {
    var bound: ElementBound?
    if case .element(let own)? = tensor.bound { bound = own }
    return try ChunkPreparation(
      tensor.description, layout: tensor.layout, scales: tensor.scales, step: tensor.step, options: options, pool: pool,
      bound: bound)
  }

  /// Makes all parts.
  func makeAll() throws(QCodecError) -> Made {
    var made = Made()
    for index in 0..<stepCount {
      let part = try make(index)
      made.chunks += part.chunks
      made.updates += part.updates
    }
    return made
  }

  /// Makes one part of `stepCount`.
  func make(_ index: Int) throws(QCodecError) -> Made {
    let (kind, chunk) = place(index)
    switch kind {
    case .scales(let tensor):
      let (preparation, scales) = (preparations[tensor], addition.tensors[tensor].scales)
      guard let layout = preparation.plan.layout else { return Made() }
      return Made(
        chunks: [(tensor, try preparation.prepare(scales: scales[layout.scales(ofChunk: chunk)], chunk: chunk))])
    case .data(let tensor):
      let preparation = preparations[tensor]
      return try unsafe preparation.withSource(
        ofChunk: chunk, from: addition.tensors[tensor].source
      ) { bytes throws(QCodecError) in
        Made(chunks: [(tensor, try unsafe preparation.prepare(chunk, bytes))])
      }
    case .pairs:
      guard let pair else { return Made() }
      let made = try pair.prepare(chunk)
      return Made(chunks: [(0, made.second), (1, made.first)], updates: made.error.map { [$0] } ?? [])
    }
  }

  private func place(_ index: Int) -> (kind: Kind, chunk: Int) {
    var rest = index
    for segment in segments {
      if rest < segment.count { return (segment.kind, rest) }
      rest -= segment.count
    }
    preconditionFailure("part \(index) of \(stepCount)")
  }
}
