import QCodec

let values = (0..<10_000).map { Float($0 % 97) / 97 - 0.5 }
let codec = try TensorCodec(
  dtype: .f32, shape: [100, 100],
  scheme: Scheme(map: .dynamic, bits: 8, signed: true, scaling: .block(256)))
let (stream, statistics) = try codec.encode(values, name: "momentum")
print(stream.count, "bytes, off by", statistics.maxAbsError, "at most")

let restored = try codec.decode(stream)
let again = try codec.encode(restored, name: "momentum")
precondition(again.stream == stream, "what was decoded is encoded to the same bytes")
