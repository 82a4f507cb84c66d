import Foundation
import QCheckpoint
import Testing

/// A tensor of a safetensors file, as its bytes.
struct Tensor: Equatable {
  var name: String
  var dtype = "F32"
  var shape: [Int]
  var bytes: [UInt8]

  init(_ name: String, _ dtype: String, _ shape: [Int], _ bytes: [UInt8]) {
    (self.name, self.dtype, self.shape, self.bytes) = (name, dtype, shape, bytes)
  }

  /// An F32 tensor of one axis.
  init(_ name: String, _ values: [Float]) {
    self.init(name, "F32", [values.count], littleEndian(values))
  }

  /// Values between −1 and 1, or 0 and 1, from a seed.
  static func noise(_ name: String, count: Int, seed: UInt64, signed: Bool = true) -> Tensor {
    var state = seed
    let values = (0..<count).map { _ -> Float in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let unit = Float(state >> 40) / 0x1p24
      return signed ? 2 * unit - 1 : unit
    }
    return Tensor(name, values)
  }

  /// The values of an F32 tensor; loads, for tests are not optimized and tensors are large.
  var values: [Float] {
    unsafe bytes.withUnsafeBytes { buffer in
      (0..<buffer.count / 4).map { unsafe buffer.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
    }
  }
}

/// Little-endian bytes.
func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
  (0..<value.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
}

/// The bytes as they lie in memory, which is little-endian wherever the command is built.
func littleEndian(_ values: [Float]) -> [UInt8] { unsafe values.withUnsafeBytes { unsafe Array($0) } }

/// A safetensors file of tensors in the given order.
func safetensors(_ tensors: [Tensor], metadata: [String: String] = [:]) -> [UInt8] {
  var members: [String: JSONValue] = [:]
  if !metadata.isEmpty { members["__metadata__"] = .object(metadata.mapValues { .string($0) }) }
  var data: [UInt8] = []
  for tensor in tensors {
    members[tensor.name] = .object([
      "dtype": .string(tensor.dtype), "shape": .array(tensor.shape.map { .integer(Int64($0)) }),
      "data_offsets": .array([.integer(Int64(data.count)), .integer(Int64(data.count + tensor.bytes.count))]),
    ])
    data += tensor.bytes
  }
  let header = Array(JSONValue.object(members).serialized().utf8)
  return littleEndian(UInt64(header.count)) + header + data
}

/// A safetensors file taken apart: tensors by name, and metadata.
struct TensorFile {
  let tensors: [String: Tensor]
  let metadata: [String: String]

  init(_ bytes: [UInt8]) throws {
    let length = (0..<8).reduce(0) { $0 | Int(bytes[$1]) << (8 * $1) }
    let document = try JSONValue(parsing: Array(bytes[8..<8 + length]))
    let header = try #require(document.objectValue)
    metadata = header["__metadata__"]?.objectValue?.compactMapValues(\.stringValue) ?? [:]
    var tensors: [String: Tensor] = [:]
    for (name, entry) in header where name != "__metadata__" {
      let shape = try #require(entry["shape"]?.integers)
      let place = try #require(entry["data_offsets"]?.integers)
      let range = 8 + length + place[0]..<8 + length + place[1]
      let dtype = try #require(entry["dtype"]?.stringValue)
      tensors[name] = Tensor(name, dtype, shape, Array(bytes[range]))
    }
    self.tensors = tensors
  }

  init(path: String) throws { try self.init(Fixture.bytes(path)) }
}
