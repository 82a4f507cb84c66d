import QCheckpoint
import QCodec
import Synchronization

/// The inputs whose bytes could not be read while something else was under way.
final class ReadFaults: Sendable {
  private let first = Mutex<String?>(nil)

  /// The first such input.
  var file: String? { first.withLock(\.self) }

  func note(_ file: String) { first.withLock { $0 = $0 ?? file } }
}

/// A tensor of a named input, which notes its input where reading fails: writers and verifiers throw the errors of
/// their sources among their own.
struct NamedSource: TensorSource {
  let source: any TensorSource
  let file: String
  let faults: ReadFaults

  var byteCount: UInt64 { source.byteCount }

  func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws(QCodecError) {
    do throws(QCodecError) { try unsafe source.read(at: offset, into: target) } catch {
      faults.note(file)
      throw error
    }
  }

  // What lies in memory is not read, so that reading it cannot fail.
  func withMemory(
    at offset: UInt64, count: Int, _ body: (UnsafeRawBufferPointer) throws(QCodecError) -> Void
  ) throws(QCodecError) -> Bool {
    try unsafe source.withMemory(at: offset, count: count, body)
  }
}

extension InputDocument {
  /// The document with tensors that note `file` where reading them fails.
  func noting(_ file: String, in faults: ReadFaults) -> InputDocument {
    let tensors = tensors.map { tensor in
      InputTensor(
        name: tensor.name, dtype: tensor.dtype, shape: tensor.shape,
        source: NamedSource(source: tensor.source, file: file, faults: faults))
    }
    return InputDocument(tensors: tensors, metadata: metadata, kind: kind, files: files, checkpoint: checkpoint)
  }
}
