import QCodec

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The error of the last failed system call: what was attempted and what the system says.
func systemError(_ action: String) -> QCodecError {
  let number = errno
  let text = unsafe strerror(number).map { unsafe String(cString: $0) } ?? "error \(number)"
  return QCodecError(.io, "cannot \(action): \(text)")
}

/// Calls `body` again while a signal interrupts it.
func retryingInterrupts<Result: SignedInteger>(_ body: () -> Result) -> Result {
  while true {
    let result = body()
    if result >= 0 || errno != EINTR { return result }
  }
}
