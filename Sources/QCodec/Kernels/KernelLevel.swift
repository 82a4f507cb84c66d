import CQCodecKernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The instruction sets that kernels are compiled for. All of them give the same bytes; they differ in speed alone.
public enum KernelLevel: Int32, Sendable, CaseIterable {
  /// The Swift reference, which every other level equals bit for bit.
  case scalar = 0
  case sse2 = 1
  case avx2 = 2
  case avx512 = 3
  case neon = 4

  /// The name in `QCODEC_KERNELS` and JSON.
  public var name: String {
    switch self {
    case .scalar: "scalar"
    case .sse2: "sse2"
    case .avx2: "avx2"
    case .avx512: "avx512"
    case .neon: "neon"
    }
  }

  /// The level of a name, or nil.
  public init?(name: String) {
    guard let match = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = match
  }

  /// Whether this machine runs the level.
  public var isSupported: Bool { qcodec_level_supported(rawValue) != 0 }

  /// The best level that this machine runs.
  public static let best = KernelLevel(rawValue: qcodec_level_best()) ?? .scalar

  /// The level that is used where none is asked for: what the environment variable `QCODEC_KERNELS` names, else the best.
  ///
  /// A name that is unknown, or that this machine does not run, counts as `scalar`: nothing faster than what was asked for
  /// runs unnoticed.
  public static let selected: KernelLevel = {
    guard let name = unsafe getenv("QCODEC_KERNELS").map({ unsafe String(cString: $0) }), !name.isEmpty else {
      return best
    }
    guard let level = KernelLevel(name: name), level.isSupported else { return .scalar }
    return level
  }()
}

extension DType {
  /// What kernels call a quantizable type.
  package var kernelCode: Int32 {
    switch self {
    case .bf16: Int32(qcodec_dtype_bf16)
    case .f16: Int32(qcodec_dtype_f16)
    default: Int32(qcodec_dtype_f32)
    }
  }
}

/// A table as kernels want it, made once and shared.
///
/// Safe: written by its initialiser alone, freed with the object.
@safe package final class KernelTable: @unchecked Sendable {
  package let pointer: UnsafePointer<qcodec_table>
  private let memory: UnsafeMutableRawPointer
  /// Whether a kernel encodes with the table; all decode with it.
  package let encodes: Bool
  /// The codes that kernels tell apart: 16, or 256 where they have a byte each.
  let codeCount: Int

  /// The table of entries; without thresholds it is an import, which is decoded only.
  init(entries: [Float], thresholds: [Float], signed: Bool) {
    // On a cache line, which the alignment of the C type does not ask for: Swift imports no such type.
    let memory = UnsafeMutableRawPointer.allocate(byteCount: MemoryLayout<qcodec_table>.size, alignment: 64)
    let pointer = unsafe memory.bindMemory(to: qcodec_table.self, capacity: 1)
    // Codes of widths between 4 and 8, or below, are given to kernels one a byte.
    let isPacked = entries.count == 16
    let padded = isPacked ? entries : entries + repeatElement(entries[entries.count - 1], count: 256 - entries.count)
    let served = unsafe padded.withUnsafeBufferPointer { entries in
      unsafe thresholds.withUnsafeBufferPointer { thresholds in
        unsafe qcodec_table_prepare(
          pointer, entries.baseAddress, thresholds.baseAddress, Int32(thresholds.count + 1),
          isPacked ? 4 : 8, signed ? 1 : 0)
      }
    }
    encodes = served != 0 && !thresholds.isEmpty
    codeCount = padded.count
    unsafe self.memory = memory
    unsafe self.pointer = UnsafePointer(pointer)
  }

  deinit { unsafe memory.deallocate() }
}

/// What statistics need to know of a table, as kernels want it.
///
/// Safe: written by its initialiser alone, freed with the object.
@safe final class KernelCells: @unchecked Sendable {
  let pointer: UnsafePointer<qcodec_cells>

  init(_ radii: CellRadii, table: KernelTable) {
    let pointer = UnsafeMutablePointer<qcodec_cells>.allocate(capacity: 1)
    let count = table.codeCount
    // No encoder takes the codes beyond: they are to have the least rank.
    let padded = radii.radii + repeatElement(0, count: count - radii.radii.count)
    unsafe padded.withUnsafeBufferPointer {
      unsafe qcodec_cells_prepare(pointer, table.pointer, $0.baseAddress)
    }
    unsafe self.pointer = UnsafePointer(pointer)
  }

  deinit { unsafe pointer.deallocate() }
}
