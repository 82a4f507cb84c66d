import Foundation
import QCodec
import TestSupport
import Testing

@testable import QCheckpoint

/// Files whose every element keeps a bound that was asked for.
@Suite("Error bounds")
struct BoundPlannerTests {
  /// A pair and two other tensors; the first moment has outliers, the second one zeros.
  private static func additions(_ count: Int = 6000) -> [Addition] {
    var generator = SeededGenerator(seed: 21)
    func values(_ range: ClosedRange<Int>) -> [Float] {
      (0..<count).map { _ in
        let exponent = Int.random(in: range, using: &generator)
        // Mantissas that no lossless stage makes smaller.
        return Float(
          sign: Bool.random(using: &generator) ? .minus : .plus, exponent: exponent,
          significand: Float.random(in: 1..<2, using: &generator))
      }
    }
    var m = values(-14 ... -8)
    var v = values(-20 ... -14).map(\.magnitude)
    (m[7], v[9], m[9], v[11], m[11]) = (3, 0, 0, 0, 1e-3)
    func tensor(_ name: String, _ values: [Float], _ scheme: Scheme? = nil) -> NewTensor {
      NewTensor(
        name: name, dtype: .f32, encoding: scheme.map { .quantized($0) } ?? .lossless(reason: .none),
        source: MemorySource(values))
    }
    let first = Scheme(map: .cubic, bits: 8, signed: true, scaling: .block(256), domain: .update)
    let second = Scheme(map: .log, bits: 8, signed: false, scaling: .block(512))
    let shape = [UInt64(count)]
    return [
      .pair(first: tensor("m", m, first), second: tensor("v", v, second), shape: shape, fallback: nil),
      .tensor(tensor("w", values(-3...3)), shape: shape),
      .tensor(tensor("few", Array(values(-3...3).prefix(100))), shape: [100]),
      .tensor(tensor("zeros", [Float](repeating: 0, count: count)), shape: shape),
    ]
  }

  private static func file(
    _ request: RequestedBound, _ additions: [Addition], compression: Compression = .zstd, threads: Int = 1
  ) throws -> [UInt8] {
    var options = WriterOptions(compression: compression, threads: threads)
    options.allowsEscapes = true
    var bytes: [UInt8] = []
    let writer = try unsafe CheckpointWriter(
      writing: { chunk throws(QCodecError) in unsafe bytes.append(contentsOf: chunk) }, options: options)
    try writer.add(BoundPlanner(request, options: options).bounded(additions), measuring: 1e-8)
    try writer.setMetadata(.object([RequestedBound.member: request.json]))
    _ = try writer.finish()
    return bytes
  }

  private static func floats(_ reader: CheckpointReader, _ name: String) throws -> [Double] {
    let index = try #require(reader.find(name))
    return try unsafe reader.bytes(ofTensor: index).withBytes { unsafe DType.f32.floats($0).map(Double.init) }
  }

  private static func source(_ additions: [Addition], _ name: String) throws -> [Double] {
    let tensor = try #require(additions.flatMap(\.tensors).first { $0.name == name })
    let bytes = try tensor.source.bytes(at: 0, count: Int(tensor.source.byteCount))
    return unsafe bytes.withBytes { unsafe DType.f32.floats($0).map(Double.init) }
  }

  @Test("Each element of each tensor keeps it, under every lossless stage", arguments: Compression.allCases)
  func elements(_ compression: Compression) throws {
    let additions = Self.additions()
    for request in try [
      RequestedBound(.absolute, 1e-4), RequestedBound(.absolute, 0.1, isOfRMS: true), RequestedBound(.relative, 0.05),
      RequestedBound(.relative, 1e-4),
    ] {
      let reader = try opened(Self.file(request, additions, compression: compression))
      try reader.checkAllBytes(threads: 1)
      #expect(try reader.requestedBound() == request)
      var quantized = 0
      for name in ["m", "v", "w", "few", "zeros"] {
        let (exact, decoded) = (try Self.source(additions, name), try Self.floats(reader, name))
        let rms = (exact.reduce(0) { $0 + $1 * $1 } / Double(exact.count)).squareRoot()
        for (x, y) in zip(exact, decoded) {
          let limit =
            request.kind == .relative ? request.value * x.magnitude : request.value * (request.isOfRMS ? rms : 1)
          #expect((x - y).magnitude <= limit, "\(name): \(x), \(y)")
        }
        let info = reader.tensor(try #require(reader.find(name)))
        if info.scheme != nil { quantized += 1 }
        if request.kind == .absolute, let scheme = info.scheme, scheme.map == .linear {
          #expect(try #require(info.guaranteedMaxAbsError) <= request.value * (request.isOfRMS ? rms : 1))
        }
      }
      #expect(quantized > 0, "\(request)")
      #expect(reader.tensor(try #require(reader.find("few"))).reason == .tooSmall)
    }
  }

  @Test("Each update of a pair keeps it")
  func updates() throws {
    let additions = Self.additions()
    for request in try [RequestedBound(.update, 0.05), RequestedBound(.update, 0.1, isOfRMS: true)] {
      let reader = try opened(Self.file(request, additions))
      let (m, v) = (try Self.source(additions, "m"), try Self.source(additions, "v"))
      let (m̂, v̂) = (try Self.floats(reader, "m"), try Self.floats(reader, "v"))
      let bound = UpdateBound(limit: request.value)
      let squares = m.indices.reduce(0) { $0 + bound.update(m[$1], v[$1]) * bound.update(m[$1], v[$1]) }
      let limit = request.value * (request.isOfRMS ? (squares / Double(m.count)).squareRoot() : 1)
      for index in m.indices {
        #expect((bound.update(m[index], v[index]) - bound.update(m̂[index], v̂[index])).magnitude <= limit)
      }
      #expect(reader.tensor(try #require(reader.find("m"))).scheme?.domain == .update)
      #expect(reader.tensor(try #require(reader.find("w"))).scheme == nil)
      #expect(try #require(reader.measuredPairs.first).error.maxAbsError <= limit)
    }
  }

  @Test("The bytes do not depend on the number of threads")
  func threads() throws {
    for request in try [RequestedBound(.update, 0.05), RequestedBound(.absolute, 1e-4)] {
      let files = try [1, 2, 5].map { try Self.file(request, Self.additions(), threads: $0) }
      #expect(files[0] == files[1] && files[0] == files[2])
    }
  }

  @Test("Several chunks, slices of them, and what is left of a file without its end")
  func chunksAndSalvage() throws {
    let count = TensorLayout.chunkElements + 4000
    let additions = Self.additions(count)
    for compression in Compression.allCases {
      let bytes = try Self.file(RequestedBound(.update, 0.05), additions, compression: compression)
      let reader = try opened(bytes)
      let index = try #require(reader.find("m"))
      let whole = try reader.bytes(ofTensor: index)
      let start = UInt64(TensorLayout.chunkElements - 100)
      var part = [UInt8](repeating: 0, count: 4 * 3000)
      try unsafe part.withMutableBytes { target throws(QCodecError) in
        try unsafe reader.readRows(tensor: index, rows: start..<start + 3000, into: target, threads: 2)
      }
      #expect(part == Array(whole[Int(start) * 4..<(Int(start) + 3000) * 4]))
      // The directory is cut off; frames do not tell how long escapes are.
      let salvage = try Salvage(source: MemorySource(bytes: Array(bytes.dropLast(100))))
      #expect(salvage.tensors.count == 5 && salvage.tensors.allSatisfy(\.isWhole))
      let own = try #require(salvage.reader.find("m"))
      #expect(try salvage.reader.bytes(ofTensor: own) == whole)
    }
  }

  @Test("Streams and codes alone are refused")
  func refused() throws {
    let reader = try opened(Self.file(RequestedBound(.absolute, 1e-4), Self.additions()))
    let index = try #require(reader.find("m"))
    var bytes = [UInt8](repeating: 0, count: try #require(try reader.streamByteCount(of: index)))
    let error = inputError {
      try unsafe bytes.withMutableBytes { target throws(QCodecError) in
        try unsafe reader.readStream(tensor: index, into: target)
      }
    }
    #expect(error?.code == .unsupportedScheme && error?.tensor == "m")
  }

  @Test("A bound takes a writer that allows escapes, and a sound value")
  func arguments() throws {
    let bounded = try BoundPlanner(RequestedBound(.absolute, 1e-4), options: WriterOptions()).bounded(Self.additions())
    let writer = try unsafe CheckpointWriter(writing: { _ throws(QCodecError) in })
    #expect(inputError { try writer.add(bounded) }?.code == .invalidArgument)
    for (kind, value, isOfRMS) in [
      (RequestedBound.Kind.absolute, 0.0, false), (.absolute, -1, false), (.absolute, .infinity, false),
      (.absolute, .nan, false), (.relative, 1, false), (.relative, 0.1, true),
    ] {
      #expect(inputError { _ = try RequestedBound(kind, value, isOfRMS: isOfRMS) }?.code == .invalidArgument)
    }
    let json = try RequestedBound(.update, 0.15, isOfRMS: true, epsilon: 1e-6).json
    #expect(try RequestedBound(json: json) == RequestedBound(.update, 0.15, isOfRMS: true, epsilon: 1e-6))
    for text in ["{}", #"{"kind":"absolute"}"#, #"{"kind":"absolute","value":1,"x":1}"#, #"{"kind":"up","value":1}"#] {
      let document = try JSONValue(parsing: Array(text.utf8))
      #expect(inputError { _ = try RequestedBound(json: document) }?.code == .invalidJSON)
    }
  }

  @Test("A writer plans what it is given; what fails once values are looked at gives it up")
  func planningWriter() throws {
    let request = try RequestedBound(.update, 0.1, isOfRMS: true)
    var options = WriterOptions(compression: .zstd, threads: 2)
    options.allowsEscapes = true
    let planner = BoundPlanner(request, options: options)
    var bytes: [UInt8] = []
    let writer = try unsafe CheckpointWriter(
      writing: { chunk throws(QCodecError) in unsafe bytes.append(contentsOf: chunk) }, options: options)
    let additions = Self.additions()
    let short = Addition.tensor(additions[1].tensors[0], shape: [6001])
    #expect(inputError { try writer.add([short], planning: planner) }?.code == .shapeMismatch)
    try writer.add(additions, planning: planner, measuring: 1e-8)
    try writer.setMetadata(.object([RequestedBound.member: request.json]))
    _ = try writer.finish()
    #expect(try bytes == Self.file(request, additions))

    let failing = unsafe CallbackSource(byteCount: 24_000) { (_, _) throws(QCodecError) in throw QCodecError(.io, "no")
    }
    let unread = NewTensor(name: "x", dtype: .f32, encoding: .lossless(reason: .none), source: failing)
    let other = try unsafe CheckpointWriter(writing: { _ throws(QCodecError) in }, options: options)
    let relative = try BoundPlanner(RequestedBound(.relative, 0.1), options: options)
    let error = inputError { try other.add([.tensor(unread, shape: [6000])], planning: relative) }
    #expect(error?.code == .io && error?.tensor == "x")
    #expect(inputError { _ = try other.finish() }?.code == .writerClosed)
  }

  @Test("What is not finite is refused, or stored as it is")
  func nonFinite() throws {
    var values = [Float](repeating: 1, count: 5000)
    values[4321] = .nan
    let tensor = NewTensor(
      name: "x", dtype: .f32, encoding: .lossless(reason: .none), source: MemorySource(values))
    let additions = [Addition.tensor(tensor, shape: [5000])]
    let request = try RequestedBound(.relative, 0.1)
    let error = inputError { _ = try BoundPlanner(request, options: WriterOptions()).bounded(additions) }
    #expect(error?.code == .nonFiniteValue && error?.index == 4321 && error?.tensor == "x")
    let raw = try BoundPlanner(request, options: WriterOptions(), nonFinite: .raw).bounded(additions)
    #expect(raw[0].tensors[0].encoding == .lossless(reason: .nonFinite))
  }
}
