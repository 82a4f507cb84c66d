import QCheckpoint
import Testing

@Suite struct DecodeTests {
  /// One tensor of every dtype that safetensors knows, with bytes that are no numbers in particular.
  private static let dtypes = [
    ("F64", 8), ("F32", 4), ("F16", 2), ("BF16", 2), ("I64", 8), ("I32", 4), ("I16", 2), ("I8", 1), ("U64", 8),
    ("U32", 4), ("U16", 2), ("U8", 1), ("F8_E4M3", 1), ("F8_E5M2", 1),
  ]

  private static func everyDType() -> [Tensor] {
    dtypes.map { name, size in
      Tensor("t.\(name)", name, [3, 5], (0..<15 * size).map { UInt8(truncatingIfNeeded: $0 &* 151 &+ 130) })
    } + [
      Tensor("bool", "BOOL", [3], [0, 1, 1]), Tensor("scalar", "F32", [], [1, 2, 3, 4]),
      Tensor("empty", "F32", [0, 7], []), Tensor("deep", "U8", [1, 1, 2, 1, 1], [9, 8]),
    ]
  }

  @Test func losslessGivesEveryTensorBack() throws {
    let work = try Workspace()
    let tensors = Self.everyDType()
    let metadata = ["format": "pt", "ünïcode": "a\nb\"c\"", "empty": ""]
    try work.write(safetensors(tensors, metadata: metadata), "in")
    try work.succeed(["encode", "in", "-o", "s.qckpt", "--policy", "lossless"])
    try work.succeed(["decode", "s.qckpt", "-o", "out"])
    let after = try TensorFile(path: work.path("out"))
    #expect(after.metadata == metadata)
    #expect(after.tensors == Dictionary(uniqueKeysWithValues: tensors.map { ($0.name, $0) }))
  }

  /// Strings of Swift are equal where only the normalisation differs; names are not.
  @Test func namesThatDifferInNormalisationAloneAreDifferent() throws {
    let work = try Workspace()
    let (composed, decomposed) = ("\u{E9}", "e\u{301}")
    let header = """
      {"\(composed)":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},\
      "\(decomposed)":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}
      """
    try work.write(littleEndian(UInt64(header.utf8.count)) + Array(header.utf8) + [1, 2, 3, 4], "in")
    try work.succeed(["encode", "in", "-o", "s.qckpt"])
    try work.succeed(["verify", "s.qckpt", "--against", "in"])
    for salvage in [[], ["--salvage"]] {
      try work.succeed(["decode", "s.qckpt", "-o", "out"] + salvage)
      let entries = try SafetensorsFile(path: work.path("out")).entries
      #expect(entries.map { Array($0.name.utf8) } == [decomposed, composed].map { Array($0.utf8) })
      #expect(try work.read("out").suffix(4) == [3, 4, 1, 2])
    }
  }

  @Test func globsChooseTensors() throws {
    let work = try Workspace()
    try work.copyReal()
    try work.succeed(["encode", "in.safetensors", "-o", "s.qckpt"])
    let all = try TensorFile(path: Fixture.real).tensors.keys
    try work.succeed(["decode", "s.qckpt", "-o", "all"])
    let whole = try TensorFile(path: work.path("all"))
    let cases: [([String], (String) -> Bool)] = [
      (["exp_avg/*"], { $0.hasPrefix("exp_avg/") }),
      (["*.bias", "rng/*"], { $0.hasSuffix(".bias") || $0 == "rng/torch" }),
      (["exp_avg_sq/wpe.weigh?"], { $0 == "exp_avg_sq/wpe.weight" }), (["[!er]*"], { $0.hasPrefix("param/") }),
      (["*"], { _ in true }),
    ]
    for (globs, holds) in cases {
      try work.succeed(["decode", "s.qckpt", "-o", "some"] + globs.flatMap { ["--tensor", $0] })
      let some = try TensorFile(path: work.path("some"))
      #expect(some.tensors.keys.sorted() == all.filter(holds).sorted(), "\(globs)")
      for (name, tensor) in some.tensors { #expect(tensor == whole.tensors[name], "\(globs) \(name)") }
      #expect(some.metadata == whole.metadata, "\(globs)")
    }
  }

  @Test func metadataOfTheInputAndOfTheCommandLineComeBack() throws {
    let work = try Workspace()
    try work.write(safetensors([Tensor("x", [1, 2])], metadata: ["step": "7", "lr": "0.1"]), "in")
    let given = ["--metadata", "run=a=b", "--metadata", "lr=0.2", "--metadata", "empty="]
    try work.succeed(["encode", "in", "-o", "s.qckpt"] + given)
    try work.succeed(["decode", "s.qckpt", "-o", "out"])
    let wanted = ["step": "7", "lr": "0.2", "run": "a=b", "empty": ""]
    #expect(try TensorFile(path: work.path("out")).metadata == wanted)
    let members = try work.succeed(["inspect", "s.qckpt", "--json"]).json()["metadata"]?.objectValue
    #expect(members?.compactMapValues(\.stringValue) == wanted)
  }

  @Test func everyThreadCountDecodesTheSameBytes() throws {
    let work = try Workspace()
    try work.copyReal()
    try work.succeed(["encode", "in.safetensors", "-o", "s.qckpt", "--policy", "paper4"])
    for threads in ["1", "2", "7"] {
      try work.succeed(["decode", "s.qckpt", "-o", "out\(threads)", "--threads", threads, "--quiet"])
    }
    #expect(try work.read("out2") == work.read("out1"))
    #expect(try work.read("out7") == work.read("out1"))
    let verify = ["verify", "s.qckpt", "--against", "in.safetensors", "--json", "--threads"]
    #expect(try work.succeed(verify + ["1"]).text == work.succeed(verify + ["7"]).text)
  }

  @Test func decodingWhatWasDecodedChangesNothing() throws {
    let work = try Workspace()
    try work.copyReal()
    try work.succeed(["encode", "in.safetensors", "-o", "1.qckpt"])
    try work.succeed(["decode", "1.qckpt", "-o", "1.safetensors"])
    try work.succeed(["encode", "1.safetensors", "-o", "2.qckpt"])
    try work.succeed(["decode", "2.qckpt", "-o", "2.safetensors"])
    #expect(try work.read("2.safetensors") == work.read("1.safetensors"))
  }
}
