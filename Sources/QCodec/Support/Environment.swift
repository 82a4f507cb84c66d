import CQCodecKernels

/// Runs `body` in the codec's floating-point environment and restores the caller's.
///
/// Hosts change it (`torch.set_flush_denormal`, `fesetround`), and decoding is exact only under round-to-nearest with
/// subnormals kept. Every public entry that computes goes through here; so does every worker thread.
public func withCodecEnvironment<Result, Failure: Error>(
  _ body: () throws(Failure) -> Result
) throws(Failure) -> Result {
  let saved = qcodec_environment_enter()
  defer { qcodec_environment_leave(saved) }
  return try body()
}
