import Foundation

/// Files that NumPy 2.4 wrote, and a writer of zip archives for what it never would.
enum NumpyFixtures {
  /// `numpy.savez(f, a=numpy.arange(6, dtype='<f8').reshape(2, 3))`
  static let stored = decoded(
    """
    UEsDBC0AAAAAAAAAIQDwzTtG//////////8FABQAYS5ucHkBABAAsAAAAAAAAACwAAAAAAAAAJNOVU1QWQEAdgB7J2Rlc2NyJzogJzxmOCcsIC
    dmb3J0cmFuX29yZGVyJzogRmFsc2UsICdzaGFwZSc6ICgyLCAzKSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg
    ICAgICAgICAgICAgICAgICAKAAAAAAAAAAAAAAAAAADwPwAAAAAAAABAAAAAAAAACEAAAAAAAAAQQAAAAAAAABRAUEsBAi0DLQAAAAAAAAAhAP
    DNO0awAAAAsAAAAAUAAAAAAAAAAAAAAIABAAAAAGEubnB5UEsFBgAAAAABAAEAMwAAAOcAAAAAAA==
    """)

  /// `numpy.savez_compressed` of `exp_avg/w`: float32 i/7 for i < 600, shape (20, 30), and `step`: int64 5.
  static let deflated = decoded(
    """
    UEsDBC0AAAAIAAAAIQAaxtpL//////////8NABQAZXhwX2F2Zy93Lm5weQEAEADgCQAAAAAAAO4EAAAAAAAAndL5U1VlAMfha5mpaRmZZWahgW
    hh4ZKlqdx7M/NWmplaZpYYkJoXFY0ysxARAQHxgoiAiIgItEwrtE/7ZGXTPtWtpsWarGzap316+hd6fznzfp7vmTk/nKoZc6bPnNctkBdYm5KZ
    teqG3JQJiSkTs8empCamZC/PXZ2bkXP98tzMrP/61Ixlq7L0VYszVmS5Dx+dlpo4Jm1EauK6xP95egec5EjC5ORIbHJXNO6ZkJ4TH5feFZ2fHg
    jkp+vpkViL1pkeS9qvx9PjnYdZIBhL6hW0D3ZFBwUjsaRgvHNk0LtBxCJsFpvPMlmU5bF890JeopXbxPQau3rWxFpYO7uHPcA62ePsafY8288O
    sDfZuyzOPmEH2SF2mP3IfmV/skAoOXJEKBLrHsqJ9wj55lBX9JhQvLNvKBDoxxJYfzaADWSD2GCWyIayJDaMjWBnsZEsjY1mY9k4Np5dwCaxIA
    uzKWwqi7BL2XQ2k81is9lcNo/NZwvYQraIZbJstoTdxKJsBctlq1keW8PWsnUs3309L9A22BTqG+2KWDErYaVsMytj5ayCVbKtLMaqWDXbxmpY
    LdvB6lg9a2A7WSNrYrtZM9vDWthe1sraWDvrYHexu9k97F52H7ufPcAeZA+xh1kne4Q9yh5jj7Mn2JPsKfY0e4Y9y55jz7MX2IvsJbafvcxeYa
    +yA+w19jp7g73J3mJvs3fYu+w99j77gMXZh+wj9jH7hH3KPmOfs4PsC/Yl+4odYl+zb9i37DD7jn3PfmA/sp/Yz+wX9iv7jf3O/mB/sr/Y3+wf
    FghHYoFwLKlbON7ZLexfDefEjwh3RY8MBwLdWXd2FDuK9WA92NGsJ+vJerFerDfrzY5hfVgf1pf1ZceyY9lxrB/rx45nx7MElsBOYP1Zf3YiO5
    ENYAPYSexkdjIbyAayU9gpbBA7lZ3KBrPB7DR2GjudJbJENoQNYUPZUHYGS2JJLJkls2FsGEthw9lwNoKNYGeyM9lZLJWlspFsJDubnc3OYWks
    jY1io9hoNpqNYWPZWHYuO5eNY+PYeex8dj4bz8azCWwCu4BNZBPZJDaJTWaTWToLsiALsRALszC7kE1hU9hF7CI2lU1lF7NpbBqLsAi7hF3CLm
    WXscvYdDadzWAz2OVsJpvJrmBXsFlsFruSzWaz2Rw2h81lc9lV7Gp2NZvH5rFr2DVsPruWXcsWsAXsOnYdu54tZAtZBstgi9gidgPLZJksi2Wx
    bJbNbmSL2WK2hC1hS9lSdhNbxpaxKIuyHJbDlrMVbAVbyVayXJbLVrHVbDW7md3M8lgeu4Xdym5la9gadhu7ja1lt7Pb2Tq2jt3B7mB3snz3fJ
    6v5dus19fbrWcFrIAVsAK2gW1gG1ghK2SFrJBtZBvZRlbEilgRK2Kb2Ca2iRWzYlbMilkJK2ElrJSVslJWyjazzWwzK2NlrIyVsXJWzspZBatg
    FayCbWFb2BZWySpZJatkW9lWtpXFWIzFWIxVsSpWxapZNatm1Wwb28a2sRpWw2pYDdvOtrPtrJbVslpWy3awHWwHq2N1rI7VsXpWz+pZA2tgDa
    yB7WQ72U7WyBpZI2tku9gutos1sSbWxJrYbrab7WbNrJk1s2a2h+1he1gLa2EtrIXtZXvZXtbKWlkra2X72D62j7WxNtbG2lg7a2ftrIN1sA7W
    we4K/wtQSwMELQAAAAgAAAAhAF6/1S7//////////wgAFABzdGVwLm5weQEAEACIAAAAAAAAAEYAAAAAAAAAm+wX6hsQychQxlCtnpJanFykbq
    WgbpNpoa6joJ6WX1RSlJgXn1+UkgoSd0vMKU4FihdnJBakAvkamjoKtQoUAS5WBggAAFBLAQItAy0AAAAIAAAAIQAaxtpL7gQAAOAJAAANAAAA
    AAAAAAAAAACAAQAAAABleHBfYXZnL3cubnB5UEsBAi0DLQAAAAgAAAAhAF6/1S5GAAAAiAAAAAgAAAAAAAAAAAAAAIABLQUAAHN0ZXAubnB5UE
    sFBgAAAAACAAIAcQAAAK0FAAAAAA==
    """)

  private static func decoded(_ text: String) -> [UInt8] {
    [UInt8](Data(base64Encoded: text, options: .ignoreUnknownCharacters) ?? Data())
  }

  /// A .npy file of a header as written.
  static func npy(_ header: String, data: [UInt8] = [], version: UInt8 = 1) -> [UInt8] {
    let text = Array(header.utf8)
    let length = version == 1 ? littleEndian(UInt16(text.count)) : littleEndian(UInt32(text.count))
    return [0x93] + Array("NUMPY".utf8) + [version, 0] + length + text + data
  }

  /// A .npy file of a dtype and a shape.
  static func npy(_ descr: String, _ shape: String, data: [UInt8] = []) -> [UInt8] {
    npy("{'descr': '\(descr)', 'fortran_order': False, 'shape': \(shape), }\n", data: data)
  }
}

/// One member of a zip archive to be written, with every lie that a test wants.
struct ZipFixture {
  var name: String
  var data: [UInt8]
  var method: UInt16 = 0
  var flags: UInt16 = 0x800
  var crc: UInt32?
  var localName: String?
  var statedBytes: UInt64?
  var localOffset: UInt64?
  var isZip64 = false

  /// The data as they are stored: deflate as blocks without compression.
  private var stored: [UInt8] {
    guard method == 8 else { return data }
    let length = UInt16(data.count)
    return [1] + littleEndian(length) + littleEndian(~length) + data
  }

  private static func crc32(_ bytes: [UInt8]) -> UInt32 {
    var crc = UInt32.max
    for byte in bytes {
      crc ^= UInt32(byte)
      for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0xEDB8_8320 : crc >> 1 }
    }
    return ~crc
  }

  private var local: [UInt8] {
    let name = Array((localName ?? self.name).utf8)
    let fields: [[UInt8]] = [
      littleEndian(UInt32(0x0403_4B50)), littleEndian(UInt16(20)), littleEndian(flags), littleEndian(method),
      littleEndian(UInt32(0)), littleEndian(crc ?? Self.crc32(data)), littleEndian(UInt32(stored.count)),
      littleEndian(UInt32(data.count)), littleEndian(UInt16(name.count)), littleEndian(UInt16(0)), name, stored,
    ]
    return fields.flatMap(\.self)
  }

  private func central(at offset: UInt64) -> [UInt8] {
    let offset = localOffset ?? offset
    let bytes = statedBytes ?? UInt64(data.count)
    let storedBytes = method == 0 ? bytes : UInt64(stored.count)
    let extra =
      isZip64
      ? littleEndian(UInt16(1)) + littleEndian(UInt16(24)) + littleEndian(bytes) + littleEndian(storedBytes)
        + littleEndian(offset) : []
    func short(_ value: UInt64) -> [UInt8] { littleEndian(isZip64 ? UInt32.max : UInt32(value)) }
    let fields: [[UInt8]] = [
      littleEndian(UInt32(0x0201_4B50)), littleEndian(UInt16(45)), littleEndian(UInt16(45)), littleEndian(flags),
      littleEndian(method), littleEndian(UInt32(0)), littleEndian(crc ?? Self.crc32(data)), short(storedBytes),
      short(bytes), littleEndian(UInt16(name.utf8.count)), littleEndian(UInt16(extra.count)), littleEndian(UInt16(0)),
      littleEndian(UInt16(0)), littleEndian(UInt16(0)), littleEndian(UInt32(0)), short(offset), Array(name.utf8), extra,
    ]
    return fields.flatMap(\.self)
  }

  /// The whole archive.
  static func archive(
    _ members: [ZipFixture], prefix: [UInt8] = [], comment: [UInt8] = [], isZip64: Bool = false
  ) -> [UInt8] {
    var bytes = prefix
    var directory: [UInt8] = []
    for member in members {
      directory += member.central(at: UInt64(bytes.count))
      bytes += member.local
    }
    let start = UInt64(bytes.count)
    bytes += directory
    let count = UInt64(members.count)
    if isZip64 {
      let end = UInt64(bytes.count)
      bytes += littleEndian(UInt32(0x0606_4B50)) + littleEndian(UInt64(44)) + littleEndian(UInt32(0x002D_002D))
      bytes += littleEndian(UInt64(0)) + littleEndian(count) + littleEndian(count)
      bytes += littleEndian(UInt64(directory.count)) + littleEndian(start)
      bytes += littleEndian(UInt32(0x0706_4B50)) + littleEndian(UInt32(0)) + littleEndian(end) + littleEndian(UInt32(1))
    }
    bytes += littleEndian(UInt32(0x0605_4B50)) + littleEndian(UInt32(0))
    bytes += littleEndian(isZip64 ? UInt16.max : UInt16(count)) + littleEndian(isZip64 ? UInt16.max : UInt16(count))
    bytes += littleEndian(isZip64 ? UInt32.max : UInt32(directory.count))
    bytes += littleEndian(isZip64 ? UInt32.max : UInt32(start))
    return bytes + littleEndian(UInt16(comment.count)) + comment
  }
}
