import Foundation
import QCheckpoint
import Testing

/// What opening any file allocates, against the bounds of Spec/README.md, *Security*: measured by a program that counts every
/// allocation of its process.
@Suite struct AllocationTests {
  private struct Measured {
    let path: String
    let byteCount: Int
    let opening: Int
    let metadata: Int?
    let verifying: Int?
    let salvage: Int?
  }

  /// Every file of a folder of the repository, those in folders within it too, but for what is hidden or built.
  private static func files(_ folder: String) throws -> [String] {
    let root = Fixture.root.appendingPathComponent(folder).path
    guard FileManager.default.fileExists(atPath: root) else { return [] }
    return try FileManager.default.subpathsOfDirectory(atPath: root)
      .filter { !$0.split(separator: "/").contains { $0.hasPrefix(".") } }.map { "\(root)/\($0)" }
      .filter { path in
        var isFolder: ObjCBool = false
        return unsafe FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && !isFolder.boolValue
      }.sorted()
  }

  /// Measures files; nil where allocations cannot be counted.
  private static func measure(_ files: [String]) throws -> [Measured]? {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: try Command.corpus())
    process.arguments = ["allocations"] + files
    let (output, errors) = (Pipe(), Pipe())
    (process.standardOutput, process.standardError) = (output, errors)
    try process.run()
    let text = try output.fileHandleForReading.readToEnd() ?? Data()
    let complaint = String(decoding: try errors.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
    process.waitUntilExit()
    if complaint.contains("allocations are not counted") {
      print("skipped: \(complaint)")
      return nil
    }
    try #require(process.terminationStatus == 0, "\(complaint)")
    let lines = String(decoding: text, as: UTF8.self).split(separator: "\n")
    try #require(lines.count == files.count)
    return try lines.map { line in
      let fields = line.split(separator: " ", maxSplits: 5).map(String.init)
      return Measured(
        path: fields[5], byteCount: try #require(Int(fields[0])), opening: try #require(Int(fields[1])),
        metadata: Int(fields[2]), verifying: Int(fields[3]), salvage: Int(fields[4]))
    }
  }

  private static let kibibyte = 1024
  private static let mebibyte = 1024 * 1024

  private static func expectBounded(_ files: [String]) throws {
    guard let measured = try measure(files) else { return }
    for file in measured {
      let size = file.byteCount
      let opening = 16 * size + (file.salvage != nil ? 64 * kibibyte : mebibyte)
      #expect(file.opening <= opening, "opening \(file.path) of \(size): \(file.opening)")
      if let peak = file.metadata {
        #expect(peak <= 40 * size + 64 * kibibyte, "metadata of \(file.path) of \(size): \(peak)")
      }
      if let peak = file.verifying {
        #expect(peak <= 40 * size + 8 * mebibyte, "verifying \(file.path) of \(size): \(peak)")
      }
      if let peak = file.salvage {
        #expect(peak <= 40 * size + 8 * mebibyte, "salvage of \(file.path) of \(size): \(peak)")
      }
    }
  }

  @Test(arguments: ["Fixtures/invalid", "Fixtures/golden", "Fixtures/inputs", "Fixtures/real", "Fixtures/peers"])
  func everyFixtureIsOpenedWithinTheBound(folder: String) throws {
    let files = try Self.files(folder)
    try #require(!files.isEmpty)
    try Self.expectBounded(files)
  }

  /// What fuzzers begin with and what they found to be new, of the targets whose inputs are files.
  @Test(arguments: ["checkpoint", "reference", "directory", "safetensors", "npy"])
  func everyFuzzedFileIsOpenedWithinTheBound(target: String) throws {
    let work = try Workspace()
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    let python = ProcessInfo.processInfo.environment["QCODEC_PYTHON"] ?? "python3"
    process.arguments = [python, Fixture.root.appendingPathComponent("Tests/Fuzz/seeds.py").path, work.path("seeds")]
    try process.run()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0)
    let names = try FileManager.default.contentsOfDirectory(atPath: work.path("seeds/\(target)")).sorted()
    try #require(!names.isEmpty)
    try Self.expectBounded(names.map { work.path("seeds/\(target)/\($0)") })
  }

  /// Documents that make the most of their bytes: small values, keys, levels.
  @Test func theWorstMetadataAreOpenedWithinTheBound() throws {
    let work = try Workspace()
    let count = 20_000
    let documents = [
      "[" + String(repeating: "0,", count: count) + "0]", "[" + String(repeating: "[],", count: count) + "0]",
      "[" + String(repeating: "{},", count: count) + "0]", "[" + String(repeating: "[0],", count: count) + "0]",
      "[" + String(repeating: "{\"\":0},", count: count) + "0]", "[" + String(repeating: "\"\",", count: count) + "0]",
      "[" + String(repeating: "\"0123456789abcdef\",", count: count) + "0]",
      "{" + (0..<count).map { "\"\($0)\":0" }.joined(separator: ",") + "}",
      "["
        + String(repeating: String(repeating: "[", count: 100) + String(repeating: "]", count: 100) + ",", count: 200)
        + "0]",
    ]
    var files: [String] = []
    for (index, document) in documents.enumerated() {
      let writer = try CheckpointWriter(path: work.path("\(index).qckpt"))
      try writer.setMetadata(.object(["k": JSONValue(parsing: document)]))
      _ = try writer.finish()
      files.append(work.path("\(index).qckpt"))
    }
    try Self.expectBounded(files)
  }

  /// The smallest tensors, by a directory and, in a file cut short, by what stands before their chunks.
  @Test func theSmallestTensorsAreOpenedWithinTheBound() throws {
    let work = try Workspace()
    let writer = try CheckpointWriter(path: work.path("whole"))
    for index in 0..<2000 {
      try writer.add(
        name: "\(index)", dtype: .u8, shape: [1], encoding: .lossless(reason: .none), source: MemorySource(bytes: [7]))
    }
    _ = try writer.finish()
    let bytes = try work.read("whole")
    try work.write(Array(bytes.dropLast()), "cut")
    var spoiled = bytes
    spoiled[bytes.count - 97] ^= 1
    spoiled[bytes.count - 300] ^= 1
    try work.write(spoiled, "spoiled")
    try Self.expectBounded(["whole", "cut", "spoiled"].map(work.path))
  }
}
