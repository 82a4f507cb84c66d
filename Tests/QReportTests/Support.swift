import Foundation
import QCheckpoint
import QCodec
import QReport
import QVerify
import TestSupport

#if canImport(FoundationXML)
  import FoundationXML
#endif

/// A tensor of float32 to be encoded and compared with.
struct Sample {
  let name: String
  var shape: [UInt64]
  var values: [Float]

  var input: InputTensor { InputTensor(name: name, dtype: .f32, shape: shape, source: MemorySource(values)) }
}

/// A first and a second moment under a name, some zeros and many magnitudes among them.
func moments(_ name: String, shape: [UInt64], seed: UInt64) -> [Sample] {
  var generator = SeededGenerator(seed: seed)
  let count = Int(shape.reduce(1, *))
  func value(_ exponents: ClosedRange<Int>) -> Float {
    let exponent = Int.random(in: exponents, using: &generator)
    return Float(sign: .plus, exponent: exponent, significand: Float.random(in: 1..<2, using: &generator))
  }
  let m = (0..<count).map { _ in Bool.random(using: &generator) ? value(-20 ... -8) : -value(-20 ... -8) }
  let v = (0..<count).map { $0 % 97 == 0 ? 0 : value(-38 ... -20) }
  return [
    Sample(name: "\(name)/exp_avg", shape: shape, values: m),
    Sample(name: "\(name)/exp_avg_sq", shape: shape, values: v),
  ]
}

func document(_ samples: [Sample]) -> InputDocument {
  InputDocument(tensors: samples.map(\.input), metadata: [:], kind: "memory", files: [])
}

/// A checkpoint of tensors in memory under a preset.
func checkpoint(
  _ samples: [Sample], policy name: String = "adam8", metadata: [String: String] = [:]
) throws -> CheckpointReader {
  guard let policy = Policy.preset(name) else { preconditionFailure("there is no preset \(name)") }
  let tensors = samples.map(\.input)
  let plan = try policy.plan(tensors.map { TensorSummary(name: $0.name, dtype: $0.dtype, shape: $0.shape) })
  func new(_ index: Int) -> NewTensor {
    guard case .encode(let own) = plan[index].decision else { preconditionFailure("presets drop nothing") }
    return NewTensor(
      name: tensors[index].name, dtype: .f32, role: plan[index].role, encoding: own.encoding,
      negativeFallsBack: own.negativeFallsBack, source: tensors[index].source)
  }
  let partners = Set(plan.compactMap(\.partner))
  let additions: [Addition] = tensors.indices.filter { !partners.contains($0) }.map { index in
    guard let partner = plan[index].partner else { return .tensor(new(index), shape: tensors[index].shape) }
    return .pair(first: new(index), second: new(partner), shape: tensors[index].shape, fallback: nil)
  }
  var bytes: [UInt8] = []
  let writer = try unsafe CheckpointWriter(
    writing: { part throws(QCodecError) in unsafe bytes.append(contentsOf: part) }, options: .init(threads: 1))
  try writer.add(additions)
  try writer.setMetadata(
    .object(["metadata": .object(metadata.mapValues { .string($0) }), "policy": policy.json]))
  _ = try writer.finish()
  return try CheckpointReader(source: MemorySource(bytes: bytes))
}

/// The figures of a checkpoint, verified against its original where there is one.
func figures(
  _ reader: CheckpointReader, against samples: [Sample]? = nil, name: String = "state.qckpt", threads: Int = 1
) throws -> CheckpointFigures {
  let original = samples.map(document)
  let report = try Verifier(reader, threads: threads).verify(against: original)
  return try FigureCollector(reader, original: original, threads: threads).figures(
    name: name, verdict: .verified(report, compared: original != nil))
}

/// What an XML parser makes of a piece of markup.
final class Elements: NSObject, XMLParserDelegate {
  struct Element: Equatable {
    let name: String
    let attributes: [String: String]
  }

  private(set) var all: [Element] = []
  private(set) var text = ""
  private(set) var failure: String?

  /// Parses a document; `failure` tells why it is none.
  init(_ source: String) {
    super.init()
    let parser = XMLParser(data: Data(source.utf8))
    parser.delegate = self
    if !parser.parse() {
      failure = "\(parser.parserError.map(String.init(describing:)) ?? "")" + " at line \(parser.lineNumber)"
    }
  }

  func named(_ name: String) -> [Element] { all.filter { $0.name == name } }

  func parser(
    _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
    attributes: [String: String]
  ) {
    all.append(Element(name: name, attributes: attributes))
  }

  func parser(_ parser: XMLParser, foundCharacters string: String) { text += string }
}

/// A page without its style sheet and its script, which are no XML.
func withoutCode(_ html: String) -> String {
  var rest = html.replacingOccurrences(of: "<!DOCTYPE html>\n", with: "")
  for name in ["style", "script"] {
    guard let start = rest.range(of: "<\(name)>"), let end = rest.range(of: "</\(name)>") else { continue }
    rest.replaceSubrange(start.upperBound..<end.lowerBound, with: "")
  }
  return rest
}
