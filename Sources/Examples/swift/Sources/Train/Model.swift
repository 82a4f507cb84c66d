import Foundation

/// One tensor of the model with the two moments that Adam keeps of its gradient.
struct Parameter {
  let name: String
  let shape: [UInt64]
  var value: [Float]
  var first: [Float]
  var second: [Float]

  init(_ name: String, rows: Int, columns: Int, using generator: inout SplitMix) {
    self.name = name
    shape = [UInt64(rows), UInt64(columns)]
    value = (0..<rows * columns).map { _ in Float.random(in: -0.3...0.3, using: &generator) }
    first = Array(repeating: 0, count: rows * columns)
    second = first
  }
}

/// Random numbers that are the same in every run.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var x = state
    x = (x ^ x >> 30) &* 0xBF58_476D_1CE4_E5B9
    x = (x ^ x >> 27) &* 0x94D0_49BB_1331_11EB
    return x ^ x >> 31
  }
}

/// Ratings that users give to items, learnt as products of a vector for each user and one for each item.
struct Model {
  static let (users, items, width, batch) = (500, 400, 16, 2000)
  static let (rate, beta1, beta2, epsilon) = (0.01, 0.9, 0.999, 1e-8)

  var parameters: [Parameter]
  var step = 0

  init() {
    var generator = SplitMix(state: 1)
    parameters = [
      Parameter("user.weight", rows: Self.users, columns: Self.width, using: &generator),
      Parameter("item.weight", rows: Self.items, columns: Self.width, using: &generator),
    ]
  }

  /// What a user thinks of an item: four tastes that they share or do not, and a mood.
  private static func rating(user: Int, item: Int, mood: Float) -> Float {
    let tastes = (1...4).map { sin(Float(user * $0) * 0.7) * cos(Float(item * $0) * 1.3) }
    return tastes.reduce(0, +) + 0.1 * mood
  }

  private func predicted(user: Int, item: Int) -> Float {
    (0..<Self.width).reduce(0) {
      $0 + parameters[0].value[user * Self.width + $1] * parameters[1].value[item * Self.width + $1]
    }
  }

  /// One step of Adam on ratings that follow from the step's number alone.
  mutating func train() {
    var generator = SplitMix(state: 1000 + UInt64(step))
    var gradients = parameters.map { [Float](repeating: 0, count: $0.value.count) }
    for _ in 0..<Self.batch {
      let user = Int.random(in: 0..<Self.users, using: &generator)
      let item = Int.random(in: 0..<Self.items, using: &generator)
      let wanted = Self.rating(user: user, item: item, mood: Float.random(in: -1...1, using: &generator))
      let slope = 2 * (predicted(user: user, item: item) - wanted) / Float(Self.batch)
      for i in 0..<Self.width {
        gradients[0][user * Self.width + i] += slope * parameters[1].value[item * Self.width + i]
        gradients[1][item * Self.width + i] += slope * parameters[0].value[user * Self.width + i]
      }
    }
    step += 1
    let (scale1, scale2) = (1 - pow(Self.beta1, Double(step)), 1 - pow(Self.beta2, Double(step)))
    for (index, gradient) in gradients.enumerated() {
      for (place, g) in gradient.enumerated() {
        let m = Self.beta1 * Double(parameters[index].first[place]) + (1 - Self.beta1) * Double(g)
        let v = Self.beta2 * Double(parameters[index].second[place]) + (1 - Self.beta2) * Double(g) * Double(g)
        (parameters[index].first[place], parameters[index].second[place]) = (Float(m), Float(v))
        let update = m / scale1 / ((v / scale2).squareRoot() + Self.epsilon)
        parameters[index].value[place] -= Float(Self.rate * update)
      }
    }
  }

  /// The mean squared error over every user and item, without moods.
  var loss: Double {
    var sum = 0.0
    for user in 0..<Self.users {
      for item in 0..<Self.items {
        let error = Double(predicted(user: user, item: item) - Self.rating(user: user, item: item, mood: 0))
        sum += error * error
      }
    }
    return sum / Double(Self.users * Self.items)
  }
}
