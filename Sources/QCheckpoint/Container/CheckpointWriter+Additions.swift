import QCodec

extension CheckpointWriter {
  /// Adds tensors and pairs of them, in order; chunks of all are made in parallel.
  ///
  /// Additions are looked over some 256 MiB at a time, before the first byte of any of these is written, wherever a
  /// decision depends on their values; then their chunks are made and written. Memory: some chunks a thread.
  ///
  /// - Parameters:
  ///   - additions: tensors and pairs, in the order of the file.
  ///   - nonFinite: what to do with NaN and ±∞ in a tensor to be quantized.
  ///   - epsilon: ε of the update m/(√v + ε) whose error is measured and recorded for pairs in the update domain; nil does
  ///     not measure.
  ///   - added: called after each addition is written, with its place among `additions`.
  ///   - progress: called with the source bytes written since the last call, those of all additions in the end.
  ///
  /// Throws `invalidName`, `duplicateName`, `invalidShape`, `limitExceeded`, `shapeMismatch`, `unsupportedScheme` before
  /// anything is written, and nothing is added then; `nonFiniteValue`, `negativeValue` and `io`, which abort the file.
  public func add(
    _ additions: [Addition], nonFinite: NonFinitePolicy = .error, measuring epsilon: Double? = nil,
    added: (Int) -> Void = { _ in }, progress: (UInt64) -> Void = { _ in }
  ) throws(QCodecError) {
    try check(additions)
    for window in windows(of: additions.count, byteCount: { additions[$0].byteCount }) {
      let settled = try settle(Array(additions[window]), nonFinite: nonFinite)
      try write(
        settled, nonFinite: nonFinite, epsilon: epsilon, added: { added(window.lowerBound + $0) }, progress: progress)
    }
  }

  /// Additions of fewer bytes are each made by one thread.
  private static var small: UInt64 { 2 << 20 }

  // MARK: Checks

  /// The layouts that a tensor or pair was asked to have.
  private struct Layouts: Sendable {
    let tensors: [TensorLayout?]
    let fallback: TensorLayout?
  }

  func check(_ additions: [Addition]) throws(QCodecError) {
    var own: Set<[UInt8]> = []
    for addition in additions {
      for tensor in addition.tensors {
        try check(tensor.description(shape: addition.shape), source: tensor.source)
        try checkBound(of: tensor)
        guard own.insert(Array(tensor.name.utf8)).inserted else {
          throw QCodecError(.duplicateName, "two tensors to be added have this name", tensor: tensor.name)
        }
      }
      let layouts = try Self.layouts(of: addition)
      for (tensor, layout) in zip(addition.tensors, layouts.tensors) {
        guard let step = tensor.step, let layout else { continue }
        do throws(QCodecError) { try step.check(layout.scheme) } catch { throw error.named(tensor.name) }
      }
    }
  }

  private func checkBound(of tensor: NewTensor) throws(QCodecError) {
    guard tensor.bound == nil || options.allowsEscapes else {
      throw QCodecError(.invalidArgument, "a bound takes a writer that allows escapes", tensor: tensor.name)
    }
    guard tensor.scale == nil || tensor.bound != nil else {
      throw QCodecError(.invalidArgument, "a scale of one's own goes with a bound", tensor: tensor.name)
    }
    guard let scale = tensor.scale else { return }
    guard case .quantized(let scheme, _) = tensor.encoding, scale > 0,
      scale <= (scheme.domain == .value ? tensor.dtype.greatestFinite : .greatestFiniteMagnitude),
      scheme.domain == .value || scale.bitPattern & 0xFF == 0
    else {
      throw QCodecError(.invalidArgument, "\(scale) is no scale of \(tensor.dtype.name) elements", tensor: tensor.name)
    }
  }

  /// Lays out the tensors of an addition, made anew where they are wanted: a million of them are much memory.
  private static func layouts(of addition: Addition) throws(QCodecError) -> Layouts {
    let isBounded = addition.tensors.contains { if case .update? = $0.bound { true } else { false } }
    let layouts = try addition.tensors.map { tensor throws(QCodecError) in
      try layout(
        of: tensor.description(shape: addition.shape), tensor.encoding,
        hasEscapes: isBounded || tensor.bound != nil)
    }
    guard case .pair(let first, _, let shape, let fallback) = addition else {
      try refuseAlone(layouts[0], name: addition.tensors[0].name)
      return Layouts(tensors: layouts, fallback: nil)
    }
    let scheme = fallback ?? layouts[1]?.scheme.updateFallback
    let other = try scheme.flatMap { scheme throws(QCodecError) in
      try layout(of: first.description(shape: shape), .quantized(scheme))
    }
    guard layouts[0]?.scheme.domain != .update, other?.scheme.domain != .update else {
      throw QCodecError(
        .unsupportedScheme, "a second moment and a fallback are of the value domain", tensor: first.name)
    }
    return Layouts(tensors: layouts, fallback: other)
  }

  // MARK: Decisions

  /// Takes every decision that depends on values; large additions by all threads, small ones side by side.
  private func settle(
    _ additions: [Addition], nonFinite: NonFinitePolicy
  ) throws(QCodecError) -> [SettledAddition] {
    let (pool, threads) = (pool, options.threads)
    let results = ResultSlots<Result<SettledAddition, QCodecError>>(count: additions.count)
    let settle = { @Sendable (index: Int, threads: Int) -> Void in
      let look = Look(threads: threads, pool: pool)
      do throws(QCodecError) {
        results[index] = .success(
          try Self.settle(additions[index], nonFinite: nonFinite, by: look))
      } catch {
        results[index] = .failure(error)
      }
    }
    let isSmall = additions.map { $0.byteCount < Self.small }
    let small = additions.indices.filter { isSmall[$0] }
    try parallelFor(count: small.count, threads: threads) { place in settle(small[place], 1) }
    for index in additions.indices where !isSmall[index] { settle(index, threads) }
    var settled: [SettledAddition] = []
    for (addition, result) in zip(additions, results.inOrder) {
      try writing(addition.tensors.map { $0.description(shape: addition.shape) }) { () throws(QCodecError) in
        settled.append(try result.get())
      }
    }
    return settled
  }

  private static func settle(
    _ addition: Addition, nonFinite: NonFinitePolicy, by look: Look
  ) throws(QCodecError) -> SettledAddition {
    let layouts = try layouts(of: addition)
    switch addition {
    case .tensor(let tensor, let shape):
      var (layout, reason, scales, step) = (
        layouts.tensors[0], tensor.encoding.reason, [Float](), EncodingStep.none
      )
      if let quantized = layout {
        let choice = FallbackChoice(
          name: tensor.name, nonFinite: nonFinite, negativeFallsBack: tensor.negativeFallsBack)
        let pass = try FirstPass.run(tensor.source, layout: quantized, step: tensor.step, choice: choice, by: look)
        step = pass.step
        if let found = pass.scales { scales = tensor.scales(found) } else { (layout, reason) = (nil, pass.reason) }
      }
      let settled = SettledTensor(
        description: tensor.description(shape: shape), layout: layout, reason: reason, scales: scales, step: step,
        source: tensor.source, bound: tensor.bound)
      return SettledAddition(tensors: [settled], isUpdate: false, sourceBytes: addition.byteCount)
    case .pair(let first, let second, let shape, _):
      var pair = PairWork(
        first: first.description(shape: shape), second: second.description(shape: shape),
        sources: (first.source, second.source), nonFinite: nonFinite, look: look)
      try pair.settle(first, second, layouts: (layouts.tensors[1], layouts.tensors[0]), fallback: layouts.fallback)
      return SettledAddition(
        tensors: [
          SettledTensor(
            description: pair.second, layout: pair.secondLayout, reason: pair.secondReason,
            scales: pair.secondScales, step: pair.secondStep, source: second.source, bound: second.bound),
          SettledTensor(
            description: pair.first, layout: pair.firstLayout, reason: pair.firstReason, scales: pair.firstScales,
            step: pair.firstStep, source: first.source, bound: first.bound),
        ], isUpdate: pair.firstLayout?.scheme.domain == .update, sourceBytes: addition.byteCount)
    }
  }

  // MARK: Chunks

  /// What one thread makes of an addition: everything, where it is small, else one part.
  private struct Piece: Sendable {
    let addition: Int
    let made: AdditionWork.Made
    let isFirst: Bool
    let isLast: Bool
    /// What it has of the addition's source.
    let sourceBytes: UInt64

    /// The bytes of one of equal parts; those of all parts make up the whole.
    static func share(_ step: Int, of count: Int, _ bytes: UInt64) -> UInt64 {
      func end(_ steps: Int) -> UInt64 {
        let (high, low) = bytes.multipliedFullWidth(by: UInt64(steps))
        return UInt64(count).dividingFullWidth((high, low)).quotient
      }
      return end(step + 1) - end(step)
    }
  }

  private func write(
    _ settled: [SettledAddition], nonFinite: NonFinitePolicy, epsilon: Double?, added: (Int) -> Void,
    progress: (UInt64) -> Void
  ) throws(QCodecError) {
    let (options, pool) = (options, pool)
    // Where the pieces of each addition begin.
    var starts: [Int] = [0]
    var works: [AdditionWork?] = []
    for addition in settled {
      var work: AdditionWork?
      if addition.sourceBytes >= Self.small {
        try writing(addition.tensors.map(\.description)) { () throws(QCodecError) in
          work = try AdditionWork(addition, options: options, epsilon: epsilon, pool: pool)
        }
      }
      works.append(work)
      starts.append(starts[starts.count - 1] + (work?.stepCount ?? 1))
    }
    let (places, large) = (starts, works)
    var current: [OpenTensor] = []
    var update: UpdateError?
    var reached = 0
    do throws(QCodecError) {
      try orderedPipeline(count: starts[settled.count], threads: options.threads) {
        piece throws(QCodecError) in
        let index = places.partitioningIndex { $0 > piece } - 1
        let step = piece - places[index]
        let made: AdditionWork.Made
        if let work = large[index] {
          made = try work.make(step)
        } else {
          made = try AdditionWork(settled[index], options: options, epsilon: epsilon, pool: pool).makeAll()
        }
        let count = places[index + 1] - places[index]
        return Piece(
          addition: index, made: made, isFirst: step == 0, isLast: step + 1 == count,
          sourceBytes: Piece.share(step, of: count, settled[index].sourceBytes))
      } consume: { piece throws(QCodecError) in
        let addition = settled[piece.addition]
        reached = piece.addition
        if piece.isFirst {
          current = try open(addition)
          update = epsilon.map { UpdateError(epsilon: $0) }
        }
        for (tensor, chunk) in piece.made.chunks { try take(chunk, into: &current[tensor]) }
        withCodecEnvironment { for error in piece.made.updates { update?.append(error) } }
        progress(piece.sourceBytes)
        guard piece.isLast else { return }
        close(addition, current, update: update)
        reached += 1
        added(piece.addition)
      }
    } catch {
      let failed = settled[min(reached, settled.count - 1)]
      try writing(failed.tensors.map(\.description)) { () throws(QCodecError) in
        try Self.explain(error, of: failed, nonFinite: nonFinite, by: Look(threads: options.threads, pool: pool))
      }
    }
  }

  /// Throws what is wrong with a tensor that failed to encode: what is not finite counts wherever it stands, though the
  /// encoder came to a negative element first.
  private static func explain(
    _ error: QCodecError, of addition: SettledAddition, nonFinite: NonFinitePolicy, by look: Look
  ) throws(QCodecError) {
    if error.code == .negativeValue, addition.tensors.count == 1, let layout = addition.tensors[0].layout {
      let tensor = addition.tensors[0]
      let choice = FallbackChoice(name: tensor.description.name, nonFinite: nonFinite, negativeFallsBack: false)
      _ = try FirstPass.run(tensor.source, layout: layout, choice: choice, isWhole: true, by: look)
    }
    throw error
  }

  /// Begins the tensors of an addition.
  private func open(_ addition: SettledAddition) throws(QCodecError) -> [OpenTensor] {
    var opened: [OpenTensor] = []
    for (index, tensor) in addition.tensors.enumerated() {
      opened.append(
        try open(
          tensor.description, layout: tensor.layout, reason: tensor.reason, number: tensors.count + index))
    }
    if addition.isUpdate {
      opened[1].record.reference = tensors.count
      // Frames count tensors by their first chunks: with scales of its own the first moment begins.
      opened[1].preamble.reference = nextOrdinal + (addition.tensors[1].scales.isEmpty ? 0 : 1)
      if opened[1].record.elementCount > 0 {
        for index in opened.indices { opened[index].record.stride = 2 }
      }
    }
    return opened
  }

  private func close(_ addition: SettledAddition, _ opened: [OpenTensor], update: UpdateError?) {
    if addition.isUpdate, opened[1].record.elementCount > 0, let update {
      note(pair: tensors.count + 1, tensors.count, update)
    }
    for (tensor, open) in zip(addition.tensors, opened) { close(tensor.description, open.record) }
  }
}
