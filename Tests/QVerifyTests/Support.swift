@testable import QCodec
import TestSupport

typealias SeededGenerator = TestSupport.SeededGenerator

/// Heavy-tailed values that a dtype holds exactly: many magnitudes, some zeros.
func heavyTailed(count: Int, signed: Bool, dtype: DType, seed: UInt64) -> [Float] {
  var generator = SeededGenerator(seed: seed)
  let exponents = dtype == .f16 ? -24...14 : -40...20
  return (0..<count).map { _ in
    if Int.random(in: 0..<12, using: &generator) == 0 { return 0 }
    let magnitude = Float(sign: .plus, exponent: Int.random(in: exponents, using: &generator), significand: 1)
    let value = magnitude * Float.random(in: 1..<2, using: &generator)
    return Narrow.nearest(signed && Bool.random(using: &generator) ? -value : value, dtype: dtype)
  }
}

let quantizableDTypes: [DType] = [.f32, .bf16, .f16]

/// The dtypes that can be quantized, by their bit patterns.
enum Narrow {
  /// The value of the dtype nearest to a float32.
  static func nearest(_ value: Float, dtype: DType) -> Float { self.value(pattern(value, dtype: dtype), dtype: dtype) }

  /// The bit pattern of the nearest value.
  static func pattern(_ value: Float, dtype: DType) -> UInt32 {
    switch dtype {
    case .bf16: UInt32(ScalarKernels.bfloat(value))
    case .f16: UInt32(ScalarKernels.half(value))
    default: value.bitPattern
    }
  }

  /// The value of a pattern; exact.
  static func value(_ pattern: UInt32, dtype: DType) -> Float {
    switch dtype {
    case .bf16: Float(bitPattern: pattern << 16)
    case .f16: ScalarKernels.float(half: UInt16(truncatingIfNeeded: pattern))
    default: Float(bitPattern: pattern)
    }
  }

  /// Values as bytes of the dtype, which holds them exactly.
  static func bytes(_ values: [Float], dtype: DType) -> [UInt8] {
    values.flatMap { littleEndian(pattern($0, dtype: dtype), size: dtype.bitWidth / 8) }
  }
}

/// The low bytes of an integer.
func littleEndian(_ value: some FixedWidthInteger, size: Int? = nil) -> [UInt8] {
  (0..<(size ?? value.bitWidth / 8)).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
}

extension TensorCodec {
  /// Encodes values that the dtype holds exactly.
  func encode(exact values: [Float]) throws -> (stream: [UInt8], statistics: TensorStatistics) {
    let bytes = Narrow.bytes(values, dtype: layout.dtype)
    var stream = [UInt8](repeating: 0, count: encodedByteCount)
    var target = stream.mutableSpan
    var span = unsafe target.mutableBytes
    let statistics = try unsafe encode(bytes.span.bytes, into: &span, threads: 1)
    return (stream, statistics)
  }

  /// Decodes to bytes of the dtype.
  func decode(bytes stream: [UInt8]) throws -> [UInt8] {
    var values = [UInt8](repeating: 0, count: decodedByteCount)
    var target = values.mutableSpan
    var span = unsafe target.mutableBytes
    try unsafe decode(stream.span.bytes, into: &span, threads: 1)
    return values
  }
}

/// The error that `body` throws, or nil.
func failure(_ body: () throws -> Void) -> QCodecError? {
  do {
    try body()
    return nil
  } catch { return error as? QCodecError }
}
