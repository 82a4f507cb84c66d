import QCheckpoint
import QCodec
import QVerify

/// Damages a file once and looks at all that the library says of it.
struct CaseRun {
  let file: IntactFile
  let damaged: DamagedFile
  private let source: MemorySource

  init(_ file: IntactFile, _ damaged: DamagedFile) {
    self.file = file
    self.damaged = damaged
    source = MemorySource(bytes: damaged.bytes)
  }

  func run(number: UInt64, mutation: Mutation) -> CaseResult {
    // Bytes that were swapped with equal ones, say: the file is the intact one, and there is nothing to find.
    guard !damaged.bytes.equals(file.bytes, file.bytes.indices) else {
      return CaseResult(
        number: number, mutation: mutation, outcome: .harmless, isDetectedByReading: false, hasDirectory: true,
        recovered: 0, undamaged: 0, failure: nil)
    }
    let (outcome, byReading) = judged()
    let salvage = SalvageCheck(file, damaged).run(source)
    return CaseResult(
      number: number, mutation: mutation, outcome: outcome, isDetectedByReading: byReading,
      hasDirectory: salvage.hasDirectory, recovered: salvage.recovered, undamaged: salvage.undamaged,
      failure: salvage.failure ?? unnamedDamage())
  }

  /// What reading every tensor, then verifying, makes of the file.
  private func judged() -> (CaseOutcome, byReading: Bool) {
    let reader: CheckpointReader
    let metadata: JSONValue
    do throws(QCodecError) {
      reader = try CheckpointReader(source: source)
      metadata = try reader.metadata()
    } catch {
      return (.detected, true)
    }
    var isDetected = false
    guard metadata == file.metadata, reader.tensorCount == file.tensors.count else { return (.missed, false) }
    for (index, tensor) in file.tensors.enumerated() {
      guard reader.tensor(index).isLike(tensor.info) else { return (.missed, false) }
      do throws(QCodecError) {
        // Wrong values of one tensor are not made good by an error of another.
        let bytes = try reader.bytes(ofTensor: index, threads: 1)
        guard bytes.equals(tensor.bytes, tensor.bytes.indices) else { return (.missed, false) }
      } catch {
        isDetected = true
      }
    }
    if isDetected { return (.detected, true) }
    do throws(QCodecError) {
      guard try Verifier(reader, threads: 1).verify().ok else { return (.detected, false) }
    } catch {
      return (.detected, false)
    }
    // A verifier that passes over a changed byte is as wrong as one that accepts a changed value.
    return (.missed, false)
  }

  /// Whether the list of damage leaves out a chunk whose stored bytes are not what they were; nil where it is complete.
  private func unnamedDamage() -> String? {
    guard let reader = try? CheckpointReader(source: source) else { return nil }
    guard let damage = try? reader.damage(threads: 1) else { return "looking for damage fails" }
    let named = Set(damage.map { [$0.tensor, $0.chunk] })
    for chunk in file.chunks {
      if !damaged.bytes.agrees(with: file.bytes, in: chunk.stored),
        !named.contains([chunk.location.tensor, chunk.location.chunk])
      {
        return "verify does not name \(chunk.location)"
      }
    }
    return nil
  }
}

extension TensorInfo {
  /// Whether all that the directory says of a tensor is the same.
  fileprivate func isLike(_ other: TensorInfo) -> Bool {
    name == other.name && dtype == other.dtype && shape == other.shape && role == other.role && reason == other.reason
      && Self.areAlike(scheme, other.scheme) && Self.patterns(statistics) == Self.patterns(other.statistics)
      && reference == other.reference
      && guaranteedMaxAbsError == other.guaranteedMaxAbsError && guaranteedMaxRelError == other.guaranteedMaxRelError
      && storedBytes == other.storedBytes && compressions == other.compressions
  }

  /// The figures to the bit: what is not guaranteed is NaN.
  private static func patterns(_ figures: TensorStatistics) -> [UInt64] {
    let errors = [
      figures.maxAbsError, figures.maxScaledError, figures.squaredError, figures.squaredSource,
      figures.guaranteedMaxAbsError,
    ]
    return errors.map(\.bitPattern) + [figures.zerosCreated, figures.signChanges]
  }

  /// Whether schemes are the same to the bit: tables of imports hold NaN, which equals nothing.
  private static func areAlike(_ one: Scheme?, _ other: Scheme?) -> Bool {
    func patterns(_ scheme: Scheme?) -> [UInt32]? { scheme?.customTable?.entries.map(\.bitPattern) }
    func plain(_ scheme: Scheme?) -> Scheme? {
      var copy = scheme
      copy?.customTable = nil
      return copy
    }
    return plain(one) == plain(other) && patterns(one) == patterns(other)
  }
}
