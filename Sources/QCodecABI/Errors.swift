// Documented in qcodec.h, which is the manual of these functions.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation

import CQCodec
import QCodec

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Where a function puts its error, if anywhere.
public typealias ErrorPlace = UnsafeMutablePointer<OpaquePointer?>?

/// An error across the ABI, its strings made once.
@safe final class ErrorBox {
  let error: QCodecError
  let message: UnsafeMutablePointer<CChar>
  let description: UnsafeMutablePointer<CChar>
  let tensor: UnsafeMutablePointer<CChar>?

  init(_ error: QCodecError) {
    self.error = error
    unsafe message = cString(error.message)
    unsafe description = cString(error.description)
    unsafe tensor = error.tensor.map { unsafe cString($0) }
  }

  deinit {
    unsafe free(message)
    unsafe free(description)
    unsafe free(tensor)
  }
}

/// Runs the body of a function of the ABI: its error becomes a status and an object.
func perform(_ place: ErrorPlace, _ body: () throws(QCodecError) -> Void) -> qcodec_status {
  unsafe place?.pointee = nil
  do throws(QCodecError) {
    try body()
    return 0
  } catch {
    if let place = unsafe place { unsafe place.pointee = handle(ErrorBox(error)) }
    return error.code.rawValue
  }
}

/// The error for an argument that cannot be.
func invalid(_ what: String) -> QCodecError { QCodecError(.invalidArgument, what) }

// MARK: Handles

/// A handle that owns an object.
func handle<Object: AnyObject>(_ object: Object) -> OpaquePointer {
  unsafe OpaquePointer(Unmanaged.passRetained(object).toOpaque())
}

/// The object of a handle; throws for NULL.
func object<Object: AnyObject>(
  _ handle: OpaquePointer?, _ type: Object.Type, _ name: String
) throws(QCodecError) -> Object {
  guard let handle = unsafe handle else { throw invalid("\(name) is NULL") }
  return unsafe Unmanaged<Object>.fromOpaque(UnsafeRawPointer(handle)).takeUnretainedValue()
}

/// Gives up a handle; NULL is none.
func release<Object: AnyObject>(_ handle: OpaquePointer?, _ type: Object.Type) {
  if let handle = unsafe handle { unsafe Unmanaged<Object>.fromOpaque(UnsafeRawPointer(handle)).release() }
}

/// Makes the object of a handle to be given; the place is NULL where it fails.
func give<Object: AnyObject>(
  _ place: UnsafeMutablePointer<OpaquePointer?>?, _ make: () throws(QCodecError) -> Object?
) throws(QCodecError) {
  guard let place = unsafe place else { throw invalid("the place for a handle is NULL") }
  unsafe place.pointee = nil
  if let made = try make() { unsafe place.pointee = handle(made) }
}

// MARK: Text

/// A copy that `free` frees.
func cString(_ text: String) -> UnsafeMutablePointer<CChar> {
  // Where memory is out, nothing else of the library could go on either.
  guard let copy = unsafe strdup(text) else { fatalError("out of memory") }
  return unsafe copy
}

/// Gives a string to be freed by the caller.
func give(_ text: String, _ place: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) throws(QCodecError) {
  guard let place = unsafe place else { throw invalid("the place for a string is NULL") }
  unsafe place.pointee = cString(text)
}

/// The text of an argument; throws for NULL and for what is no UTF-8.
func text(_ argument: UnsafePointer<CChar>?, _ name: String) throws(QCodecError) -> String {
  guard let argument = unsafe argument else { throw invalid("\(name) is NULL") }
  guard let text = unsafe String(validatingCString: argument) else { throw invalid("\(name) is not valid UTF-8") }
  return text
}

/// The bytes of a text given with its length.
func textBytes(_ argument: UnsafePointer<CChar>?, _ length: Int, _ name: String) throws(QCodecError) -> [UInt8] {
  try unsafe [UInt8](bytes(argument, length, name))
}

/// More bytes than any process can address: sizes from here on are mistakes.
private let addressSpace = 1 << 56

/// Memory that an argument points to; throws for NULL, unless there are no bytes, and for a size beyond what can be.
func bytes(_ pointer: UnsafeRawPointer?, _ size: Int, _ name: String) throws(QCodecError) -> UnsafeRawBufferPointer {
  guard (0..<addressSpace).contains(size) else { throw invalid("\(name) has an impossible size") }
  guard unsafe pointer != nil || size == 0 else { throw invalid("\(name) is NULL") }
  return unsafe UnsafeRawBufferPointer(start: pointer, count: size)
}

/// As `bytes`, to be written to.
func room(
  _ pointer: UnsafeMutableRawPointer?, _ size: Int, _ name: String
) throws(QCodecError) -> UnsafeMutableRawBufferPointer {
  unsafe UnsafeMutableRawBufferPointer(mutating: try bytes(pointer, size, name))
}

/// Elements of an array that an argument points to; throws as `bytes`.
func elements<Element>(
  _ pointer: UnsafePointer<Element>?, _ count: Int, _ name: String
) throws(QCodecError) -> UnsafeBufferPointer<Element> {
  guard (0..<addressSpace / MemoryLayout<Element>.stride).contains(count) else {
    throw invalid("\(name) has an impossible size")
  }
  guard unsafe pointer != nil || count == 0 else { throw invalid("\(name) is NULL") }
  return unsafe UnsafeBufferPointer(start: pointer, count: count)
}

/// Threads to use.
func threadCount(_ argument: Int32) -> Int { argument <= 0 ? availableThreads() : min(Int(argument), 1024) }

// MARK: The functions

@c @implementation public func qcodec_abi_version() -> UInt32 { UInt32(QCODEC_ABI_VERSION) }

/// "0.1.0", for as long as the process lives.
private nonisolated(unsafe) let versionText = unsafe UnsafePointer(cString(qcodecVersion))
private nonisolated(unsafe) let emptyText = unsafe UnsafePointer(cString(""))

@c @implementation public func qcodec_version() -> UnsafePointer<CChar>! { unsafe versionText }

@c @implementation public func qcodec_available_threads() -> Int32 { Int32(clamping: availableThreads()) }

@c @implementation public func qcodec_error_code(_ error: OpaquePointer?) -> qcodec_status {
  (try? unsafe object(error, ErrorBox.self, "error"))?.error.code.rawValue ?? 0
}

@c @implementation public func qcodec_error_message(_ error: OpaquePointer?) -> UnsafePointer<CChar>! {
  guard let box = try? unsafe object(error, ErrorBox.self, "error") else { return unsafe emptyText }
  return unsafe UnsafePointer(box.message)
}

@c @implementation public func qcodec_error_description(_ error: OpaquePointer?) -> UnsafePointer<CChar>! {
  guard let box = try? unsafe object(error, ErrorBox.self, "error") else { return unsafe emptyText }
  return unsafe UnsafePointer(box.description)
}

@c @implementation public func qcodec_error_tensor(_ error: OpaquePointer?) -> UnsafePointer<CChar>! {
  guard let box = try? unsafe object(error, ErrorBox.self, "error") else { return nil }
  return unsafe UnsafePointer(box.tensor)
}

@c @implementation public func qcodec_error_offset(
  _ error: OpaquePointer?, _ offset: UnsafeMutablePointer<UInt64>?
) -> Int32 {
  unsafe give((try? object(error, ErrorBox.self, "error"))?.error.offset, offset)
}

@c @implementation public func qcodec_error_element(
  _ error: OpaquePointer?, _ element: UnsafeMutablePointer<UInt64>?
) -> Int32 {
  unsafe give((try? object(error, ErrorBox.self, "error"))?.error.index, element)
}

private func give(_ number: UInt64?, _ place: UnsafeMutablePointer<UInt64>?) -> Int32 {
  guard let number else { return 0 }
  unsafe place?.pointee = number
  return 1
}

@c @implementation public func qcodec_error_free(_ error: OpaquePointer?) { unsafe release(error, ErrorBox.self) }

@c @implementation public func qcodec_string_free(_ string: UnsafeMutablePointer<CChar>?) { unsafe free(string) }

@c @implementation public func qcodec_dtype_bits(_ dtype: Int32) -> UInt32 {
  UInt32((try? elementType(dtype))?.bitWidth ?? 0)
}

/// The type of a number; throws `invalidArgument`.
func elementType(_ number: Int32) throws(QCodecError) -> DType {
  guard let type = UInt8(exactly: number).flatMap(DType.init(rawValue:)) else {
    throw invalid("\(number) is no element type")
  }
  return type
}
