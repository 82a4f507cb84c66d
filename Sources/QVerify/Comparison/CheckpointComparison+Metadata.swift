import QCheckpoint
import QCodec

extension CheckpointComparison {
  /// Compares what the users say of both files, and of two checkpoints all else that their metadata hold.
  func compareMetadata(_ report: inout ComparisonReport) throws(QCodecError) {
    let (own, other) = (try Self.document(of: a), try Self.document(of: b))
    let users = (a: own["metadata"]?.objectValue ?? [:], b: other["metadata"]?.objectValue ?? [:])
    report.metadata = Self.differing(users.a, users.b).map {
      MetadataDifference(key: $0, a: users.a[$0], b: users.b[$0])
    }
    guard a.checkpoint != nil, b.checkpoint != nil else { return }
    report.documentMembers = Self.differing(own, other).filter { $0 != "metadata" }
  }

  /// The members of a checkpoint's metadata document; of other formats, which have users' metadata alone, that.
  private static func document(of side: InputDocument) throws(QCodecError) -> [String: JSONValue] {
    if let checkpoint = side.checkpoint { return try checkpoint.metadata().objectValue ?? [:] }
    return ["metadata": .object(side.metadata.mapValues { .string($0) })]
  }

  private static func differing(_ a: [String: JSONValue], _ b: [String: JSONValue]) -> [String] {
    Set(a.keys).union(b.keys).filter { a[$0] != b[$0] }.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }
}
