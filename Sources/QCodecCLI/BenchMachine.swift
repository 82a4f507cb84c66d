import QCheckpoint
import QCodec

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// What figures were measured on: nothing that names the machine itself.
struct BenchMachine {
  let cpu: String
  let processors = availableThreads()
  let system: String

  init() {
    var names = utsname()
    unsafe uname(&names)
    let architecture = Self.text(&names.machine)
    cpu = Self.cpuModel ?? architecture
    // What distributions append to a release is left out.
    let release = Self.text(&names.release).prefix { $0 != "-" }
    system = "\(Self.text(&names.sysname)) \(release) \(architecture)"
  }

  var json: JSONValue {
    .object(["cpu": .string(cpu), "processors": .count(processors), "os": .string(system)])
  }

  private static var cpuModel: String? {
    #if canImport(Darwin)
      var (name, size) = ([UInt8](repeating: 0, count: 256), 256)
      guard unsafe sysctlbyname("machdep.cpu.brand_string", &name, &size, nil, 0) == 0 else { return nil }
      return String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
    #else
      let line = SystemText.lines(of: "/proc/cpuinfo").first { $0.hasPrefix("model name") }
      return line?.split(separator: ":", maxSplits: 1).last.map { String($0.drop { $0 == " " }) }
    #endif
  }

  /// The text of a field, a tuple of characters that ends with a zero.
  private static func text<Field>(_ field: inout Field) -> String {
    unsafe withUnsafeBytes(of: &field) { unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}
