import QCheckpoint
import QCodec

/// Files that are encoded: safetensors, their index, .npy and .npz.
enum DocumentTarget {
  private static let budget: UInt64 = 8 << 20

  static func runSafetensors(_ input: [UInt8]) -> Bool {
    let file = ScratchFile.input.holding(input)
    if let document = outcome({ () throws(QCodecError) in try SafetensorsFile(input: file) }).value {
      let size = document.entries.reduce(0) { $0 + $1.byteCount }
      let start = document.entries.first?.offset ?? UInt64(input.count)
      require(start + size == UInt64(input.count), "tensors do not fill the file")
      require(Set(document.entries.map { Array($0.name.utf8) }).count == document.entries.count, "a name twice")
      for entry in document.entries {
        let elements = outcome { () throws(QCodecError) in try TensorLayout.elementCount(of: entry.shape) }
        let bytes = elements.value.flatMap { count in
          outcome { () throws(QCodecError) in try entry.dtype.byteCount(elements: count) }.value
        }
        require(bytes == entry.byteCount, "'\(entry.name)' has bytes that dtype and shape do not imply")
      }
      rewrite(document)
    }
    readAll(input, "a.safetensors")
    return true
  }

  /// A document written again holds the same.
  private static func rewrite(_ document: SafetensorsFile) {
    let tensors = document.entries.map { SafetensorsWriter.Tensor(name: $0.name, dtype: $0.dtype, shape: $0.shape) }
    guard document.entries.allSatisfy({ $0.byteCount <= budget }) else { return }
    ScratchFile.output.empty()
    let again = outcome { () throws(QCodecError) in
      let writer = try SafetensorsWriter(
        descriptor: ScratchFile.output.descriptor, tensors: tensors, metadata: document.metadata)
      for entry in document.entries { try writer.write(document.source(of: entry)) }
      try writer.finish()
      return try SafetensorsFile(input: ScratchFile.output.opened())
    }
    guard let copy = again.value else { fatalError("a document cannot be written again: \(again)") }
    require(copy.metadata == document.metadata, "metadata change when they are written again")
    require(copy.entries.count == document.entries.count, "tensors are lost when they are written again")
    for (one, other) in zip(copy.entries, document.entries) {
      let isNamed = Array(one.name.utf8) == Array(other.name.utf8)
      require(
        isNamed && one.dtype == other.dtype && one.shape == other.shape,
        "'\(other.name)' changes when it is written again")
      let bytes = [(copy, one), (document, other)].map { file, entry in
        outcome { () throws(QCodecError) in try readAll(file.source(of: entry)) }
      }
      require(bytes[0].isSuccess && bytes[0] == bytes[1], "'\(other.name)' has other bytes when it is written again")
    }
  }

  static func runNumpy(_ input: [UInt8]) -> Bool {
    let file = ScratchFile.input.holding(input)
    tolerate { () throws(QCodecError) in
      let array = try NumpyFile(input: file)
      _ = try readAll(array.source)
    }
    tolerate { () throws(QCodecError) in
      for array in try NpzFile(input: file).arrays { _ = try readAll(array.source) }
    }
    readAll(input, "folder/a.npy")
    return true
  }

  /// Opens by content and reads every tensor.
  private static func readAll(_ input: [UInt8], _ path: String) {
    let file = ScratchFile.input.holding(input)
    tolerate { () throws(QCodecError) in
      for tensor in try openInput(file: file, path: "/nowhere/\(path)").tensors { _ = try readAll(tensor.source) }
    }
  }

  /// nil for more bytes than an input may cost.
  private static func readAll(_ source: any TensorSource) throws(QCodecError) -> [UInt8]? {
    guard source.byteCount <= budget else { return nil }
    var bytes = [UInt8](repeating: 0, count: Int(source.byteCount))
    try bytes.withMutableRaw { target throws(QCodecError) in try source.read(at: 0, into: target) }
    return bytes
  }
}
