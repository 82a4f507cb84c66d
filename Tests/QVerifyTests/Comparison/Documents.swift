import Foundation

@testable import QCheckpoint
@testable import QCodec
@testable import QVerify

/// A checkpoint in memory as a document, opened through a file that is gone when this returns.
func document(checkpoint bytes: [UInt8]) throws -> InputDocument {
  let url = FileManager.default.temporaryDirectory.appendingPathComponent("qcodec-compare-\(UUID().uuidString)")
  try Data(bytes).write(to: url)
  defer { try? FileManager.default.removeItem(at: url) }
  return try openInput(path: url.path)
}

/// A document of one F32 tensor `x`.
func floats(_ values: [Float]) -> InputDocument {
  original([Sample("x", dtype: .f32, shape: [UInt64(values.count)], bytes: Narrow.bytes(values, dtype: .f32))])
}

/// A document of one tensor `x` of any dtype.
func raw(_ dtype: DType, _ bytes: [UInt8]) -> InputDocument {
  original([Sample("x", dtype: dtype, shape: [UInt64(bytes.count * 8 / dtype.bitWidth)], bytes: bytes)])
}

/// The report of two documents.
func compare(
  _ a: InputDocument, _ b: InputDocument, limits: CheckpointComparison.Limits? = nil, epsilon: Double = 1e-8,
  threads: Int = 1
) throws -> ComparisonReport {
  try CheckpointComparison(a, b, limits: limits, epsilon: epsilon, threads: threads).compare()
}

/// The sum that Spec/Stream.md defines, in its own words: sixteen partial sums a chunk, a tree of neighbours, chunks in order.
func orderedSum(_ terms: [Double]) -> Double {
  var total = 0.0
  for start in stride(from: 0, to: terms.count, by: 262_144) {
    var sums = [Double](repeating: 0, count: 16)
    for (index, term) in terms[start..<min(start + 262_144, terms.count)].enumerated() { sums[index % 16] += term }
    while sums.count > 1 { sums = stride(from: 0, to: sums.count, by: 2).map { sums[$0] + sums[$0 + 1] } }
    total += sums[0]
  }
  return total
}
