import QCheckpoint
import QCodec
import QVerify

extension Model {
  /// The arrays of each parameter, by the endings of their names, which tell the policy what they are.
  private static let arrays: [(ending: String, array: WritableKeyPath<Parameter, [Float]> & Sendable)] = [
    ("", \.value), (".exp_avg", \.first), (".exp_avg_sq", \.second),
  ]

  /// The state as tensors in memory.
  private var tensors: [InputTensor] {
    parameters.flatMap { parameter in
      Self.arrays.map { ending, array in
        InputTensor(
          name: parameter.name + ending, dtype: .f32, shape: parameter.shape,
          source: MemorySource(parameter[keyPath: array]))
      }
    }
  }

  /// Saves the state: moments in 8 bits, parameters bit for bit. The file of the last time stays until all is written.
  func save(to path: String) throws(QCodecError) -> WriteSummary {
    guard let policy = Policy.preset("adam8") else { throw QCodecError(.invalidPolicy, "there is no policy adam8") }
    let tensors = tensors
    let plan = try policy.plan(tensors.map { TensorSummary(name: $0.name, dtype: $0.dtype, shape: $0.shape) })
    let seconds = Set(plan.compactMap(\.partner))
    func new(_ index: Int, _ stored: Policy.TensorPlan) -> NewTensor {
      NewTensor(
        name: tensors[index].name, dtype: tensors[index].dtype, role: plan[index].role, encoding: stored.encoding,
        source: tensors[index].source)
    }
    var additions: [Addition] = []
    for index in tensors.indices where !seconds.contains(index) {
      guard case .encode(let stored) = plan[index].decision else { continue }
      if let second = plan[index].partner, case .encode(let other) = plan[second].decision {
        // A first moment is stored divided by the root of its second moment: they are added together.
        additions.append(
          .pair(
            first: new(index, stored), second: new(second, other), shape: tensors[index].shape,
            fallback: stored.fallback))
      } else {
        additions.append(.tensor(new(index, stored), shape: tensors[index].shape))
      }
    }
    let writer = try CheckpointWriter(path: path)
    try writer.add(additions, measuring: Self.epsilon)
    try writer.setMetadata(
      .object([
        "metadata": .object(["step": .string("\(step)"), "rate": .string("\(Self.rate)")]), "policy": policy.json,
      ]))
    return try writer.finish()
  }

  /// A model where a checkpoint stands.
  init(resuming path: String) throws(QCodecError) {
    self.init()
    let reader = try CheckpointReader(path: path)
    guard let text = try reader.metadata()["metadata"]?["step"]?.stringValue, let step = Int(text) else {
      throw QCodecError(.invalidArgument, "the checkpoint does not say at which step it was written")
    }
    self.step = step
    for index in parameters.indices {
      for (ending, array) in Self.arrays {
        let name = parameters[index].name + ending
        guard let tensor = reader.find(name) else { throw QCodecError(.tensorNotFound, "missing", tensor: name) }
        let bytes = try reader.bytes(ofTensor: tensor)
        guard bytes.count == parameters[index].value.count * 4 else {
          throw QCodecError(.shapeMismatch, "of another size than the model's", tensor: name)
        }
        parameters[index][keyPath: array] = bytes.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
      }
    }
  }

  /// Holds every element of a checkpoint against the state and the bound that the file states.
  func verify(_ path: String) throws(QCodecError) -> VerificationReport {
    let original = InputDocument(tensors: tensors, metadata: [:], kind: "a model in memory", files: [])
    return try Verifier(CheckpointReader(path: path)).verify(against: original)
  }
}
