import Foundation
import QCheckpoint
import Testing

/// The reference reader of Spec/, run as a process: another program in another language.
enum ReferenceReader {
  private static let program = """
    import json, sys
    sys.path.insert(0, sys.argv[1])
    import qckpt_reader as spec

    def read(path):
        try:
            checkpoint = spec.read_file(path)
            summary = spec.summary(checkpoint)
        except spec.QckptError as error:
            return {"code": error.code}
        except Exception as error:
            return {"code": "crash: %r" % error}
        for entry, t in zip(summary["tensors"], checkpoint.tensors):
            entry["xxh3"] = "%016x" % spec.xxh3(checkpoint.read(t))
            entry["recomputed"], entry["recomputed_rel"] = spec.guarantee(checkpoint, t)
        return summary

    print(json.dumps({path: read(path) for path in sys.stdin.read().split("\\n")}))
    """

  /// What the reference reader finds in each file: a summary with digests, or the code of the refusal.
  ///
  /// nil where QCODEC_PYTHON names no interpreter, said on standard output; in CI that fails the test.
  static func read(_ paths: [String], test: String) throws -> [String: JSONValue]? {
    let environment = ProcessInfo.processInfo.environment
    guard let python = environment["QCODEC_PYTHON"] else {
      print("skipped, for QCODEC_PYTHON is not set: \(test), \(paths.count) files")
      if environment["CI"] == "true" { Issue.record("CI must set QCODEC_PYTHON") }
      return nil
    }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: python)
    process.arguments = ["-c", program, Fixtures.root.appendingPathComponent("Spec/Reference").path]
    let (input, output) = (Pipe(), Pipe())
    (process.standardInput, process.standardOutput) = (input, output)
    try process.run()
    // The process reads all of it before it writes.
    try input.fileHandleForWriting.write(contentsOf: Data(paths.joined(separator: "\n").utf8))
    try input.fileHandleForWriting.close()
    let text = try output.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0, "the reference reader ended with \(process.terminationStatus)")
    let found = try JSONValue(parsing: [UInt8](text)).objectValue
    try #require(found?.count == paths.count)
    return found
  }
}
