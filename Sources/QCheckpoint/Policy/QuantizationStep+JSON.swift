import QCodec

extension QuantizationStep {
  /// Reads `{"absolute": x}`, `{"rms": x}` or `{"octaves": x}`; throws `invalidPolicy` with the member's place.
  init(json: JSONValue, place: String) throws(QCodecError) {
    var fields = try JSONFields(json, place: place, code: .invalidPolicy)
    let kinds: [(String, (Double) -> QuantizationStep)] = [
      ("absolute", { .absolute($0) }), ("rms", { .rms($0) }), ("octaves", { .octaves($0) }),
    ]
    var found: [QuantizationStep] = []
    for (name, make) in kinds {
      guard let value = fields.value(name) else { continue }
      guard let number = value.doubleValue else { throw fields.refuse(name, "is to be a number") }
      found.append(make(number))
    }
    try fields.finish()
    guard found.count == 1 else {
      throw QCodecError(.invalidPolicy, "\(place) is to have one of absolute, rms and octaves")
    }
    self = found[0]
  }

  /// The step as a policy document holds it.
  var json: JSONValue { .object([name: .number(value)]) }
}
