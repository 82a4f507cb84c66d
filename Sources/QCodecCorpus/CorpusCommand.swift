import ArgumentParser

/// `qcodec-corpus`: proof by many damaged files that nothing is lost without a word.
@main
struct CorpusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "qcodec-corpus", abstract: "Damage checkpoints in many ways, or measure what opening files allocates.",
    subcommands: [DamageCommand.self, ForgeryCommand.self, AllocationCommand.self])
}
