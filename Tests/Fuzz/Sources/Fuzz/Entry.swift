import CLibFuzzer

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The target that the environment names; there is no default, for a corpus belongs to one target.
private let selected: FuzzTarget = {
  let name = getenv("QCODEC_FUZZ_TARGET").map { String(cString: $0) }
  if let target = FuzzTarget.all.first(where: { $0.name == name }) { return target }
  print("QCODEC_FUZZ_TARGET is to be one of: \(FuzzTarget.all.map(\.name).joined(separator: " "))")
  exit(2)
}()

/// Chooses the target.
@c @implementation public func LLVMFuzzerInitialize(
  _ count: UnsafeMutablePointer<Int32>?,
  _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>?
) -> Int32 {
  // A name that is none ends the process here, before a corpus is read.
  _ = selected
  return 0
}

/// Gives the target an input.
@c @implementation public func LLVMFuzzerTestOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
  let input = [UInt8](UnsafeBufferPointer(start: data, count: size))
  return selected.run(input) ? 0 : -1
}

/// Changes an input as the target knows to.
@c @implementation public func LLVMFuzzerCustomMutator(
  _ data: UnsafeMutablePointer<UInt8>?, _ size: Int, _ maximum: Int, _ seed: UInt32
) -> Int {
  let target = UnsafeMutableBufferPointer(start: data, count: maximum)
  guard let mutate = selected.mutate else { return LLVMFuzzerMutate(data, size, maximum) }
  var random = Random(seed: UInt64(seed))
  let mutated = mutate([UInt8](target[..<size]), maximum, &random)
  // libFuzzer takes no input without bytes.
  guard !mutated.isEmpty, mutated.count <= maximum else { return LLVMFuzzerMutate(data, size, maximum) }
  for index in mutated.indices { target[index] = mutated[index] }
  return mutated.count
}
