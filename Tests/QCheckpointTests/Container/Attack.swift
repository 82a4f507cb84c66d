import QCodec
import Testing

@testable import QCheckpoint

/// One change of a good file whose checksums are right afterwards, and the error that it must give.
struct Attack: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let code: QCodecError.Code
  let change: @Sendable (inout CheckpointPatch) -> Void

  init(_ name: String, _ code: QCodecError.Code, _ change: @escaping @Sendable (inout CheckpointPatch) -> Void) {
    (testDescription, self.code, self.change) = (name, code, change)
  }

  /// Sets a byte of the record of the quantized tensor ("q": its chunk is the file's first).
  static func quantized(_ name: String, _ field: Int, _ values: [UInt8], _ code: QCodecError.Code) -> [Attack] {
    values.map { value in
      Attack("\(name) \(value)", code) { $0.set(directoryAt: $0.record(AttackFile.quantized) + field, value) }
    }
  }

  /// Sets an integer of the record of the quantized tensor.
  static func quantized<Value: FixedWidthInteger & Sendable>(
    _ name: String, _ field: Int, wide values: [Value], _ code: QCodecError.Code
  ) -> [Attack] {
    values.map { value in
      Attack("\(name) \(value)", code) { $0.set(directoryAt: $0.record(AttackFile.quantized) + field, value) }
    }
  }

  /// Sets a field of the record of the lossless tensor.
  static func lossless<Value: FixedWidthInteger & Sendable>(
    _ name: String, _ field: Int, _ value: Value, _ code: QCodecError.Code
  ) -> Attack {
    Attack(name, code) { $0.set(directoryAt: $0.record(AttackFile.lossless) + field, value) }
  }
}

/// The file that the attacks begin with: names "custom", "lossless", "quantized", added in another order.
enum AttackFile {
  static let custom = 0
  static let lossless = 1
  static let quantized = 2

  static func bytes() throws -> [UInt8] {
    try checkpoint {
      try $0.add(
        "quantized", momentValues(300, signed: true, seed: 21), shape: [3, 100],
        Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(32)))
      try $0.add("lossless", bytes: noise(200, seed: 22))
      try $0.add(
        "custom", momentValues(31, signed: true, seed: 23),
        Scheme(map: .custom, bits: 4, signed: true, scaling: .tensor, customTable: try customTable()))
      try $0.setMetadata(.object(["k": .string("v")]))
    }
  }
}

extension CheckpointPatch {
  /// Changes the entries of the first table and makes its digest right.
  mutating func replaceTable(_ change: (inout [Float]) -> Void) {
    let start = tables + TableField.entries
    let fields = ByteFields(bytes: directory)
    var entries = (0..<16).map { Float(bitPattern: fields.read(start + $0 * 4, as: UInt32.self)) }
    change(&entries)
    let bytes = littleEndian(floats: entries)
    directory.replaceSubrange(start..<start + bytes.count, with: bytes)
    set(directoryAt: tables + TableField.digest, xxh3(bytes))
  }

  /// Gives the tensors other names, in the order of their records.
  mutating func rename(_ names: [String]) {
    var section: [UInt8] = []
    for (index, name) in names.enumerated() {
      set(directoryAt: record(index) + RecordField.nameOffset, UInt64(section.count))
      set(directoryAt: record(index) + RecordField.nameLength, UInt32(name.utf8.count))
      section += Array(name.utf8)
    }
    directory.replaceSubrange(self.names..., with: section)
    set(.nameBytes, UInt64(section.count))
  }
}
