/// The element type of a tensor; the raw value is the code that files store.
public enum DType: UInt8, Sendable, CaseIterable {
  case f32 = 1
  case f64 = 2
  case f16 = 3
  case bf16 = 4
  case i8 = 5
  case i16 = 6
  case i32 = 7
  case i64 = 8
  case u8 = 9
  case u16 = 10
  case u32 = 11
  case u64 = 12
  case bool = 13
  case f8e4m3 = 14
  case f8e5m2 = 15
  case f8e8m0 = 16
  case f8e4m3fnuz = 17
  case f8e5m2fnuz = 18
  case c64 = 19
  case c128 = 20
  case f4 = 21
  case f6e2m3 = 22
  case f6e3m2 = 23

  /// Bits an element occupies; 4 and 6 for the sub-byte types.
  public var bitWidth: Int {
    switch self {
    case .f4: 4
    case .f6e2m3, .f6e3m2: 6
    case .i8, .u8, .bool, .f8e4m3, .f8e5m2, .f8e8m0, .f8e4m3fnuz, .f8e5m2fnuz: 8
    case .f16, .bf16, .i16, .u16: 16
    case .f32, .i32, .u32: 32
    case .f64, .i64, .u64, .c64: 64
    case .c128: 128
    }
  }

  /// The bytes over which byte-plane transposition strides: the element's size, 1 for sub-byte types.
  public var planeCount: Int { max(1, bitWidth / 8) }

  /// Whether a tensor of this type can be quantized: f32, f16 and bf16.
  public var isQuantizable: Bool { self == .f32 || self == .f16 || self == .bf16 }

  /// The name that safetensors gives the type, which qcodec prints too ("F32", "BF16", …).
  public var name: String {
    switch self {
    case .f32: "F32"
    case .f64: "F64"
    case .f16: "F16"
    case .bf16: "BF16"
    case .i8: "I8"
    case .i16: "I16"
    case .i32: "I32"
    case .i64: "I64"
    case .u8: "U8"
    case .u16: "U16"
    case .u32: "U32"
    case .u64: "U64"
    case .bool: "BOOL"
    case .f8e4m3: "F8_E4M3"
    case .f8e5m2: "F8_E5M2"
    case .f8e8m0: "F8_E8M0"
    case .f8e4m3fnuz: "F8_E4M3FNUZ"
    case .f8e5m2fnuz: "F8_E5M2FNUZ"
    case .c64: "C64"
    case .c128: "C128"
    case .f4: "F4"
    case .f6e2m3: "F6_E2M3"
    case .f6e3m2: "F6_E3M2"
    }
  }

  /// The elements of a quantizable type's bytes as float32, exact.
  package func floats(_ bytes: UnsafeRawBufferPointer) -> [Float] {
    let count = bytes.count / (bitWidth / 8)
    return unsafe [Float](uninitialized: count) { target, initialized in
      if let start = bytes.baseAddress, let target = target.baseAddress {
        unsafe ScalarKernels.load(start, dtype: self, count: count, into: target)
      }
      initialized = count
    }
  }

  /// Writes float32 values as elements of a quantizable type, rounded to nearest even; `bytes` has room for them all.
  package func store(_ values: [Float], into bytes: UnsafeMutableRawBufferPointer) {
    guard let target = bytes.baseAddress, !values.isEmpty else { return }
    unsafe values.withUnsafeBufferPointer { values in
      unsafe ScalarKernels.store(values.baseAddress.unsafelyUnwrapped, count: values.count, dtype: self, into: target)
    }
  }

  /// The type with a given name, or nil.
  public init?(name: String) {
    guard let type = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = type
  }

  /// Bytes of `count` contiguous elements; throws `limitExceeded` on overflow, `invalidShape` where
  /// sub-byte elements do not fill whole bytes.
  public func byteCount(elements count: UInt64) throws(QCodecError) -> UInt64 {
    let (bits, overflow) = count.multipliedReportingOverflow(by: UInt64(bitWidth))
    guard !overflow else { throw QCodecError(.limitExceeded, "\(count) elements of \(name) exceed 2^63 bytes") }
    guard bits % 8 == 0 else {
      throw QCodecError(.invalidShape, "\(count) elements of \(name) do not fill whole bytes")
    }
    return bits / 8
  }
}
