import QCheckpoint
import QCodec

/// What `encode` is to write: every tensor of every input with the policy's decision, and the metadata.
struct EncodeJob {
  /// One tensor to be written.
  struct Item {
    /// The input that holds it, for errors.
    let file: String
    let tensor: InputTensor
    let role: Role
    let plan: Policy.TensorPlan
    /// In the update domain the item that holds the second moment.
    var partner: Int?
    /// Written with the item whose partner it is.
    var isPartner = false

    private var stored: NewTensor {
      NewTensor(
        name: tensor.name, dtype: tensor.dtype, role: role, encoding: plan.encoding,
        negativeFallsBack: plan.negativeFallsBack, compression: plan.compression, source: tensor.source)
    }

    /// What the writer takes in: the tensor, with its partner where it has one.
    func addition(in job: EncodeJob) -> Addition {
      guard let partner else { return .tensor(stored, shape: tensor.shape) }
      return .pair(
        first: stored, second: job.items[partner].stored, shape: tensor.shape, fallback: plan.fallback)
    }
  }

  private(set) var items: [Item] = []
  /// Inputs that fail while their tensors are being written.
  let faults = ReadFaults()
  /// Tensors that the policy drops.
  private(set) var dropped: [String] = []
  /// Metadata and policy, as the file stores them.
  let document: JSONValue
  /// The inputs, so that none is written over.
  let files: Set<FileIdentity>
  /// Bytes of all tensors of the inputs.
  let byteCount: UInt64

  init(inputs: [String], policy: Policy, extraMetadata: [String]) throws {
    let documents = try inputs.map { (file: $0, document: try Inputs.document($0)) }
    files = documents.reduce(into: []) { $0.formUnion($1.document.files) }
    byteCount = documents.flatMap(\.document.tensors).reduce(0) { $0 + $1.source.byteCount }
    let metadata = try Self.metadata(of: documents, extra: extraMetadata)
    document = .object([
      "metadata": .object(metadata.mapValues { .string($0) }), "policy": policy.json,
    ])
    let tensors = documents.flatMap { file, document in document.tensors.map { (file: file, tensor: $0) } }
    // By bytes, as the format compares names.
    var owner: [[UInt8]: String] = [:]
    for (file, tensor) in tensors {
      if let other = owner.updateValue(file, forKey: Array(tensor.name.utf8)) {
        throw Failure(
          QCodecError(.nameClash, "\(other) holds a tensor of the same name", tensor: tensor.name), file: file)
      }
    }
    let plan = try concerning(inputs[0]) {
      try policy.plan(
        tensors.map { TensorSummary(name: $0.tensor.name, dtype: $0.tensor.dtype, shape: $0.tensor.shape) })
    }
    add(tensors, plan)
  }

  private mutating func add(_ tensors: [(file: String, tensor: InputTensor)], _ plan: [PlannedTensor]) {
    // Where each tensor of the inputs stands among the items.
    var places: [Int: Int] = [:]
    for (index, (file, tensor)) in tensors.enumerated() {
      guard case .encode(let stored) = plan[index].decision else {
        dropped.append(tensor.name)
        continue
      }
      places[index] = items.count
      let source = NamedSource(source: tensor.source, file: file, faults: faults)
      let named = InputTensor(name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, source: source)
      items.append(Item(file: file, tensor: named, role: plan[index].role, plan: stored))
    }
    for (index, planned) in plan.enumerated() {
      guard let partner = planned.partner, let own = places[index], let other = places[partner] else { continue }
      items[own].partner = other
      items[other].isPartner = true
    }
  }

  private static func metadata(
    of documents: [(file: String, document: InputDocument)], extra: [String]
  ) throws -> [String: String] {
    var result: [String: String] = [:]
    let given = extra.map { pair in
      let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      return (key: String(parts[0]), value: String(parts[1]))
    }
    let settled = Set(given.map(\.key))
    for (file, document) in documents {
      for (key, value) in document.metadata.sorted(by: { $0.key < $1.key }) where !settled.contains(key) {
        if let other = result.updateValue(value, forKey: key), other != value {
          let message = "another input has other metadata '\(key)'; settle it with --metadata"
          throw Failure(QCodecError(.nameClash, message), file: file)
        }
      }
    }
    for (key, value) in given { result[key] = value }
    return result
  }

  /// Bytes of those tensors that are written.
  var writtenBytes: UInt64 { items.reduce(0) { $0 + $1.tensor.source.byteCount } }

  /// The input that holds a tensor.
  func file(ofTensor name: String?) -> String? { items.first { $0.tensor.name == name }?.file }

  /// One line a tensor: what it would be stored as.
  func plan(width: Int?) -> [String] {
    var table = TextTable(["tensor", "dtype", "shape", "role", "stored as"])
    for item in items {
      table.add([
        item.tensor.name, item.tensor.dtype.name, Describe.shape(item.tensor.shape), item.role.name,
        Describe.encoding(item.plan.encoding, dtype: item.tensor.dtype, shape: item.tensor.shape),
      ])
    }
    for name in dropped { table.add([name, "", "", "", "dropped"]) }
    return table.lines(width: width, leading: 5)
  }
}
