// Documented in qcodec.h, which is the manual of these functions.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation

import CQCodec
import QCodec

@c @implementation public func qcodec_cancellation_create(
  _ place: UnsafeMutablePointer<OpaquePointer?>?, _ error: ErrorPlace
) -> qcodec_status {
  unsafe perform(error) { () throws(QCodecError) in
    try unsafe give(place) { () throws(QCodecError) in Cancellation() }
  }
}

@c @implementation public func qcodec_cancellation_use(_ handle: OpaquePointer?) {
  Cancellation.use(try? unsafe object(handle, Cancellation.self, "cancellation"))
}

@c @implementation public func qcodec_cancellation_cancel(_ handle: OpaquePointer?) {
  guard let handle = unsafe handle else { return }
  // Nothing but the store: this may be a signal handler.
  unsafe Unmanaged<Cancellation>.fromOpaque(UnsafeRawPointer(handle))._withUnsafeGuaranteedRef { $0.cancel() }
}

@c @implementation public func qcodec_cancellation_is_cancelled(_ handle: OpaquePointer?) -> Int32 {
  (try? unsafe object(handle, Cancellation.self, "cancellation"))?.isCancelled == true ? 1 : 0
}

@c @implementation public func qcodec_cancellation_free(_ handle: OpaquePointer?) {
  unsafe release(handle, Cancellation.self)
}
