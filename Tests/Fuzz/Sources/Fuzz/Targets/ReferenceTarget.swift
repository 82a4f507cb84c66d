import Foundation
import QCheckpoint
import QCodec
import QVerify

/// Files as the library and as the reference reader see them: both refuse, or both find the same bits.
enum ReferenceTarget {
  private static let budget: UInt64 = 2 << 20

  static func run(_ input: [UInt8]) -> Bool {
    let opened = outcome { () throws(QCodecError) in try CheckpointReader(source: MemorySource(bytes: input)) }
    if let reader = opened.value, !isSmall(reader) { return false }
    let answer = ReferenceProcess.shared.answer(input)
    if let crash = answer["crash"]?.stringValue { fatalError("the reference reader: \(crash)") }
    let code = answer["code"]?.stringValue
    guard let reader = opened.value else {
      let own = "\(opened.error.map { "\($0.code)" } ?? "")"
      require(code == own && answer["opened"]?.boolValue == false, "\(opened), the reference reader: \(answer)")
      return true
    }
    require(code == nil || answer["opened"]?.boolValue == true, "opened, but the reference reader: \(answer)")
    let report = outcome { () throws(QCodecError) in try Verifier(reader, threads: 1).verify() }
    require((report.value?.ok == true) == (code == nil), "\(report), the reference reader: \(answer)")
    guard let tensors = answer["tensors"]?.arrayValue else { return true }
    require(tensors.count == reader.tensorCount, "another number of tensors")
    for (index, tensor) in tensors.enumerated() {
      let (name, digest) = (tensor.arrayValue?[0].stringValue, tensor.arrayValue?[1].stringValue)
      let bytes = outcome { () throws(QCodecError) in try reader.bytes(ofTensor: index, threads: 1) }
      require(name == reader.tensor(index).name, "another name")
      let own = bytes.value.map { String(format: "%016llx", xxh3($0)) }
      require(own == digest, "'\(name ?? "")' decodes to other bits: \(bytes.error as Any)")
    }
    return true
  }

  private static func isSmall(_ reader: CheckpointReader) -> Bool {
    var total: UInt64 = 0
    for index in 0..<reader.tensorCount {
      let size = reader.tensor(index).sourceBytes
      guard size <= budget - total else { return false }
      total += size
    }
    return true
  }
}

/// The reference reader, a process that is asked again and again.
private final class ReferenceProcess: Sendable {
  static let shared = ReferenceProcess()

  private let input = Pipe()
  private let output = Pipe()

  private init() {
    let environment = ProcessInfo.processInfo.environment
    guard let python = environment["QCODEC_PYTHON"], let script = environment["QCODEC_FUZZ_REFERENCE"] else {
      fatalError("QCODEC_PYTHON is to name an interpreter, QCODEC_FUZZ_REFERENCE Tests/Fuzz/reference.py")
    }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: python)
    process.arguments = [script]
    // Its allocations are not the fuzzer's to watch.
    process.environment = environment.filter { !$0.key.hasPrefix("LD_") && !$0.key.hasPrefix("ASAN") }
    (process.standardInput, process.standardOutput) = (input, output)
    do { try process.run() } catch { fatalError("the reference reader does not start: \(error)") }
  }

  /// The fuzzer's own alarm interrupts calls.
  private func retrying(_ call: () -> Int) -> Int {
    while true {
      let result = call()
      if result >= 0 || errno != EINTR { return result }
    }
  }

  /// What it says of a file.
  func answer(_ file: [UInt8]) -> [String: JSONValue] {
    var message: [UInt8] = []
    message.append(littleEndian: UInt32(file.count))
    message += file
    var start = 0
    while start < message.count {
      let rest = message[start...]
      let written = retrying {
        rest.withUnsafeBytes { write(input.fileHandleForWriting.fileDescriptor, $0.baseAddress, $0.count) }
      }
      require(written > 0, "the reference reader has ended")
      start += written
    }
    // FileHandle would wait for as many bytes as it is asked for.
    var line: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 1 << 16)
    while line.last != UInt8(ascii: "\n") {
      let count = retrying { read(output.fileHandleForReading.fileDescriptor, &piece, piece.count) }
      require(count > 0, "the reference reader has ended")
      line += piece[..<count]
    }
    let parsed = outcome { () throws(QCodecError) in try JSONValue(parsing: line) }
    guard let found = parsed.value?.objectValue else {
      fatalError("no answer: \(String(decoding: line, as: UTF8.self))")
    }
    return found
  }
}
