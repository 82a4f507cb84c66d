import QCheckpoint
import QCodec

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// First and second moments of as many float32 elements each, to be measured with.
struct BenchMoments {
  /// Elements of a row, and what a count of elements is a multiple of.
  static let columns = 4096

  let elements: Int
  let first: BenchMemory
  let second: BenchMemory

  private init(elements: Int) throws {
    self.elements = elements
    first = try BenchMemory(byteCount: 4 * elements, hugePages: true)
    second = try BenchMemory(byteCount: 4 * elements, hugePages: true)
  }

  /// Heavy-tailed moments, the same for every machine up to its exp2: magnitudes spread over orders, m and √v alike.
  static func synthetic(elements: Int, threads: Int) throws -> BenchMoments {
    let moments = try BenchMoments(elements: elements)
    let rows = elements / columns
    try parallelFor(count: rows, threads: threads) { row in
      var random = SplitMix(state: 0x9E37_79B9 &+ UInt64(row) << 32)
      let range = 4 * columns * row..<4 * columns * (row + 1)
      let m = unsafe moments.first.room(range).assumingMemoryBound(to: Float.self)
      let v = unsafe moments.second.room(range).assumingMemoryBound(to: Float.self)
      for column in 0..<columns {
        let magnitude = 1e-4 * exp2f(2.5 * random.normal())
        unsafe m[column] = magnitude * random.normal()
        unsafe v[column] = magnitude * magnitude * exp2f(random.normal())
      }
    }
    return moments
  }

  /// The pairs of a file as the policy `adam8` finds them, one after another up to `elements`, and repeated where they
  /// are fewer.
  ///
  /// Throws `tensorNotFound` where there is no pair, `nonFiniteValue` and `negativeValue` with the tensor for what no
  /// moment is, and the errors of reading.
  static func file(_ path: String, elements: Int) throws -> BenchMoments {
    let document = try Inputs.document(path)
    return try concerning(path) {
      let pairs = try pairs(of: document)
      guard !pairs.isEmpty else { throw QCodecError(.tensorNotFound, "no pair of a first and a second moment") }
      let moments = try BenchMoments(elements: elements)
      var filled = 0
      for (first, second) in pairs where filled < elements {
        let count = try copy(first, of: .firstMoment, to: moments.first, at: filled)
        _ = try copy(second, of: .secondMoment, to: moments.second, at: filled)
        filled += count
      }
      guard filled > 0 else { throw QCodecError(.tensorNotFound, "no pair of moments that has elements") }
      for memory in [moments.first, moments.second] { memory.repeat(first: 4 * filled) }
      return moments
    }
  }

  private static func pairs(of document: InputDocument) throws -> [(first: InputTensor, second: InputTensor)] {
    let summaries = document.tensors.map { TensorSummary(name: $0.name, dtype: $0.dtype, shape: $0.shape) }
    guard let planned = try Policy.preset("adam8")?.plan(summaries) else { return [] }
    return planned.enumerated().compactMap { index, tensor in
      tensor.partner.map { (document.tensors[index], document.tensors[$0]) }
    }
  }

  /// Copies as much of a moment as there is room for; returns its elements.
  private static func copy(
    _ tensor: InputTensor, of role: Role, to memory: BenchMemory, at start: Int
  ) throws(QCodecError) -> Int {
    let size = tensor.dtype.bitWidth / 8
    let room = unsafe memory.bytes.count / 4 - start
    let count = min(Int(tensor.source.byteCount) / size, room)
    var scan = ValueScan()
    for piece in stride(from: 0, to: count, by: TensorLayout.chunkElements) {
      let length = min(TensorLayout.chunkElements, count - piece)
      var bytes = [UInt8](repeating: 0, count: length * size)
      do throws(QCodecError) {
        try unsafe bytes.withMutableBytes { bytes throws(QCodecError) in
          try unsafe tensor.source.read(at: UInt64(piece * size), into: bytes)
          unsafe scan.scan(source: UnsafeRawBufferPointer(bytes), dtype: tensor.dtype, startingAt: UInt64(piece))
        }
      } catch {
        throw error.of(tensor)
      }
      if let found = scan.firstNonFinite {
        throw QCodecError(
          .nonFiniteValue, "\(found.value) cannot be quantized", tensor: tensor.name, index: found.index)
      }
      if role == .secondMoment, let found = scan.firstNegative {
        throw QCodecError(.negativeValue, "\(found.value) as a second moment", tensor: tensor.name, index: found.index)
      }
      let floats = unsafe bytes.withUnsafeBytes { unsafe tensor.dtype.floats($0) }
      let place = 4 * (start + piece)
      unsafe floats.withUnsafeBytes { unsafe memory.room(place..<place + $0.count).copyMemory(from: $0) }
    }
    return count
  }
}

extension BenchMemory {
  /// Repeats the first bytes to the end.
  fileprivate func `repeat`(first count: Int) {
    for start in unsafe stride(from: count, to: bytes.count, by: count) {
      let length = unsafe min(count, bytes.count - start)
      unsafe room(start..<start + length).copyMemory(from: self[0..<length])
    }
  }
}

extension QCodecError {
  /// The error with the tensor that it concerns.
  fileprivate func of(_ tensor: InputTensor) -> QCodecError {
    var named = self
    named.tensor = tensor.name
    return named
  }
}

/// The generator SplitMix64.
private struct SplitMix {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }

  /// Nearly normal: the sum of four numbers of 16 bits, its variance made 1.
  mutating func normal() -> Float {
    let bits = next()
    let sum = (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + bits >> 48
    return (Float(sum) - 131_070) * (1.732_050_8 / 65_536)
  }
}
