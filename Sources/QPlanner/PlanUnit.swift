import QCheckpoint
import QCodec

/// What a plan decides on at once: a first moment with the second moment that it is divided by, or a moment alone.
public struct PlanUnit: Sendable {
  /// The signed moment: a first moment, a momentum.
  public let first: InputTensor?
  /// The second moment.
  public let second: InputTensor?

  /// The tensors of the unit, the first moment first.
  public var tensors: [InputTensor] { [first, second].compactMap(\.self) }

  /// Elements of each tensor: parameters that the unit belongs to.
  public let elements: Int

  /// Chunks of each tensor; the last may be short.
  var chunkCount: Int { (elements + TensorLayout.chunkElements - 1) / TensorLayout.chunkElements }

  /// Whether both moments are there.
  public var isPair: Bool { first != nil && second != nil }

  /// Whether tensors have a dtype that can be quantized.
  var isQuantizable: Bool { tensors.allSatisfy(\.dtype.isQuantizable) }

  /// Smaller tensors are lossless under every preset, and take no part in plans.
  public static let minElements: UInt64 = 4096

  init(first: InputTensor?, second: InputTensor?, elements: UInt64) {
    self.first = first
    self.second = second
    self.elements = Int(elements)
  }

  /// The moments of a document of 4,096 elements and more, in the order of the file; a pair stands where its first does.
  ///
  /// Throws `limitExceeded` where an element count exceeds 60 bits.
  public static func units(of document: InputDocument) throws(QCodecError) -> [PlanUnit] {
    let tensors = document.tensors
    let recognizer = RoleRecognizer(names: tensors.map(\.name))
    let seconds = Dictionary(document.momentPairs().map { ($0.first, $0.second) }) { first, _ in first }
    let partners = Set(seconds.values)
    var units: [PlanUnit] = []
    for (index, tensor) in tensors.enumerated() where !partners.contains(index) {
      let count = try TensorLayout.elementCount(of: tensor.shape)
      guard count < 1 << 60 else { throw QCodecError(.limitExceeded, "too many elements", tensor: tensor.name) }
      guard count >= minElements else { continue }
      let known = recognizer.role(of: tensor.name)
      switch known == .other ? tensor.role : known {
      case .firstMoment, .momentum:
        units.append(PlanUnit(first: tensor, second: seconds[index].map { tensors[$0] }, elements: count))
      case .secondMoment: units.append(PlanUnit(first: nil, second: tensor, elements: count))
      default: continue
      }
    }
    return units
  }
}
