"""Writes Fixtures/golden: small checkpoints that together cover the format, by an encoder apart from the Swift one.

    python make_golden.py            writes the files and expected.json
    python make_golden.py --check    compares them with what would be written
"""

import hashlib
import json
import pathlib
import struct
import sys

import numpy as np

import qckpt_writer as writer
from qckpt_writer import Record, build, scheme, spec

FOLDER = pathlib.Path(__file__).resolve().parent / "golden"


def values(count, signed, seed):
    """Numbers of many magnitudes with zeros among them, exact in every dtype down to float16."""
    state = np.arange(1 + seed * 1000, 1 + seed * 1000 + count, dtype=np.uint64)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    fraction = 1 + (state & np.uint64(127)).astype(np.float64) / 128
    magnitude = fraction * np.exp2(-((state >> np.uint64(8)) % np.uint64(14)).astype(np.float64))
    result = np.where((state >> np.uint64(16)) % np.uint64(13) == 0, 0.0, magnitude)
    return (result * np.where(signed & (state >> np.uint64(24) & np.uint64(1) == 1), -1, 1)).astype(np.float32)


def tensor(name, shape, how, dtype="F32", seed=1, role=0, data=None):
    x = values(int(np.prod(shape)), bool(how and how["signed"]), seed) if data is None else data
    return Record(name, dtype, shape, spec.narrow(np.asarray(x, np.float32), dtype), how, role)


NAMED = [("dynamic", s) for s in (True, False)] + [("dynamic-nozero", False)] + [
    (m, s) for m in ("linear", "linear-nozero") for s in (True, False)]
ALL = [(m, b, s) for b in (8, 4) for m, s in NAMED] + [("normal", 4, True), ("cubic", 8, True), ("cubic", 4, True)]


def label(m, b, s):
    return f"{m}.{'s' if s else 'u'}{b}"


def maps():
    return [tensor(label(*m), (150,), scheme(*m, block=64), seed=i) for i, m in enumerate(ALL)]


def every_code():
    """Each code of each map at least once: the entries themselves."""
    result = []
    for m in ALL:
        table = spec.NAMED[m]
        result.append(tensor(label(*m), (len(table),), scheme(*m, block=256), data=table))
    return result


def scalings():
    result = []
    for m in (("dynamic", 8, True), ("linear-nozero", 4, False)):
        for scaling in ("tensor", "row", "column"):
            result.append(tensor(f"{scaling}.{label(*m)}", (5, 7, 9), scheme(*m, scaling=scaling), seed=len(result)))
        result.append(tensor(f"rank1.{label(*m)}", (64, 1, 64), scheme(*m, scaling="rank1"), seed=40))
        result.append(tensor(f"rank1d3.{label(*m)}", (16, 12, 10), scheme(*m, scaling="rank1"), seed=41))
        for block in (32, 65536):
            result.append(tensor(f"block{block}.{label(*m)}", (3, 33), scheme(*m, block=block), seed=42))
    return result


def tails():
    return [tensor(f"{bits}.{count:02d}", (count,), scheme("dynamic", bits, True, block=32), seed=count)
            for bits in (4, 8) for count in (1, 2, 31, 32, 33, 63, 64, 65)]


def dtypes():
    result = [tensor(f"q.{dtype}.{label(*m)}", (77,), scheme(*m, block=32), dtype=dtype, seed=7)
              for dtype in ("BF16", "F16") for m in (("dynamic", 8, True), ("linear", 4, True), ("dynamic", 4, False))]
    for code, (dtype, bits) in spec.DTYPES.items():
        if dtype == "C128":  # not one of safetensors, which the sources of these files are
            continue
        data = bytes((i * 37 + code) % 251 for i in range(12 * bits // 8))
        result.append(Record(f"raw.{dtype}", dtype, (3, 4), data))
    return result


def double_complex():
    return [Record("raw.C128", "C128", (3, 4), bytes(i * 37 % 251 for i in range(192)))]


def roundings():
    result = []
    for m in (("dynamic", 8, False), ("dynamic", 4, True), ("linear-nozero", 4, True), ("linear", 8, True)):
        for rounding, seed in (("nearest-keep-nonzero", 0), ("stochastic", 12345)):
            how = scheme(*m, block=32, rounding=rounding, seed=seed)
            result.append(tensor(f"{rounding}.{label(*m)}", (100,), how, seed=9))
    absmax = scheme("dynamic", 8, True, block=32, rule="absmax")
    result.append(tensor("absmax.dynamic.s8", (100,), absmax, seed=10))
    return result


def custom():
    squares = np.array([(i / 15) ** 2 for i in range(16)], np.float32)
    padded = np.array([-0.75, -0.5, -0.25, 0, 0.25, 0.5] + [1.0] * 10, np.float32)
    imported = np.array([3.0, -2.0, np.nan] + [i / 8 for i in range(13)], np.float32)
    known = scheme("custom", 4, True, block=32, rounding="unknown", rule="unknown", table=imported, imported=True)
    return [
        tensor("padded", (50,), scheme("custom", 4, True, block=32, table=padded, rule="signed-extreme"), seed=3),
        tensor("squares", (50,), scheme("custom", 4, False, block=32, table=squares), seed=4),
        Imported("unknown", known),
    ]


class Imported(Record):
    """A stream that another system encoded: its codes are given, not chosen."""

    def __init__(self, name, how):
        self.codes = np.array([0, 1, 3, 4, 15] * 8 + [0], np.uint8)
        super().__init__(name, "F32", (41,), bytes(4 * 41), how)
        self.stream = struct.pack("<2f", -1.5, 0.25) + writer.pack(self.codes, 4)


def empties():
    how = scheme("dynamic", 8, True)
    row = scheme("linear", 8, True, scaling="row")
    return [
        tensor("no rows", (0, 4), how, data=[]), tensor("no columns by row", (4, 0), row, data=[]),
        Record("no bytes", "I64", (0,), b""), Record("step", "F32", (), struct.pack("<f", 1800)),
        tensor("scalar", (), how, data=[0.3]), tensor("zeros", (300,), how, data=np.zeros(300)),
    ]


def compressible():
    sparse = np.where(np.arange(4000) % 100 == 0, values(4000, True, 5), np.float32(0)).astype(np.float32)
    ramp = (1 + np.arange(3000) / 3000).astype(np.float32)
    return [
        tensor("moment", (40, 100), scheme("dynamic", 8, True), data=sparse),
        tensor("rows", (40, 100), scheme("linear", 4, True, scaling="row"), data=sparse),
        Record("weights", "F32", (3000,), ramp.astype("<f4").tobytes()),
        Record("wide", "F64", (1000,), np.linspace(1, 2, 1000).astype("<f8").tobytes()),
        Record("noise", "U8", (64,), bytes((i * i * 29 + i * 7) % 256 for i in range(64))),
    ]


def chunked():
    """Two chunks of codes, of source bytes and of scales; compressible, so that the file is small."""
    count = spec.CHUNK_ELEMENTS + 33
    sparse = np.zeros(count, np.float32)
    sparse[::5000] = values(len(sparse[::5000]), True, 6)
    return [
        tensor("moment", (count,), scheme("dynamic", 4, True), data=sparse),
        tensor("tall", (count, 1), scheme("linear", 8, True, scaling="row"), data=sparse),
        Record("bytes", "U8", (spec.LOSSLESS_CHUNK + 5,), bytes(spec.LOSSLESS_CHUNK + 5)),
    ]


def unused():
    """Under feature bits that a reader need not know."""
    return [Record("a", "U8", (3,), b"abc")]


def named():
    """Names out of order, of several scripts; roles and reasons."""
    return [
        Record("ω/größe", "I32", (2,), bytes(range(8)), role=5),
        Record("a" * 300, "U8", (1,), b"x", reason=3),
        tensor("exp_avg.layer", (40,), scheme("dynamic", 8, True), role=1),
        Record("\t", "BOOL", (1,), b"\1"),
    ]


CASES = {
    "maps": (maps, {}, "none"), "every-code": (every_code, {}, "none"), "scalings": (scalings, {}, "none"),
    "tails": (tails, {}, "none"), "dtypes": (dtypes, {}, "none"), "roundings": (roundings, {}, "none"),
    "custom": (custom, {}, "none"), "empty-tensors": (empties, {}, "none"), "no-tensors": (list, None, "none"),
    "lz4": (compressible, {}, "lz4"), "zstd": (compressible, {}, "zstd"), "chunks": (chunked, {}, "lz4"),
    "c128": (double_complex, {}, "none"), "unused-bits": (unused, None, "none"), "names": (named, {"metadata": {"größe": "1 ≤ 2", "step": "7"}}, "none"),
}


def safetensors(tensors):
    entries, body = {}, b""
    for t in sorted(tensors, key=lambda t: t.name.encode()):
        entries[t.name] = {"dtype": t.dtype, "shape": list(t.shape), "data_offsets": [len(body), len(body) + len(t.data)]}
        body += t.data
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def describe(data):
    """What a reader must find, from the reference reader, and what the writer measured."""
    checkpoint = spec.Checkpoint(data)
    found = spec.summary(checkpoint)
    for entry, t in zip(found["tensors"], checkpoint.tensors):
        entry["xxh3"] = f"{spec.xxh3(checkpoint.read(t)):016x}"
        if t.quantized:
            entry["statistics"] = {
                "max_abs_error": t.max_abs, "max_scaled_error": t.max_scaled, "squared_error": t.squared_error,
                "squared_source": t.squared_source, "zeros_created": t.zeros, "sign_changes": t.signs}
    return {"sha256": hashlib.sha256(data).hexdigest(), **found}


def encode_imported(t, original=writer.encode):
    return [(spec.CODES, t.stream)] if isinstance(t, Imported) else original(t)


def make():
    """{file name: bytes}, expected.json among them."""
    writer.encode = encode_imported
    files, expected = {}, {}
    for case, (tensors, metadata, compression) in CASES.items():
        listed = tensors()
        if case != "names":
            listed.sort(key=lambda t: t.name.encode())
        for t in listed:
            if isinstance(t, Imported):
                t.guaranteed = float("nan")
        data = build(listed, metadata, compression, optional=(1 << 64) - 1 if case == "unused-bits" else 0)
        files[f"{case}.qckpt"] = data
        expected[case] = {"compression": compression, **describe(data)}
        # What is written in the order of its names from a source at hand must be reproduced byte for byte.
        expected[case]["reproducible"] = compression == "none" and case not in ("custom", "c128", "names", "unused-bits")
        if expected[case]["reproducible"]:
            files[f"{case}.safetensors"] = safetensors(listed)
    files["expected.json"] = json.dumps(expected, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    return files


def comparable(name, data):
    """What --check compares: compressors of another version may write other bytes, which hold the same tensors."""
    if data is not None and name.split(".")[0] in ("lz4", "zstd", "chunks"):
        return describe(data)["tensors"]
    if data is not None and name == "expected.json":
        expected = json.loads(data)
        for case in expected.values():
            if case["compression"] != "none":
                del case["sha256"]
        return expected
    return data


def main(arguments):
    files = make()
    if arguments == ["--check"]:
        there = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.name != "README.md"}
        wrong = sorted(name for name in files.keys() | there.keys()
                       if comparable(name, files.get(name)) != comparable(name, there.get(name)))
        sys.exit(f"differ: {wrong}" if wrong else 0)
    FOLDER.mkdir(exist_ok=True)
    for name, data in files.items():
        (FOLDER / name).write_bytes(data)
        print(name, len(data))


if __name__ == "__main__":
    main(sys.argv[1:])
