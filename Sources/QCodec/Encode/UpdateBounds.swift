/// What the codes of a chunk of the update domain admit: elements of one block are bounded together, by their largest
/// radius and their extreme divisors, others one by one.
struct UpdateBounds {
  private struct Block {
    var scale: Float = 0
    var radius = 0.0
    var least = Float.infinity
    var greatest: Float = 0
  }

  /// The elements of a block; 1 where each element has a scale of its own.
  private let size: Int
  private var blocks: [Block]

  init(layout: TensorLayout, elements: Int) {
    if case .block(let size) = layout.scheme.scaling { self.size = size } else { size = 1 }
    blocks = Array(repeating: Block(), count: (elements + size - 1) / size)
  }

  /// Takes in a segment that begins at element `first` of the chunk.
  mutating func take(
    _ first: Int, _ codes: UnsafePointer<UInt8>, scales: UnsafePointer<Float>, divisors: UnsafePointer<Float>,
    count: Int, radii: CellRadii
  ) {
    for i in 0..<count {
      let index = (first + i) / size
      blocks[index].scale = unsafe scales[i]
      blocks[index].radius = unsafe max(blocks[index].radius, radii.radii[Int(codes[i])])
      blocks[index].least = unsafe min(blocks[index].least, divisors[i])
      blocks[index].greatest = unsafe max(blocks[index].greatest, divisors[i])
    }
  }

  /// The largest bounds of |m − m̂| and |m − m̂| / d, but for the last factor.
  func finish(slack: Double) -> (absolute: Double, relative: Double) {
    var (absolute, relative) = (0.0, 0.0)
    for block in blocks {
      let quotient = Double(block.scale.magnitude) * block.radius + CellRadii.updateUnderflow
      absolute = max(absolute, quotient * Double(block.greatest) + slack)
      relative = max(relative, quotient + slack / Double(block.least))
    }
    return (absolute, relative)
  }
}
