import QCodec

extension CheckpointReader {
  /// A reader of the tensors that a scan found whole, without what only a directory tells.
  convenience init(salvaged scan: SalvageScan, source: any TensorSource, file: InputFile?, base: CheckpointReader?) {
    var builder = SalvagedDirectory(scan)
    self.init(directory: builder.build(), source: source, file: file, base: base)
  }
}

/// Makes up a directory: chunks in the order that a writer would have given them, tensor by tensor.
private struct SalvagedDirectory {
  private let scan: SalvageScan
  private let whole: [SalvageScan.Found]
  /// The place of each whole tensor in the directory, by what frames call it.
  private var numbers: [UInt32: Int] = [:]
  private var records: [TensorRecord] = []
  private var chunks: [ChunkRecord] = []

  init(_ scan: SalvageScan) {
    self.scan = scan
    whole = scan.tensors.filter { scan.lost(of: $0).isEmpty }
      .sorted { $0.preamble.name.lexicographicallyPrecedes($1.preamble.name) }
    for (number, tensor) in whole.enumerated() { numbers[tensor.ordinal] = number }
  }

  mutating func build() -> Directory {
    for tensor in whole {
      let preamble = tensor.preamble
      var record = TensorRecord(dtype: preamble.dtype)
      record.dimCount = UInt8(preamble.shape.count)
      record.chunkCount = tensor.plan.count
      record.elementCount = tensor.elements
      record.sourceBytes = tensor.plan.sourceBytes
      record.scheme = preamble.scheme
      record.statistics.guaranteedMaxAbsError = preamble.scheme == nil ? 0 : .nan
      record.guaranteedRelative = .nan
      records.append(record)
    }
    placeChunks()
    return directory()
  }

  /// The directory of what was found, with its schemes as they are: map tables are of no use to it.
  private func directory() -> Directory {
    var builder = DirectoryBuilder()
    let tensors = zip(whole, records).map { ($0.preamble.name, $0.preamble.shape, $1) }
    let fields = ByteFields(bytes: builder.build(tensors: tensors, chunks: chunks, pairs: []))
    let sections = DirectorySections(
      tensors: whole.count, dims: tensors.reduce(0) { $0 + $1.1.count }, chunks: chunks.count, pairs: 0, tableBytes: 0)
    var schemes: [StoredScheme] = []
    var numbers: [Scheme: UInt32] = [:]
    let schemeNumbers = records.map { record in
      guard let scheme = record.scheme else { return Directory.lossless }
      if let number = numbers[scheme] { return number }
      let number = UInt32(schemes.count)
      schemes.append(StoredScheme(scheme))
      numbers[scheme] = number
      return number
    }
    return Directory(fields: fields, sections: sections, schemes: schemes, schemeNumbers: schemeNumbers, pairs: [])
  }

  /// Pairs first, their chunks alternating; then what is left.
  private mutating func placeChunks() {
    var placed: Set<Int> = []
    for (number, tensor) in whole.enumerated() {
      guard let second = scan.second(of: tensor), let other = numbers[second.ordinal] else { continue }
      records[number].firstChunk = UInt64(chunks.count)
      append(number, 0..<tensor.plan.scaleChunks)
      records[other].firstChunk = UInt64(chunks.count)
      append(other, 0..<second.plan.scaleChunks)
      for index in 0..<Int(tensor.plan.dataChunks) {
        append(other, second.plan.scaleChunks + index..<second.plan.scaleChunks + index + 1)
        append(number, tensor.plan.scaleChunks + index..<tensor.plan.scaleChunks + index + 1)
      }
      records[number].reference = other
      (records[number].stride, records[other].stride) = (2, 2)
      placed.formUnion([number, other])
    }
    for number in whole.indices where !placed.contains(number) {
      records[number].firstChunk = UInt64(chunks.count)
      append(number, 0..<Int(whole[number].plan.count))
    }
  }

  private mutating func append(_ number: Int, _ range: Range<Int>) {
    for index in range {
      guard var chunk = whole[number].chunks[index] else { preconditionFailure("a whole tensor lacks a chunk") }
      chunk.tensor = UInt32(number)
      chunks.append(chunk)
    }
  }
}
