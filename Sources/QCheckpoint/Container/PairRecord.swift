import QCodec

/// What coding a pair of moments did to the update m/(√v + ε), as the directory stores it, in 56 bytes.
struct PairRecord: Sendable {
  /// The first moment, by its place in the directory.
  var first: UInt32
  var second: UInt32
  var error: UpdateError

  /// Appends the record.
  func write(to writer: inout ByteWriter) {
    writer.write(first)
    writer.write(second)
    writer.write(error.epsilon)
    writer.write(error.squaredError)
    writer.write(error.squaredUpdate)
    writer.write(error.maxAbsError)
    writer.write(error.zeroedSecondMoments)
    writer.write(error.signChanges)
  }

  /// Reads the record at an offset; throws `invalidDirectory` for numbers that nobody measures.
  init(_ fields: ByteFields, at offset: Int, place: UInt64) throws(QCodecError) {
    first = fields.read(offset)
    second = fields.read(offset + 4)
    error = UpdateError(epsilon: fields.double(offset + 8))
    error.squaredError = fields.double(offset + 16)
    error.squaredUpdate = fields.double(offset + 24)
    error.maxAbsError = fields.double(offset + 32)
    error.zeroedSecondMoments = fields.read(offset + 40)
    error.signChanges = fields.read(offset + 48)
    let numbers = [error.epsilon, error.squaredError, error.squaredUpdate, error.maxAbsError]
    guard numbers.allSatisfy({ $0 >= 0 && $0.isFinite }) else {
      throw QCodecError(.invalidDirectory, "a recorded update error of \(numbers)", offset: place)
    }
  }

  init(first: UInt32, second: UInt32, error: UpdateError) {
    self.first = first
    self.second = second
    self.error = error
  }
}
