import QCodec

/// Roles by the names that PyTorch, optax, bitsandbytes, DeepSpeed, Keras and Hugging Face give.
///
/// A name is cut at `.` `/` `:` `[` `]` `(` `)` `,` quotes and spaces. A component counts as a whole, so that
/// `momentum_encoder.weight` is no momentum; the unmistakable names count as endings too (`wte.weight_exp_avg`). Names
/// that are also ordinary ones (`m`, `v`, `mu`, `nu`) count only where a file has a tensor under both of a pair. Rows
/// and columns of factored moments, and the codes and scales of quantized ones, are `other`.
public struct RoleRecognizer: Sendable {
  /// Names that mean nothing else; components may also end in one after `_` or `-`.
  private static let certain: [String: Role] = [
    // torch.optim: Adam, SGD, RMSprop, Adadelta
    "exp_avg": .firstMoment, "exp_avg_sq": .secondMoment, "max_exp_avg_sq": .secondMoment,
    "momentum_buffer": .momentum, "square_avg": .secondMoment, "grad_avg": .firstMoment, "acc_delta": .secondMoment,
    // the same, in lists
    "exp_avgs": .firstMoment, "exp_avg_sqs": .secondMoment, "max_exp_avg_sqs": .secondMoment,
    "momentum_buffers": .momentum, "square_avgs": .secondMoment,
    // optax
    "sum_of_squares": .secondMoment, "nu_max": .secondMoment,
    // others
    "exp_avg_slow": .firstMoment, "exp_avg_fast": .firstMoment, "first_moment": .firstMoment,
    "second_moment": .secondMoment, "master_weight": .masterWeight, "master_weights": .masterWeight,
    "master_param": .masterWeight, "master_params": .masterWeight, "fp32_param": .masterWeight,
    "fp32_params": .masterWeight, "single_partition_of_fp32_groups": .masterWeight,
  ]

  /// Names that a module might have too; whole components only.
  private static let likely: [String: Role] = [
    "momentum": .momentum, "velocity": .momentum, "trace": .momentum, "moment1": .firstMoment,
    "moment2": .secondMoment, "adam_m": .firstMoment, "adam_v": .secondMoment, "fp32": .masterWeight,
    "master": .masterWeight,
  ]

  /// Components of parameters' own names; they count where nothing tells of a state.
  private static let parameters: Set<String> = [
    "param", "params", "model", "weight", "bias", "kernel", "embedding", "scale",
  ]

  /// What counts steps of a parameter, whatever the parameter is called.
  private static let counters: Set<String> = [
    "step", "steps", "step_count", "global_step", "count", "iteration", "iterations", "num_batches_tracked",
  ]

  /// First and second moment where a file has both: optax and MLX, bitsandbytes, Keras.
  private static let pairs: [(first: String, second: String)] = [
    ("m", "v"), ("mu", "nu"), ("state1", "state2"), ("momentum", "velocity"),
  ]

  /// What quantized states consist of, directly under the state's name.
  private static let parts: Set<String> = [
    "codes", "scale", "scales", "qmap", "absmax", "absmax1", "absmax2", "qmap1", "qmap2", "overhead",
  ]

  private static let pairedRoles: [String: Role] = Dictionary(
    uniqueKeysWithValues: pairs.flatMap { [($0.first, .firstMoment), ($0.second, .secondMoment)] })

  private static let partners: [String: String] = Dictionary(
    uniqueKeysWithValues: pairs.flatMap { [($0.first, $0.second), ($0.second, $0.first)] })

  /// The names of the pairs that this file has.
  private let paired: Set<String>
  private let hasAdagradSum: Bool
  private let names: Set<NameKey>

  /// A recognizer for the names of one checkpoint.
  public init(names: some Sequence<String>) {
    let names = Set(names.lazy.map(NameKey.init))
    var paired: Set<String> = []
    var (hasSum, hasStep) = (false, false)
    for name in names {
      for component in Self.components(of: name.text) {
        if component.text == "sum" { hasSum = true }
        if component.text == "step" { hasStep = true }
        for (first, second) in Self.pairs
        where component.text == first && !paired.contains(first)
          && names.contains(NameKey(name.text.replacing(component.part, by: second)))
        {
          paired.formUnion([first, second])
        }
      }
    }
    self.names = names
    self.paired = paired
    // torch.optim.Adagrad keeps `sum` beside `step`.
    hasAdagradSum = hasSum && hasStep
  }

  /// A part of a name between separators.
  struct Component {
    let part: Substring
    let text: String
  }

  /// What tells of a role, the surest first.
  private enum Evidence: CaseIterable {
    case certain, exactPair, loosePair, likely
  }

  /// The role of a tensor's name.
  public func role(of name: String) -> Role {
    let components = Self.components(of: name)
    for evidence in Evidence.allCases {
      for index in components.indices.reversed() {
        guard let role = role(of: components[index], in: name, by: evidence) else { continue }
        let next = index + 1
        return next == components.count - 1 && Self.parts.contains(components[next].text) ? .other : role
      }
    }
    if let last = components.last, Self.counters.contains(last.text) { return .other }
    return components.contains { Self.parameters.contains($0.text) } ? .parameter : .other
  }

  private func role(of component: Component, in name: String, by evidence: Evidence) -> Role? {
    let text = component.text
    switch evidence {
    case .certain: return Self.certain(text)
    case .exactPair:
      // One half of a pair, whose other half is there under the same name.
      guard paired.contains(text), let other = Self.partners[text],
        names.contains(NameKey(name.replacing(component.part, by: other)))
      else { return nil }
      return Self.pairedRoles[text]
    case .loosePair:
      // One half of a pair that the file has, if not under this name: its partner may be factored.
      return paired.contains(text) ? Self.pairedRoles[text] : nil
    case .likely: return text == "sum" && hasAdagradSum ? .secondMoment : Self.likely[text]
    }
  }

  private static func certain(_ text: String) -> Role? {
    if let role = certain[text] { return role }
    // The longest ending first: max_exp_avg_sq before exp_avg_sq.
    let bytes = text.utf8
    for index in bytes.indices where bytes[index] == UInt8(ascii: "_") || bytes[index] == UInt8(ascii: "-") {
      if let role = certain[String(text[bytes.index(after: index)...])] { return role }
    }
    return nil
  }

  /// The components of a name. By bytes: by characters it took half the time of encoding many small tensors.
  static func components(of name: String) -> [Component] {
    name.utf8.split(whereSeparator: isSeparator).map { bytes in
      let part = Substring(bytes)
      return Component(part: part, text: String(part))
    }
  }

  private static func isSeparator(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "."), UInt8(ascii: "/"), UInt8(ascii: ":"), UInt8(ascii: "["), UInt8(ascii: "]"),
      UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "'"), UInt8(ascii: "\""), UInt8(ascii: ","),
      UInt8(ascii: " "):
      true
    default: false
    }
  }
}

extension String {
  /// The string with one part of it replaced.
  fileprivate func replacing(_ part: Substring, by other: String) -> String {
    self[..<part.startIndex] + other + self[part.endIndex...]
  }
}

extension Role {
  /// The role of `name` among the names of its checkpoint; for many names, `RoleRecognizer` is made once.
  public static func recognize(name: String, among names: some Sequence<String>) -> Role {
    RoleRecognizer(names: names).role(of: name)
  }
}
