import QCodec

/// A tensor that a policy is to decide on.
public struct TensorSummary: Sendable {
  /// The name under which it would be stored.
  public let name: String
  /// The type of its elements.
  public let dtype: DType
  /// The lengths of its axes, C order.
  public let shape: [UInt64]
  /// What it is to the optimizer, where its name does not tell.
  public let role: Role

  /// Describes a tensor.
  public init(name: String, dtype: DType, shape: [UInt64], role: Role = .other) {
    self.name = name
    self.dtype = dtype
    self.shape = shape
    self.role = role
  }
}

/// What a policy makes of one tensor of a checkpoint.
public struct PlannedTensor: Sendable {
  /// The role that its name tells, or that was stated.
  public let role: Role
  /// What becomes of it.
  public let decision: Policy.Decision
  /// In the update domain its second moment, by its place in the list of tensors.
  public let partner: Int?
}

extension Policy {
  /// Decides on all tensors of a checkpoint together: roles and partners follow from the names that it has.
  ///
  /// A first moment whose rule wants the update domain is given its partner; without a usable one it gets the rule's
  /// fallback, and the reason. Throws `limitExceeded` where an element count exceeds 64 bits.
  public func plan(_ tensors: [TensorSummary]) throws(QCodecError) -> [PlannedTensor] {
    let recognizer = RoleRecognizer(names: tensors.map(\.name))
    let roles = tensors.map { tensor in
      let role = recognizer.role(of: tensor.name)
      return role == .other ? tensor.role : role
    }
    let rules = RuleFinder(rules)
    var decisions: [Decision] = []
    for (tensor, role) in zip(tensors, roles) {
      decisions.append(try decide(name: tensor.name, role: role, dtype: tensor.dtype, shape: tensor.shape, by: rules))
    }
    let finder = PartnerFinder(names: tensors.map(\.name), roles: roles, shapes: tensors.map(\.shape))
    var taken: Set<Int> = []
    return tensors.indices.map { index in
      guard case .encode(let plan) = decisions[index], case .quantized(let scheme, _) = plan.encoding,
        scheme.domain == .update
      else { return PlannedTensor(role: roles[index], decision: decisions[index], partner: nil) }
      let (partner, reason) = Self.partner(
        of: tensors[index], role: roles[index], finder: finder, decisions: decisions, taken: &taken)
      guard let partner else {
        return PlannedTensor(role: roles[index], decision: .encode(plan.fallingBack(reason)), partner: nil)
      }
      return PlannedTensor(role: roles[index], decision: decisions[index], partner: partner)
    }
  }

  private static func partner(
    of tensor: TensorSummary, role: Role, finder: PartnerFinder, decisions: [Decision], taken: inout Set<Int>
  ) -> (Int?, FallbackReason) {
    // Only first moments are of the update's units.
    guard role == .firstMoment else { return (nil, .noSecondMoment) }
    switch finder.partner(of: tensor.name, shape: tensor.shape) {
    case .none: return (nil, .noSecondMoment)
    case .several: return (nil, .severalSecondMoments)
    case .one(let place):
      guard case .encode(let plan) = decisions[place], case .quantized(let scheme, _) = plan.encoding,
        scheme.isReferable, taken.insert(place).inserted
      else { return (nil, .secondMomentNotUsable) }
      return (place, .none)
    }
  }
}
