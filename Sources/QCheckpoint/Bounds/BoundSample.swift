import QCodec

/// Elements of a tensor by which ways to store it are compared: some windows end to end, or all of a small one.
struct BoundSample: Sendable {
  /// Elements of a window, a multiple of every block that is tried.
  private static let size: UInt64 = 4096
  private static let count: UInt64 = 6

  let dtype: DType
  let bytes: [UInt8]

  /// The sample of a tensor's source, spread evenly; those of two tensors of one shape hold the same elements.
  init(_ tensor: NewTensor, elements: UInt64) throws(QCodecError) {
    dtype = tensor.dtype
    let width = UInt64(tensor.dtype.bitWidth / 8)
    guard elements > Self.size * Self.count else {
      bytes = try tensor.source.bytes(at: 0, count: Int(elements * width))
      return
    }
    var bytes: [UInt8] = []
    for window in 0..<Self.count {
      let start = window * (elements - Self.size) / (Self.count - 1) & ~511
      bytes += try tensor.source.bytes(at: start * width, count: Int(Self.size * width))
    }
    self.bytes = bytes
  }

  /// The lengths of the sample's only axis: a chunk of elements at most.
  var shape: [UInt64] { [UInt64(bytes.count / (dtype.bitWidth / 8))] }

  /// Its bytes where they are stored as they are.
  func losslessBytes(_ options: WriterOptions, _ compression: Compression) throws(QCodecError) -> Int {
    try compression.storedByteCount(bytes, elementSize: dtype.bitWidth / 8, level: options.zstdLevel)
  }
}

/// What a whole tensor, or the updates of a pair, are like.
struct BoundScan: Sendable {
  var scan = ValueScan()
  /// Σ x².
  var squares = 0.0

  /// The root mean square.
  func rms(of count: UInt64) -> Double { count == 0 ? 0 : (squares / Double(count)).squareRoot() }

  /// Looks a tensor over; sums are those of chunks, in order, at any number of threads.
  static func run(_ tensor: NewTensor, elements: UInt64, by look: Look) throws(QCodecError) -> BoundScan {
    let parts = try unsafe chunks(of: [tensor], elements: elements, by: look) { bytes, first in
      var part = BoundScan()
      unsafe part.scan.scan(source: bytes[0], dtype: tensor.dtype, startingAt: first)
      let values = unsafe tensor.dtype.floats(bytes[0])
      part.squares = sum(values.count) { Double(values[$0]) * Double(values[$0]) }
      return part
    }
    return joined(parts)
  }

  /// The updates of a pair; what is not finite in either moment counts for nothing.
  static func updates(
    _ first: NewTensor, _ second: NewTensor, elements: UInt64, epsilon: Double, by look: Look
  ) throws(QCodecError) -> BoundScan {
    let bound = UpdateBound(limit: 1, epsilon: epsilon)
    return try joined(
      unsafe chunks(of: [first, second], elements: elements, by: look) { bytes, _ in
        let (m, v) = unsafe (first.dtype.floats(bytes[0]), second.dtype.floats(bytes[1]))
        var part = BoundScan()
        part.squares = sum(m.count) { index in
          let u = bound.update(Double(m[index]), Double(v[index]))
          return u.isFinite ? u * u : 0
        }
        return part
      })
  }

  private static func sum(_ count: Int, _ term: (Int) -> Double) -> Double {
    withCodecEnvironment {
      var sums = PartialSums()
      for index in 0..<count { sums.add(term(index), at: index) }
      return sums.total
    }
  }

  private static func joined(_ parts: [BoundScan]) -> BoundScan {
    withCodecEnvironment {
      parts.reduce(into: BoundScan()) { total, part in
        total.scan.append(part.scan)
        total.squares += part.squares
      }
    }
  }

  /// Calls `body` with the bytes of tensors of one shape, chunk by chunk, and each chunk's first element.
  private static func chunks(
    of tensors: [NewTensor], elements: UInt64, by look: Look,
    _ body: @escaping @Sendable ([UnsafeRawBufferPointer], UInt64) -> BoundScan
  ) throws(QCodecError) -> [BoundScan] {
    let size = UInt64(TensorLayout.chunkElements)
    let count = Int((elements + size - 1) / size)
    let results = ResultSlots<BoundScan>(count: count)
    try parallelFor(count: count, threads: look.threads) { index throws(QCodecError) in
      let first = UInt64(index) * size
      let held = min(size, elements - first)
      let buffers = try tensors.map { tensor throws(QCodecError) in
        let width = UInt64(tensor.dtype.bitWidth / 8)
        let buffer = look.pool.buffer(Int(held * width))
        try unsafe tensor.source.read(at: first * width, into: buffer.bytes)
        return buffer
      }
      results[index] = unsafe body(buffers.map { unsafe $0.contents }, first)
    }
    return results.inOrder
  }
}
