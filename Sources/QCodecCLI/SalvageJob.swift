import QCheckpoint
import QCodec

/// What `decode --salvage` can restore of a checkpoint, and what not.
struct SalvageJob {
  /// A reader of what is left, by the file's own directory where that is sound.
  let reader: CheckpointReader
  /// The tensors to write, numbers of the reader.
  private(set) var whole: [Int] = []
  /// The names of tensors of which an element is lost.
  private(set) var lost: [String] = []
  private let isDirectoryLost: Bool

  /// Looks a file over, every element of it; throws for what is no checkpoint and where no tensor matches.
  init(_ path: String, filter: TensorFilter, threads: Int) throws {
    let file = try Inputs.file(path)
    do {
      reader = try CheckpointReader(file: file)
      isDirectoryLost = false
    } catch let error where error.leavesTensorsToSalvage {
      guard let salvage = try? Salvage(file: file) else { throw Failure(error, file: path) }
      reader = salvage.reader
      isDirectoryLost = true
      lost = salvage.tensors.filter { !$0.isWhole && filter.holds($0.name) }.map(\.name)
    } catch {
      throw Failure(error, file: path)
    }
    // By bytes: names that differ only in Unicode normalisation are names of different tensors.
    var names: Set<[UInt8]> = []
    for index in 0..<reader.tensorCount {
      let name = reader.tensor(index).name
      // A damaged file may hold a piece of itself twice.
      guard filter.holds(name), names.insert(Array(name.utf8)).inserted else { continue }
      if Self.decodes(index, of: reader, threads: threads) { whole.append(index) } else { lost.append(name) }
    }
    if whole.isEmpty, lost.isEmpty, !isDirectoryLost { _ = try filter.indices(in: reader, file: path) }
  }

  /// Whether every element can be decoded.
  private static func decodes(_ index: Int, of reader: CheckpointReader, threads: Int) -> Bool {
    do throws(QCodecError) {
      try unsafe reader.stream([index], threads: threads) { _ in }
      return true
    } catch {
      return false
    }
  }

  /// What was lost, in one line; nil where all was restored.
  func failure(of path: String) -> Failure? {
    guard !lost.isEmpty || isDirectoryLost else { return nil }
    let names = lost.isEmpty ? "no tensor that was found" : lost.map { "'\($0)'" }.joined(separator: ", ")
    let rest = isDirectoryLost ? "; the directory, the metadata and what stood behind the damage are lost too" : ""
    return Failure("lost: \(names)\(rest)", file: path, status: .failed)
  }
}
