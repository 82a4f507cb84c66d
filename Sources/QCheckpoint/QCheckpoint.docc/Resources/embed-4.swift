import QCheckpoint
import QCodec
import QVerify

let shape: [UInt64] = [100, 100]
let m = (0..<10_000).map { Float($0 % 97) / 97 - 0.5 }
let v = m.map { $0 * $0 * 0.1 }

let first = NewTensor(
  name: "weight.exp_avg", dtype: .f32, role: .firstMoment,
  encoding: .quantized(Scheme(map: .cubic, bits: 8, signed: true, scaling: .block(256), domain: .update)),
  source: MemorySource(m))
let second = NewTensor(
  name: "weight.exp_avg_sq", dtype: .f32, role: .secondMoment,
  encoding: .quantized(Scheme(map: .log, bits: 8, signed: false, scaling: .block(512))),
  source: MemorySource(v))

let writer = try CheckpointWriter(path: "state.qckpt")
try writer.add([.pair(first: first, second: second, shape: shape, fallback: nil)], measuring: 1e-8)
print(try writer.finish().fileBytes, "bytes")

let reader = try CheckpointReader(path: "state.qckpt")
let report = try Verifier(reader).verify()
precondition(report.violations == 0)
if let index = reader.find("weight.exp_avg") {
  print(reader.tensor(index).guaranteedMaxAbsError ?? .nan, "is the most that an element is off")
  print(try reader.bytes(ofTensor: index).count, "bytes decoded")
}
