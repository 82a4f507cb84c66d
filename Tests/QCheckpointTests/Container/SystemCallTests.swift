import Foundation
import QCodec
import Testing

@testable import QCheckpoint

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Notes the calls of an output file, and lets one of them fail.
private final class WatchedSystem: OutputSystem {
  /// The calls so far, with what files they were made on.
  private(set) var calls: [String] = []
  private var names: [Int32: String] = [:]
  /// The number of the call that fails, counted from 0, with what errno, and on how many calls from there on.
  var failing: (call: Int, errno: Int32, times: Int)?
  /// Bytes that a write takes at most.
  var largestWrite = Int.max

  /// Notes a call; whether it is to fail.
  private func fails(_ call: String) -> Bool {
    calls.append(call)
    guard let failing, (failing.call..<failing.call + failing.times).contains(calls.count - 1) else { return false }
    errno = failing.errno
    return true
  }

  private func name(_ path: String) -> String {
    let name = path.split(separator: "/").last.map(String.init) ?? "/"
    return name.hasSuffix(".qcodec-partial") ? "temporary" : name
  }

  override func open(_ path: String, flags: Int32, mode: mode_t = 0) -> Int32 {
    if fails("open \(name(path))") { return -1 }
    let descriptor = super.open(path, flags: flags, mode: mode)
    names[descriptor] = name(path)
    return descriptor
  }

  override func write(_ descriptor: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int {
    fails("write \(names[descriptor] ?? "?")") ? -1 : unsafe super.write(descriptor, bytes, min(count, largestWrite))
  }

  override func truncate(_ descriptor: Int32, to length: UInt64) -> Int32 {
    fails("truncate \(names[descriptor] ?? "?")") ? -1 : super.truncate(descriptor, to: length)
  }

  override func synchronise(_ descriptor: Int32) -> Int32 {
    fails("synchronise \(names[descriptor] ?? "?")") ? -1 : super.synchronise(descriptor)
  }

  override func rename(_ old: String, to new: String) -> Int32 {
    fails("rename \(name(old)) \(name(new))") ? -1 : super.rename(old, to: new)
  }

  override func lock(_ descriptor: Int32) -> Int32 {
    fails("lock \(names[descriptor] ?? "?")") ? -1 : super.lock(descriptor)
  }

  override func remove(_ path: String) -> Int32 { fails("remove \(name(path))") ? -1 : super.remove(path) }

  override func close(_ descriptor: Int32) -> Int32 {
    let failed = fails("close \(names[descriptor] ?? "?")")
    // The descriptor is gone all the same, as the system has it.
    return super.close(descriptor) != 0 || failed ? -1 : 0
  }
}

@Suite("The calls by which a file is put in place, in order, and each of them failing")
struct SystemCallTests {
  private let folder: InputFolder
  private let old: [UInt8] = [1, 2, 3]
  private let new = [UInt8](repeating: 71, count: 9 << 20)

  init() throws {
    folder = try InputFolder()
    _ = try folder.write(old, "c.qckpt")
  }

  private var folderName: String { folder.url.lastPathComponent }

  /// Replaces the file; the error of what failed.
  private func replace(_ system: WatchedSystem) -> QCodecError? {
    inputError {
      let file = try OutputFile(path: folder.path("c.qckpt"), system: system)
      for start in stride(from: 0, to: new.count, by: 3 << 20) {
        try file.write(Array(new[start..<min(start + 3 << 20, new.count)]))
      }
      try file.commit()
    }
  }

  @Test("The file is on the disk before it has its name, and the name before the call returns")
  func order() throws {
    let system = WatchedSystem()
    #expect(replace(system) == nil)
    #expect(
      system.calls == [
        "open temporary", "lock temporary", "write temporary", "write temporary", "write temporary",
        "truncate temporary", "synchronise temporary", "rename temporary c.qckpt", "close temporary",
        "open \(folderName)", "synchronise \(folderName)", "close \(folderName)",
      ])
    #expect(try folder.read("c.qckpt") == new)
    #expect(try folder.names == ["c.qckpt"])
  }

  @Test("Any call failing leaves the old file or the new one, and no temporary", arguments: [EIO, ENOSPC, EDQUOT])
  func failures(number: Int32) throws {
    for call in 0..<12 {
      _ = try folder.write(old, "c.qckpt")
      let system = WatchedSystem()
      system.failing = (call, number, 1)
      let error = replace(system)
      let found = try folder.read("c.qckpt")
      let what = system.calls[call]
      #expect(try folder.names == ["c.qckpt"], "\(what)")
      // A folder that cannot be opened or flushed is told of, but the file is there. A lock that the system does not
      // give, and a close after the flush, are no failures.
      let isHarmless = ["lock", "close"].contains { what.hasPrefix($0) }
      #expect(found == (isHarmless || what.hasSuffix(folderName) ? new : old), "\(what)")
      #expect(isHarmless == (error == nil), "\(what)")
      guard let error else { continue }
      #expect(error.code == .io && error.message.hasPrefix("cannot "), "\(what): \(error)")
      #expect(error.message.contains("in place") == (found == new), "\(what): \(error)")
    }
  }

  @Test("Interrupts and short writes go unnoticed")
  func interrupts() throws {
    for call in [0, 1, 2, 4, 5, 6, 9, 10] {
      _ = try folder.write(old, "c.qckpt")
      let system = WatchedSystem()
      system.failing = (call, EINTR, 3)
      system.largestWrite = 100_000
      #expect(replace(system) == nil, "\(system.calls[call])")
      #expect(try folder.read("c.qckpt") == new)
      #expect(try folder.names == ["c.qckpt"])
    }
  }

  @Test("A file that cannot even be removed is what the next writer removes")
  func failedRemoval() throws {
    let system = WatchedSystem()
    // From the flush on nothing works.
    system.failing = (6, EIO, 100)
    #expect(replace(system)?.code == .io)
    #expect(try folder.read("c.qckpt") == old)
    #expect(try folder.names.count == 2)
    #expect(replace(WatchedSystem()) == nil)
    #expect(try folder.names == ["c.qckpt"])
  }
}
