/// Sorts names by their bytes, as directories hold them.
enum NameOrder {
  /// The places of names in ascending order.
  static func sorted(_ names: [[UInt8]]) -> [Int] {
    // Names of a model begin alike: beyond what all share, eight bytes tell most from each other, and comparing those
    // touches no name.
    let shared = sharedPrefix(of: names)
    var keys = names.indices.map { (key: key(names[$0], at: shared), index: $0) }
    keys.sort { $0.key != $1.key ? $0.key < $1.key : precedes(names[$0.index], names[$1.index]) }
    return keys.map(\.index)
  }

  /// The number of bytes that all names begin with.
  private static func sharedPrefix(of names: [[UInt8]]) -> Int {
    guard let first = names.first else { return 0 }
    return names.reduce(first.count) { shared, name in
      zip(first[..<shared], name).prefix { $0 == $1 }.count
    }
  }

  /// Eight bytes from an offset on, the first highest; a name that ends before is filled up with the least of bytes.
  private static func key(_ name: [UInt8], at offset: Int) -> UInt64 {
    (offset..<offset + 8).reduce(0) { $0 << 8 | ($1 < name.count ? UInt64(name[$1]) : 0) }
  }

  private static func precedes(_ one: [UInt8], _ other: [UInt8]) -> Bool {
    unsafe one.withUnsafeBytes { one in unsafe other.withUnsafeBytes { unsafe byteOrder(one, $0) < 0 } }
  }
}
