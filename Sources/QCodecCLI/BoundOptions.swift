import ArgumentParser
import QCheckpoint
import QCodec

/// A bound as people write it: a number, or one in units of a tensor's root mean square, such as 0.15rms.
struct BoundValue: ExpressibleByArgument {
  let value: Double
  let isOfRMS: Bool

  init?(argument: String) {
    isOfRMS = argument.hasSuffix("rms")
    guard let value = Double(isOfRMS ? String(argument.dropLast(3)) : argument) else { return nil }
    self.value = value
  }
}

/// What every element is to keep: one of these, or none.
struct BoundOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The absolute error that every element keeps; 0.15rms is relative to the tensor's root mean square.",
      valueName: "error"))
  var maxAbsError: BoundValue?

  @Option(help: ArgumentHelp("The error relative to itself that every element keeps.", valueName: "error"))
  var maxRelError: BoundValue?

  @Option(
    help: ArgumentHelp(
      "The error that the update m/(√v + ε) of every pair of moments keeps in every element, or 0.15rms.",
      valueName: "error"))
  var maxUpdateError: BoundValue?

  private var given: [(name: String, kind: RequestedBound.Kind, value: BoundValue)] {
    let options: [(String, RequestedBound.Kind, BoundValue?)] = [
      ("max-abs-error", .absolute, maxAbsError), ("max-rel-error", .relative, maxRelError),
      ("max-update-error", .update, maxUpdateError),
    ]
    return options.compactMap { name, kind, value in value.map { (name, kind, $0) } }
  }

  func validate() throws {
    guard given.count < 2 else {
      throw ValidationError("one bound is wanted: --max-abs-error, --max-rel-error or --max-update-error")
    }
    _ = try requested(epsilon: 1e-8)
  }

  /// The bound; nil where none is given.
  func requested(epsilon: Double) throws -> RequestedBound? {
    guard let (name, kind, value) = given.first else { return nil }
    do throws(QCodecError) {
      return try RequestedBound(kind, value.value, isOfRMS: value.isOfRMS, epsilon: epsilon)
    } catch {
      throw ValidationError("--\(name): \(error.message)")
    }
  }
}
