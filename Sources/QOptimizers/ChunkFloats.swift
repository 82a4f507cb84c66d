import CQCodecKernels
import QCodec

/// The elements of a chunk as float32.
struct ChunkFloats {
  var parameters: [Float]
  let gradients: [Float]
  /// Moments; empty where there is none.
  var first: [Float]
  var second: [Float]
  var greatest: [Float]

  /// A moment by its place.
  func moment(_ index: Int) -> [Float] { index == 0 ? first : index == 1 ? second : greatest }

  /// Moves parameters and moments on.
  mutating func move(_ step: qcodec_step, level: KernelLevel) {
    if level == .scalar {
      withCodecEnvironment { moveScalar(step) }
    } else {
      var step = step
      let count = gradients.count
      unsafe with { tensorStep, scratch in
        withCodecEnvironment {
          _ = unsafe qcodec_step_chunk(level.rawValue, &step, tensorStep, 0, count, scratch)
        }
      }
    }
  }

  /// The squares of what LAMB would move parameters by; moments move on.
  mutating func squaredDirection(_ step: qcodec_step, level: KernelLevel) -> Double {
    var sums = SquareSums()
    if level == .scalar {
      withCodecEnvironment {
        for i in gradients.indices {
          var element = element(i)
          element.moveMoments(step)
          let direction = Double(element.lambDirection(step))
          sums.add(square: direction * direction, at: i)
        }
      }
    } else {
      var step = step
      let count = gradients.count
      unsafe with { tensorStep, scratch in
        withCodecEnvironment {
          unsafe sums.with { unsafe qcodec_lamb_squares(level.rawValue, &step, tensorStep, 0, count, scratch, $0) }
        }
      }
    }
    return sums.total
  }

  // MARK: By kernels

  private static let tile = 1024

  /// Calls `body` with the chunk as kernels want it.
  private mutating func with(
    _ body: (UnsafePointer<qcodec_tensor_step>, UnsafeMutablePointer<Float>) -> Void
  ) {
    let tile = Self.tile
    let gradients = gradients
    unsafe parameters.withUnsafeMutableBytes { parameters in
      unsafe gradients.withUnsafeBytes { gradients in
        unsafe first.withUnsafeMutableBufferPointer { first in
          unsafe second.withUnsafeMutableBufferPointer { second in
            unsafe greatest.withUnsafeMutableBufferPointer { greatest in
              var own = unsafe qcodec_tensor_step()
              unsafe own.parameters = parameters.baseAddress
              unsafe own.gradients = gradients.baseAddress
              unsafe own.tile = tile
              unsafe own.moments = (.init(first), .init(second), .init(greatest))
              unsafe withUnsafeTemporaryAllocation(of: Float.self, capacity: 5 * tile) { scratch in
                unsafe body(&own, scratch.baseAddress.unsafelyUnwrapped)
              }
            }
          }
        }
      }
    }
  }

  // MARK: The reference

  private func element(_ index: Int) -> ScalarStep {
    ScalarStep(
      parameter: parameters[index], gradient: gradients[index], first: first.isEmpty ? 0 : first[index],
      second: second.isEmpty ? 0 : second[index], greatest: greatest.isEmpty ? nil : greatest[index])
  }

  private mutating func moveScalar(_ step: qcodec_step) {
    for i in gradients.indices {
      var element = element(i)
      element.moveMoments(step)
      element.moveParameter(step)
      parameters[i] = element.parameter
      if !first.isEmpty { first[i] = element.first }
      if !second.isEmpty { second[i] = element.second }
      if let kept = element.greatest { greatest[i] = kept }
    }
  }
}

extension qcodec_moment {
  /// A moment of floats, or none.
  fileprivate init(_ floats: UnsafeMutableBufferPointer<Float>) {
    unsafe self.init()
    unsafe kind = Int32(floats.isEmpty ? qcodec_moment_none : qcodec_moment_floats)
    unsafe self.floats = floats.baseAddress
  }
}
