/// The one error type of qcodec: a stable code, what is wrong, and where.
public struct QCodecError: Error, Sendable, Equatable {
  /// Stable integer codes, spaced by decade; they are shared with every other language binding.
  public enum Code: Int32, Sendable, CaseIterable {
    // Arguments.
    case invalidArgument = 10
    case unsupportedScheme = 11
    case shapeMismatch = 12
    case bufferTooSmall = 13
    // Values that the chosen scheme cannot hold.
    case nonFiniteValue = 20
    case negativeValue = 21
    /// A quotient, scale or decoded value of the update domain overflows.
    case updateNotFinite = 22
    // The file as a whole.
    case notACheckpoint = 30
    case unsupportedVersion = 31
    case unsupportedFeature = 32
    case truncated = 33
    case headerCorrupt = 34
    case trailerCorrupt = 35
    case directoryCorrupt = 36
    case metadataCorrupt = 37
    case chunkCorrupt = 38
    case paddingNotZero = 39
    // The directory's contents.
    case invalidDirectory = 40
    case invalidName = 41
    case duplicateName = 42
    case invalidShape = 43
    case invalidScheme = 44
    case invalidMapTable = 45
    case invalidChunkTable = 46
    case invalidReference = 47
    case limitExceeded = 48
    case reservedBits = 49
    // A chunk's contents.
    case decompressionFailed = 50
    case invalidScale = 51
    case invalidCode = 52
    case invalidChunkLength = 53
    /// The preamble or the frame before a chunk is not what the directory says.
    case leadCorrupt = 54
    /// The values beside a chunk's codes are not what an encoder writes.
    case invalidEscape = 55
    /// Chunks are those of a base that is not at hand.
    case baseMissing = 56
    /// What was given for the base is another checkpoint, or its tensor another.
    case baseMismatch = 57
    // Other documents.
    case invalidJSON = 60
    case invalidPolicy = 61
    case invalidSafetensors = 62
    case invalidNumpy = 63
    // Names.
    case tensorNotFound = 70
    case nameClash = 71
    // The system.
    case io = 80
    case wouldOverwriteInput = 81
    case writerClosed = 82
    // Verification.
    case boundViolated = 90
    // The caller.
    /// A `Cancellation` stopped the call.
    case cancelled = 100
  }

  /// What kind of error this is; stable.
  public var code: Code
  /// What is wrong, without the place; one line.
  public var message: String
  /// The byte offset in the file or stream at which the defect lies, where known.
  public var offset: UInt64?
  /// The tensor that is concerned, where known.
  public var tensor: String?
  /// The index of the element that is concerned (C order), where known.
  public var index: UInt64?

  /// Creates an error from its code, message and place.
  public init(
    _ code: Code, _ message: String, offset: UInt64? = nil, tensor: String? = nil, index: UInt64? = nil
  ) {
    self.code = code
    self.message = message
    self.offset = offset
    self.tensor = tensor
    self.index = index
  }
}

extension QCodecError: CustomStringConvertible {
  /// The message followed by its place: `message (tensor 'x', element 3, byte 4096)`.
  public var description: String {
    var place: [String] = []
    if let tensor { place.append("tensor '\(tensor)'") }
    if let index { place.append("element \(index)") }
    if let offset { place.append("byte \(offset)") }
    return place.isEmpty ? message : "\(message) (\(place.joined(separator: ", ")))"
  }
}
