// Documented in qcodec.h, which is the manual of these functions.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation

import CQCodec
import QCheckpoint
import QCodec

/// Flattens into what `make` makes of the reader, and tells what was done.
private func flatten(
  _ handle: OpaquePointer?, _ threads: Int32, _ flattened: UnsafeMutablePointer<qcodec_flattened>?,
  _ make: (CheckpointReader) throws(QCodecError) -> CheckpointFlattener
) throws(QCodecError) {
  let reader = try unsafe checkpoint(handle)
  let bytes = try make(reader).write(threads: threadCount(threads))
  let related = reader.relatedChunks
  unsafe flattened?.pointee = qcodec_flattened(
    input_bytes: reader.fileBytes, output_bytes: bytes, chunks: UInt64(reader.chunkCount),
    base_chunks: UInt64(related.equal), difference_chunks: UInt64(related.different),
    bases: UInt64(reader.chainLength))
}

@c @implementation public func qcodec_flatten(
  _ handle: OpaquePointer?, _ path: UnsafePointer<CChar>?, _ threads: Int32,
  _ flattened: UnsafeMutablePointer<qcodec_flattened>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let path = try unsafe text(path, "path")
    try unsafe flatten(handle, threads, flattened) { reader throws(QCodecError) in
      try CheckpointFlattener(reader, path: path)
    }
  }
}

@c @implementation public func qcodec_flatten_fd(
  _ handle: OpaquePointer?, _ descriptor: Int32, _ threads: Int32,
  _ flattened: UnsafeMutablePointer<qcodec_flattened>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    try unsafe flatten(handle, threads, flattened) { reader throws(QCodecError) in
      try CheckpointFlattener(reader, descriptor: descriptor)
    }
  }
}

@c @implementation public func qcodec_flatten_function(
  _ handle: OpaquePointer?, _ write: qcodec_write_function?, _ context: UnsafeMutableRawPointer?, _ threads: Int32,
  _ flattened: UnsafeMutablePointer<qcodec_flattened>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    let take = try unsafe writing(write, context)
    try unsafe flatten(handle, threads, flattened) { reader throws(QCodecError) in
      unsafe CheckpointFlattener(reader, writing: take)
    }
  }
}
