/// A tensor's name that equals another only byte for byte.
///
/// Strings that differ in Unicode normalisation alone are equal in Swift; as names they are names of different tensors.
struct NameKey: Hashable, Sendable {
  let text: String

  init(_ text: String) { self.text = text }

  static func == (one: Self, other: Self) -> Bool { one.text.utf8.elementsEqual(other.text.utf8) }

  func hash(into hasher: inout Hasher) {
    var text = text
    text.withUTF8 { unsafe hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
  }
}
