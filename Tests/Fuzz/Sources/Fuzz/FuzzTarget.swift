/// One thing that is fuzzed.
struct FuzzTarget: Sendable {
  /// Changes an input to at most so many bytes.
  typealias Mutator = @Sendable ([UInt8], Int, inout Random) -> [UInt8]

  /// What QCODEC_FUZZ_TARGET calls it.
  let name: String
  /// Judges an input: whatever traps, leaks or breaks a `require` is a find. False keeps the input out of the corpus.
  let run: @Sendable ([UInt8]) -> Bool
  /// nil for libFuzzer's own mutations.
  var mutate: Mutator?

  static let all: [FuzzTarget] = [
    FuzzTarget(name: "checkpoint", run: CheckpointTarget.run, mutate: CheckpointMutator.mutate),
    FuzzTarget(name: "base", run: BaseTarget.run, mutate: CheckpointMutator.mutate),
    FuzzTarget(name: "directory", run: DirectoryTarget.run),
    FuzzTarget(name: "stream", run: StreamTarget.run),
    FuzzTarget(name: "safetensors", run: DocumentTarget.runSafetensors),
    FuzzTarget(name: "npy", run: DocumentTarget.runNumpy, mutate: ArchiveMutator.mutate),
    FuzzTarget(name: "policy", run: PolicyTarget.run),
    FuzzTarget(name: "policy-text", run: PolicyTextTarget.run),
    FuzzTarget(name: "kernels", run: KernelTarget.run),
    FuzzTarget(name: "pairs", run: PairTarget.run),
    FuzzTarget(name: "bounds", run: BoundTarget.run),
    FuzzTarget(name: "optimizers", run: OptimizerTarget.run),
    FuzzTarget(name: "interface", run: InterfaceTarget.run),
    FuzzTarget(name: "reference", run: ReferenceTarget.run, mutate: CheckpointMutator.mutate),
  ]
}
