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


WIDTHS = (6, 5, 3, 2)
NARROW = [(m, b, s) for b in WIDTHS for m, s in (
    ("linear", True), ("linear", False), ("linear-nozero", True), ("linear-nozero", False), ("cubic", True))]


def widths():
    """The widths that are neither 8 nor 4 bits: every map, code, tail, scaling, dtype and rounding."""
    result = []
    for i, m in enumerate(NARROW):
        table = spec.NAMED[m]
        result.append(tensor(f"map.{label(*m)}", (150,), scheme(*m, block=64), seed=i))
        result.append(tensor(f"codes.{label(*m)}", (len(table),), scheme(*m, block=32), data=table))
        rounding, seed = ("stochastic", 12345) if i % 2 else ("nearest-keep-nonzero", 0)
        result.append(tensor(f"{rounding}.{label(*m)}", (100,), scheme(*m, block=32, rounding=rounding, seed=seed), seed=i))
    for bits in WIDTHS:
        result += [tensor(f"tail.{bits}.{count:02d}", (count,), scheme("cubic", bits, True, block=32), seed=count)
                   for count in (*range(1, 18), 31, 32, 33, 63, 64, 65)]
        for scaling, shape in (("tensor", (5, 7, 9)), ("row", (5, 7, 9)), ("column", (5, 7, 9)), ("rank1", (64, 1, 64))):
            how = scheme("linear", bits, False, scaling=scaling)
            result.append(tensor(f"{scaling}.{bits}", shape, how, seed=bits))
        result.append(tensor(f"row.scalar.{bits}", (), scheme("linear", bits, True), data=[0.3]))
        result += [tensor(f"{dtype}.{bits}", (77,), scheme("cubic", bits, True, block=32), dtype=dtype, seed=bits)
                   for dtype in ("BF16", "F16")]
        absmax = scheme("cubic", bits, True, block=32, rule="absmax")
        result.append(tensor(f"absmax.{bits}", (100,), absmax, seed=bits))
        result.append(tensor(f"default.{bits}", (300,), scheme("linear", bits, True), seed=bits))
    return result


def narrow_tables():
    """Tables of 2^b entries: padded, unsigned, and imports of any order."""
    result = []
    for bits in WIDTHS:
        n = 1 << bits
        squares = np.array([(i / (n - 1)) ** 2 for i in range(n)], np.float32)
        padded = np.array([-0.75, 0.0] + [1.0] * (n - 2), np.float32)
        imported = np.array([3.0, -2.0] + [i / 8 for i in range(n - 2)], np.float32)
        how = scheme("custom", bits, True, block=32, rounding="unknown", rule="unknown", table=imported, imported=True)
        result += [
            tensor(f"padded.{bits}", (50,), scheme("custom", bits, True, block=32, table=padded, rule="signed-extreme"), seed=3),
            tensor(f"squares.{bits}", (50,), scheme("custom", bits, False, block=32, table=squares), seed=4),
            Imported(f"unknown.{bits}", how, np.array([0, 1, n - 1, 1, 0] * 8 + [n - 1], np.uint8)),
        ]
    return result


def narrow_logs():
    """Blocks of the log map at the widths that are neither 8 nor 4 bits."""
    result = []
    for bits in WIDTHS:
        how = scheme("log", bits, False, block=32)
        blocks = {
            "values": values(90, False, 11), "no zeros": np.exp2(np.linspace(-20, 3, 64)), "zeros": np.zeros(40),
            "least to largest": patterns(1, 0x7F7FFFFF, 0x00800000, *(1 + 0x04000000 * np.arange(28, dtype=np.uint32)), 0),
            "a pattern a code": patterns(0x3F800000, 0x3F800000 + (1 << bits) - 1),
            "zero and a pattern a code": patterns(0, 0x3F800000, 0x3F800000 + (1 << bits) - 2),
        }
        result += [tensor(f"{bits}.{name}", (len(x),), how, data=x, role=2) for name, x in blocks.items()]
        result += [tensor(f"{bits}.tail.{count:02d}", (count,), how, seed=count) for count in (1, 2, 3, 7, 31, 33, 65)]
        result += [tensor(f"{bits}.{dtype}", (70,), how, dtype=dtype, seed=13) for dtype in ("BF16", "F16")]
        drawn = scheme("log", bits, False, block=64, rounding="stochastic", seed=12345)
        result.append(tensor(f"{bits}.stochastic", (90,), drawn, data=blocks["values"]))
        result.append(tensor(f"{bits}.default", (300,), scheme("log", bits, False), seed=14))
    return result


def narrow_updates():
    """Pairs of moments of which one or both are neither of 8 nor of 4 bits."""
    result = []
    for i, bits in enumerate(WIDTHS):
        logs = {b: scheme("log", b, False, block=64 if i % 2 else 32) for b in (bits, 8, 4)}
        for m in ("linear", "linear-nozero", "cubic"):
            first = scheme(m, bits, True, block=32)
            result += pair(f"{m}.{bits}", (101,), first, logs[bits], seed=i, epsilon=1e-8)
        result += pair(f"first.{bits}", (101,), scheme("cubic", bits, True, block=64), logs[4], seed=i)
        result += pair(f"second.{bits}", (101,), scheme("normal", 4, True, block=32), logs[bits], seed=i)
        result += pair(f"linear second.{bits}", (70,), scheme("cubic", bits, True), scheme("linear", bits, False), seed=i)
        result += pair(f"rows.{bits}", (5, 7), scheme("cubic", bits, True, scaling="row"), logs[8], seed=i)
        result += pair(f"dtypes.{bits}", (70,), scheme("cubic", bits, True, block=32), logs[bits], ("BF16", "F16"), seed=i)
        for rounding, seed in (("nearest-keep-nonzero", 0), ("stochastic", 99)):
            first = scheme("cubic", bits, True, block=32, rounding=rounding, seed=seed)
            result += pair(f"{rounding}.{bits}", (70,), first, logs[bits], seed=24)
    return result


def narrow_chunks():
    """A tensor and a pair of two chunks each at widths of which no two codes share a byte evenly; compressible."""
    count = spec.CHUNK_ELEMENTS + 33
    m, v = np.zeros(count, np.float32), np.zeros(count, np.float32)
    m[::3000], v[::2000] = values(len(m[::3000]), True, 60), values(len(v[::2000]), False, 61)
    return [tensor("moment", (count,), scheme("linear", 3, True), data=m),
            *pair("pair", (count,), scheme("cubic", 6, True), scheme("log", 5, False), m=m, v=v, epsilon=1e-8)]


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

    def __init__(self, name, how, codes=None):
        self.codes = np.array([0, 1, 3, 4, 15] * 8 + [0], np.uint8) if codes is None else codes
        super().__init__(name, "F32", (41,), bytes(4 * 41), how)
        self.stream = struct.pack("<2f", -1.5, 0.25) + writer.pack(self.codes, how["bits"])


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


def patterns(*words):
    return np.array(words, np.uint32).view(np.float32)


def logs():
    """Blocks of the log map, of 32 elements each but for the last."""
    ramp = np.arange(31, dtype=np.uint32)
    blocks = {
        "values": values(90, False, 11), "no zeros": np.exp2(np.linspace(-20, 3, 64)), "zeros": np.zeros(40),
        "minus zero": np.array([-0.0, 1, 2, -0.0]), "one": np.full(33, 0.75), "one and zeros": np.array([0, 0.75, 0] * 11),
        "subnormal": patterns(*(1 + 7 * ramp * ramp), 0, 1, 2), "least": patterns(1, 1, 2, 3),
        "least to largest": patterns(1, 0x7F7FFFFF, 0x00800000, 0x007FFFFF, *(1 + 0x04000000 * ramp[:28]), 0, 1),
        "across 2^-126": patterns(*(0x00700000 + 0x00010000 * ramp)),
        "fewer patterns than codes": patterns(*(0x3F800000 + ramp % 12)), "a pattern a code": patterns(0x3F800000, 0x3F80000F),
        "zero and a pattern a code": patterns(0, 0x3F800000, 0x3F80000E),
    }
    result = []
    for bits in (8, 4):
        how = scheme("log", bits, False, block=32)
        result += [tensor(f"{bits}.{name}", (len(x),), how, data=x, role=2) for name, x in blocks.items()]
        result += [tensor(f"{bits}.tail.{count:02d}", (count,), how, seed=count) for count in (1, 2, 31, 32, 33, 63, 65)]
        result += [tensor(f"{bits}.{dtype}", (70,), how, dtype=dtype, seed=13) for dtype in ("BF16", "F16")]
        small = np.array([0.0] + [2.0**-24 * i * i for i in range(1, 40)])
        result.append(tensor(f"{bits}.F16.subnormal", (40,), how, dtype="F16", data=small))
        tiny = patterns(*(0x00010000 * (ramp + 1)))
        result.append(tensor(f"{bits}.BF16.subnormal", (31,), how, dtype="BF16", data=tiny))
        drawn = scheme("log", bits, False, block=64, rounding="stochastic", seed=12345)
        for name in ("values", "least to largest", "fewer patterns than codes"):
            x = blocks[name]
            result.append(tensor(f"{bits}.stochastic.{name}", (len(x),), drawn, data=x))
    result.append(tensor("default.8", (600,), scheme("log", 8, False), seed=14))
    return result


LOG8, LOG4 = scheme("log", 8, False, block=64), scheme("log", 4, False, block=32)


def pair(name, shape, first, second=LOG8, dtypes=("F32", "F32"), seed=1, epsilon=None, m=None, v=None):
    """A first moment in the update domain and its second moment."""
    v = tensor(f"{name}/v", shape, second, dtypes[1], seed + 50, 2, v)
    x = values(int(np.prod(shape)), True, seed) if m is None else np.asarray(m, np.float32)
    how = {**first, "domain": "update"}
    return [Record(f"{name}/m", dtypes[0], shape, spec.narrow(x, dtypes[0]), how, 1, 0, v, epsilon), v]


UPDATES = [("linear", 8, True), ("normal", 4, True), ("dynamic", 8, True), ("dynamic", 4, True), ("linear-nozero", 4, True),
           ("linear-nozero", 8, True)]


def updates():
    result = []
    for i, m in enumerate(UPDATES):
        result += pair(f"block.{label(*m)}", (100,), scheme(*m, block=32), LOG8 if m[1] == 8 else LOG4, seed=i)
    for scaling, shape in (("tensor", (5, 7)), ("row", (5, 7)), ("column", (5, 7)), ("rank1", (64, 1, 64))):
        first = scheme("linear", 8, True, scaling=scaling)
        result += pair(f"{scaling}.log", shape, first, seed=20)
        result += pair(f"{scaling}.{scaling}", shape, scheme("dynamic", 4, True, scaling=scaling),
                       scheme("linear-nozero", 4, False, scaling=scaling), seed=21)
    for m, second in ((("linear", 8, True), ("linear", 8, False)), (("normal", 4, True), ("dynamic", 4, False)),
                      (("dynamic", 8, True), ("dynamic-nozero", 8, False))):
        result += pair(f"second.{label(*second)}", (70,), scheme(*m, block=32), scheme(*second, block=64), seed=22)
    for dtypes in (("BF16", "F32"), ("F32", "BF16"), ("F16", "F16"), ("BF16", "BF16")):
        result += pair(f"dtypes.{'.'.join(dtypes)}", (70,), scheme("linear", 8, True, block=32), LOG4, dtypes, seed=23)
    for rounding, seed in (("nearest-keep-nonzero", 0), ("stochastic", 99)):
        for m in (("linear", 8, True), ("dynamic", 4, True), ("linear-nozero", 4, True)):
            first = scheme(*m, block=32, rounding=rounding, seed=seed)
            result += pair(f"{rounding}.{label(*m)}", (70,), first, LOG4, seed=24)
    squares = np.array([i * abs(i) / 64 for i in range(-7, 9)], np.float32)
    result += pair("custom", (50,), scheme("custom", 4, True, block=32, table=squares, rule="signed-extreme"), LOG4, seed=25)
    result += pair("custom.rank1", (64, 64), scheme("custom", 4, True, scaling="rank1", table=squares), LOG4, seed=26)
    return result + update_extremes()


def stepped(tensors, *steps):
    """Tensors with a step each (Stream.md, *Steps*)."""
    for t, step in zip(tensors, steps):
        t.step = step
    return tensors


def with_steps():
    result = []
    for bits, sigma in ((8, 0.01), (4, 0.2)):
        for scaling in ("block", "tensor"):
            how = scheme("linear", bits, True, scaling=scaling, block=32)
            for dtype in ("F32", "BF16", "F16"):
                name = f"linear.{bits}.{scaling}.{dtype}"
                result += stepped([tensor(name, (70,), how, dtype, seed=31)], ("absolute", sigma))
    result += stepped([tensor("linear.rms", (300,), scheme("linear", 8, True), seed=32)], ("rms", 0.4))
    for bits, octaves in ((8, 0.5), (8, 0.01), (8, 1), (4, 1.5)):
        how = scheme("log", bits, False, block=32)
        for dtype in ("F32", "BF16", "F16"):
            result += stepped([tensor(f"log.{bits}.{octaves}.{dtype}", (100,), how, dtype, seed=33)], ("octaves", octaves))
    zeros = tensor("log.zeros", (40,), scheme("log", 8, False, block=32), data=np.zeros(40))
    return (result + stepped([zeros], ("octaves", 0.5))
            + stepped(pair("pair", (200,), scheme("linear", 8, True, block=64), seed=34), ("rms", 0.3), ("octaves", 0.6))
            + stepped(pair("pair.fine", (200,), scheme("linear", 8, True, block=64), seed=35), ("absolute", 1e-3), ("octaves", 0.05)))


def update_extremes():
    """Quotients whose scales round down, up, to a subnormal number or to zero; second moments of zero and next to it."""
    steps = np.arange(64)
    tiny = np.concatenate([patterns(*range(64)), patterns(*(0x80000000 + 0x10 * steps))])
    huge, least = np.float32(2.0**60), np.float32(2.0**-60)
    ramp = (1 + steps / 64) * np.where(steps % 3 == 0, -1, 1)
    result = []
    for m in UPDATES[:5]:
        for rounding in ("nearest", "nearest-keep-nonzero"):
            how, name = scheme(*m, block=32, rounding=rounding), f"{rounding}.{label(*m)}"
            result += pair(f"tiny.{name}", (128,), how, LOG4, m=tiny, v=np.ones(128))
        how = scheme(*m, block=32)
        result += pair(f"zero v.{label(*m)}", (64,), how, LOG4, m=ramp, v=np.zeros(64))
        result += pair(f"no m.{label(*m)}", (33,), how, LOG4, m=np.zeros(33), v=np.ones(33))
        result += pair(f"huge.{label(*m)}", (64,), how, LOG4, m=ramp * huge, v=np.where(steps % 5 == 0, huge, least))
        result += pair(f"subnormal v.{label(*m)}", (64,), how, LOG8, m=ramp * least, v=patterns(*(1 + steps)))
    # One bit above, at and below the middle between two scales.
    for i, low in enumerate((0x7F, 0x80, 0x81, 0x180, 0xFF, 0x00)):
        x = patterns(*[0xBF800000 + low] * 2, 0x3F000000)
        result += pair(f"scale.{i}", (3,), scheme("linear", 8, True, block=32), LOG4, m=x, v=np.ones(3))
    empty = [("none", (0, 4), scheme("linear", 8, True)), ("no rows", (0, 4), scheme("linear", 8, True, scaling="row"))]
    for name, shape, how in empty:
        result += pair(name, shape, how, m=[], v=[])
    return result


def measured():
    """Pairs whose update was measured, beside one whose was not, and moments that could not be paired."""
    result = []
    for i, (epsilon, dtype) in enumerate(((1e-8, "F32"), (0.5, "F32"), (0.0, "F32"), (1e-8, "BF16"), (None, "F32"))):
        v = 1 + np.arange(70) % 11 if epsilon == 0 else None
        for m, second in ((("linear", 8, True), LOG8), (("normal", 4, True), LOG4)):
            result += pair(f"{i}.{label(*m)}", (70,), scheme(*m, block=32), second, (dtype, dtype), 30 + i, epsilon, v=v)
    # A linear map takes second moments to zero; both moments of zero do not move.
    result += pair("zeroed", (70,), scheme("linear", 4, True, block=32), scheme("linear", 4, False, block=64), seed=40,
                   epsilon=1e-3)
    result += pair("still", (70,), scheme("linear", 4, True, block=32), LOG4, m=np.zeros(70), v=np.zeros(70), epsilon=0.0)
    for reason in (5, 6, 7, 8):
        alone = tensor(f"alone.{reason}", (40,), scheme("dynamic", 8, True), seed=reason, role=1)
        alone.reason = reason
        result.append(alone)
    return result


def pair_chunks():
    """A pair of two chunks of codes and, of both moments, of scales; compressible."""
    count = spec.CHUNK_ELEMENTS + 33
    m, v = np.zeros(count, np.float32), np.zeros(count, np.float32)
    m[::3000], v[::2000] = values(len(m[::3000]), True, 60), values(len(v[::2000]), False, 61)
    return [
        *pair("blocks", (count,), scheme("normal", 4, True), scheme("log", 4, False), m=m, v=v, epsilon=1e-8),
        *pair("rows", (count, 1), scheme("linear", 4, True, scaling="row"),
              scheme("linear-nozero", 4, False, scaling="row"), m=m, v=v),
        Record("a", "U8", (3,), b"abc"), Record("z", "U8", (3,), b"xyz"),
    ]


def escaped():
    """Tensors with values beside their codes: in every form, of both moments of pairs, and of none."""
    result = []
    runs = [(0, 3, 16), (3, 1, 32), (17, 5, 24), (60, 33, 16), (99, 1, 24)]
    for m in (("linear", 8, True), ("dynamic", 4, True), ("linear", 4, False)):
        how = scheme(*m, block=32, escapes=runs)
        result.append(tensor(f"F32.{label(*m)}", (100,), how, seed=70, data=awkward(m[2])))
    narrow = [(first, length, 16) for first, length, _ in runs]
    for dtype in ("BF16", "F16"):
        how = scheme("linear", 8, True, scaling="tensor", escapes=narrow)
        result.append(tensor(f"{dtype}.linear.s8", (100,), how, dtype=dtype, seed=71))
    for bits in (8, 4):
        how = scheme("log", bits, False, block=64, escapes=runs)
        result.append(tensor(f"log.{bits}", (101,), how, seed=72, data=awkward(False, 101), role=2))
    result.append(tensor("rows", (5, 20), scheme("linear", 8, True, scaling="row", escapes=runs), seed=73))
    result.append(tensor("none", (70,), scheme("linear", 8, True, block=32, escapes=[]), seed=74))
    result.append(tensor("all", (33,), scheme("linear", 4, True, block=32, escapes=[(0, 33, 32)]), seed=75))
    result.append(tensor("empty", (0,), scheme("linear", 8, True, block=32, escapes=[]), data=[]))
    # Floats of every number of bits, and multiples of steps from the least to large ones.
    every = [(4 * i, 3, bits) for i, bits in enumerate(range(9, 33))]
    result.append(tensor("bits", (100,), scheme("linear", 8, True, block=32, escapes=every), seed=80, data=awkward(True)))
    result.append(tensor("bits.log", (100,), scheme("log", 8, False, block=32, escapes=every), seed=81, data=awkward(False), role=2))
    steps = [(0, 20, (16, -10)), (20, 9, (24, -20)), (30, 5, (8, -5)), (35, 1, (8, -149)), (36, 2, (16, -140)), (40, 3, (24, 105)),
             (50, 6, (16, -3)), (56, 2, 17)]
    for m in (("linear", 8, True), ("linear", 4, False), ("custom", 3, True)):
        table = dict(table=np.linspace(-1, 1, 8)) if m[0] == "custom" else {}
        how = scheme(*m, scaling="tensor", escapes=steps, **table)
        x = values(60, m[2], 82)
        x[35:43] = patterns(3, 0x1234, 0x007FFFFF, 0, 0, 0x7F000000, 0x7EFFFFFF, 0)
        result.append(tensor(f"steps.{label(*m)}", (60,), how, data=x))
    first = scheme("linear", 8, True, block=32, escapes=[(1, 2, 16), (30, 4, 24), (66, 1, 32)])
    flat = scheme("linear", 4, True, scaling="tensor", escapes=[(5, 6, 13)])
    log = scheme("log", 8, False, block=64, escapes=[(0, 2, 32), (31, 2, 16), (65, 1, 21)])
    for name, how, second in (("both", first, log), ("first", first, LOG8), ("second", scheme("linear", 8, True, block=32), log),
                              ("no runs", {**first, "escapes": []}, {**log, "escapes": []}), ("flat", flat, log)):
        result += pair(f"pair.{name}", (70,), how, second, seed=76, epsilon=1e-8)
    narrow = scheme("linear", 8, True, block=32, escapes=[(1, 2, 16)])
    result += pair("pair.BF16.F16", (70,), narrow, scheme("log", 4, False, block=32, escapes=[(0, 40, 16)]), ("BF16", "F16"),
                   seed=77, epsilon=1e-8)
    root = scheme("linear", 8, False, scaling="tensor", escapes=[(0, 30, (16, -12)), (31, 9, (24, -22))])
    result += pair("pair.steps", (70,), scheme("linear", 8, True, block=32), root, seed=79, epsilon=1e-8)
    return result


def awkward(signed, count=100):
    """Values that rounding to 16 or 24 bits meets with care: subnormal numbers, ties, next to powers of two."""
    x = values(count, signed, 78)
    x[17:22] = patterns(0x3F7FFFFF, 0x3F808080, 0x3F818080, 0x00012345, 0x007FFF80)
    x[60:64] = patterns(0x3F808000, 0x3F818000, 0x3F7F8000, 0x00A00001)
    return x


def escaped_chunks():
    """Two chunks each with escapes, whose size before the lossless stage no shape tells; compressible."""
    count = spec.CHUNK_ELEMENTS + 33
    m, v = np.zeros(count, np.float32), np.zeros(count, np.float32)
    m[::3000], v[::2000] = values(len(m[::3000]), True, 80), values(len(v[::2000]), False, 81)
    runs = [(10, 6000, 16), (spec.CHUNK_ELEMENTS - 5, 5, 32), (spec.CHUNK_ELEMENTS + 1, 20, 19)]
    steps = [(10, 6000, (16, -8)), (spec.CHUNK_ELEMENTS - 5, 5, (24, -20)), (spec.CHUNK_ELEMENTS + 1, 20, 19)]
    first = scheme("linear", 8, True, scaling="tensor", escapes=runs)
    return [*pair("pair", (count,), first, scheme("log", 8, False, escapes=runs), m=m, v=v),
            tensor("single", (count,), scheme("linear", 8, True, scaling="tensor", escapes=steps), data=m),
            tensor("none", (count,), scheme("linear", 8, True, scaling="tensor", escapes=[]), data=m)]


def unused():
    """Under feature bits that a reader need not know."""
    return [Record("a", "U8", (3,), b"abc")]


# Version and optional features of the cases that have others than a writer of this version gives.
HEADERS = {"unused-bits": dict(optional=(1 << 64) - 1), "newer-minor": dict(version=(1, 1)),
           "newer-minor-bits": dict(version=(1, 65535), optional=(1 << 64) - 1), "escapes": dict(required=spec.ESCAPES),
           "escapes-lz4": dict(required=spec.ESCAPES), "escapes-zstd": dict(required=spec.ESCAPES)}


def related(step):
    """What a run would save at its steps: what never changes, what moves a little, what is new. Small, but for one tensor of
    two chunks of which the first stays the same."""
    how = scheme("dynamic", 8, True, block=32)
    floats = (1 + np.arange(700) / 700).astype(np.float32)
    moved = (floats.view(np.int32) + ((np.arange(700) % 5 - 2) * step).astype(np.int32)).view(np.float32)
    wide = np.linspace(-1, 1, 300) * (1 + 1e-9 * step)
    halves = np.where(np.arange(600) < 300, moved[:600], floats[:600])
    chunk = np.zeros(spec.LOSSLESS_CHUNK // 2 + 40, "<i2")
    chunk[-30:] = 900 + step * np.arange(30)
    rows, near = values(80, True, 70), values(900, True, 75)
    near[:40] *= 1 - step / 100
    result = [
        tensor("a.equal", (300,), None, "BF16", data=floats[:300]),
        Record("b.moved", "F32", (700,), moved.astype("<f4").tobytes(), role=5),
        Record("c.wide", "F64", (300,), wide.astype("<f8").tobytes()),
        Record("d.complex", "C64", (300,), halves.astype("<f4").tobytes()),
        Record("e.bytes", "I8", (400,), (np.arange(400) // 7 + step * (np.arange(400) % 3)).astype("i1").tobytes()),
        Record("f.nibbles", "F4", (800,), bytes((i // 9 + step * (i % 2)) % 256 for i in range(400))),
        Record("g.chunks", "I16", (len(chunk),), chunk.tobytes()),
        tensor("h.codes", (100,), how, data=values(100, True, 71 + step)),
        tensor("h.near", (900,), how, data=near), tensor("h.nibbles", (900,), scheme("dynamic", 4, True, block=32), data=near),
        tensor("i.still", (100,), how, data=values(100, True, 70)),
        tensor("j.rows", (20, 4), scheme("linear", 8, True, scaling="row"), data=rows * np.where(np.arange(80) % 2, 1, -1)),
        *pair("k.pair", (70,), scheme("linear", 8, True, block=32), seed=80, v=values(70, False, 81 + step)),
        *pair("l.pair", (70,), scheme("normal", 4, True, block=32), LOG4, seed=82),
        Record("m.empty", "I64", (0,), b""),
        tensor("n.custom", (50,), scheme("custom", 4, False, block=32, table=[(i / 15) ** 2 for i in range(16)]), seed=4),
        Record("o.steps", "I64", (), struct.pack("<q", 1000 + step)),
    ]
    # In the base under other names, dtypes, shapes and schemes.
    if step == 0:
        return [*result, Record("p.dtype", "I16", (40,), bytes(80)), Record("q.shape", "U8", (40,), bytes(40)),
                tensor("r.scheme", (40,), scheme("dynamic", 8, True, block=64), seed=3), Record("s.gone", "U8", (9,), bytes(9))]
    return [*result, Record("p.dtype", "U16", (40,), bytes(80)), Record("q.shape", "U8", (8, 5), bytes(40)),
            tensor("r.scheme", (40,), how, seed=3), Record("t.new", "U8", (9,), bytes(9))]


# The files that have a base, the case that it is, and the step of the run; the last is a base's base away from the first.
RELATED = {"delta-base": (None, 0), "delta-none": ("delta-base", 1), "delta-lz4": ("delta-base", 1),
           "delta-zstd": ("delta-lz4", 2)}


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
    "log": (logs, {}, "none"), "update": (updates, {}, "none"), "update-measured": (measured, {}, "none"),
    "steps": (with_steps, {}, "none"),
    "pair-chunks": (pair_chunks, {}, "lz4"), "escapes": (escaped, {}, "none"),
    "escapes-lz4": (escaped_chunks, {}, "lz4"), "escapes-zstd": (escaped_chunks, {}, "zstd"),
    "widths": (widths, {}, "none"), "widths-custom": (narrow_tables, {}, "none"), "widths-log": (narrow_logs, {}, "none"),
    "widths-update": (narrow_updates, {}, "none"), "widths-chunks": (narrow_chunks, {}, "lz4"),
    "c128": (double_complex, {}, "none"), "unused-bits": (unused, None, "none"),
    "newer-minor": (unused, None, "none"), "newer-minor-bits": (unused, None, "none"),
    "delta-base": (lambda: related(0), {}, "lz4"), "delta-none": (lambda: related(1), {}, "none"),
    "delta-lz4": (lambda: related(1), {}, "lz4"), "delta-zstd": (lambda: related(2), {}, "zstd"),
    "names": (named, {"metadata": {"größe": "1 ≤ 2", "step": "7"}}, "none"),
}


def safetensors(tensors):
    entries, body = {}, b""
    for t in sorted(tensors, key=lambda t: t.name.encode()):
        entries[t.name] = {"dtype": t.dtype, "shape": list(t.shape), "data_offsets": [len(body), len(body) + len(t.data)]}
        body += t.data
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def describe(data, bases=()):
    """What a reader must find, from the reference reader, and what the writer measured."""
    checkpoint = spec.Checkpoint(data, bases)
    found = spec.summary(checkpoint)
    for entry, t in zip(found["tensors"], checkpoint.tensors):
        entry["xxh3"] = f"{spec.xxh3(checkpoint.read(t)):016x}"
        if t.quantized:
            entry["statistics"] = {
                "max_abs_error": t.max_abs, "max_scaled_error": t.max_scaled, "squared_error": t.squared_error,
                "squared_source": t.squared_source, "zeros_created": t.zeros, "sign_changes": t.signs}
    return {"sha256": hashlib.sha256(data).hexdigest(), **found}


def encode_imported(t, *divisors, original=writer.encode):
    return [(spec.CODES, t.stream)] if isinstance(t, Imported) else original(t, *divisors)


def make():
    """{file name: bytes}, expected.json among them."""
    writer.encode = encode_imported
    files, expected, made = {}, {}, {}
    for case, (tensors, metadata, compression) in CASES.items():
        listed = tensors()
        if case != "names":
            listed.sort(key=lambda t: t.name.encode())
        for t in listed:
            if isinstance(t, Imported):
                t.guaranteed = float("nan")
        own_base = RELATED.get(case, (None,))[0]
        related_to = {} if own_base is None else dict(base=made[own_base], base_name=f"{own_base}.qckpt")
        data = build(listed, metadata, compression, **related_to, **HEADERS.get(case, {}))
        files[f"{case}.qckpt"] = data
        if case in RELATED:
            made[case] = spec.Checkpoint(data, made.values())
        expected[case] = {"compression": compression, **describe(data, made.values())}
        # What is written in the order of its names from a source at hand must be reproduced byte for byte.
        expected[case]["reproducible"] = compression == "none" and case not in (
            "custom", "widths-custom", "c128", "names", "steps", *HEADERS)
        if expected[case]["reproducible"]:
            files[f"{case}.safetensors"] = safetensors(listed)
    files["expected.json"] = json.dumps(expected, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    return files


def summaries(files):
    """What describe() finds in the files of RELATED, each with the bases of the same lot."""
    made = []
    for case in RELATED:
        made.append(spec.Checkpoint(files[f"{case}.qckpt"], made))
    return [spec.summary(checkpoint)["tensors"] for checkpoint in made]


def comparable(name, data, files):
    """What --check compares: compressors of another version may write other bytes, which hold the same tensors."""
    compressed = ("lz4", "zstd", "chunks", "pair-chunks", "widths-chunks", "escapes-lz4", "escapes-zstd")
    if data is not None and name.split(".")[0] in compressed:
        return describe(data)["tensors"]
    if data is not None and name.removesuffix(".qckpt") in RELATED:
        return summaries(files)
    if data is not None and name == "expected.json":
        expected = json.loads(data)
        for name, case in expected.items():
            if case["compression"] != "none" or name in RELATED:
                del case["sha256"]
            if name in RELATED:
                # Of a base that another version of a compressor wrote.
                case.update(base=None, metadata=None)
        return expected
    return data


def main(arguments):
    files = make()
    if arguments == ["--check"]:
        there = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.name != "README.md"}
        wrong = sorted(name for name in files.keys() | there.keys()
                       if comparable(name, files.get(name), files) != comparable(name, there.get(name), there))
        sys.exit(f"differ: {wrong}" if wrong else 0)
    FOLDER.mkdir(exist_ok=True)
    for name, data in files.items():
        (FOLDER / name).write_bytes(data)
        print(name, len(data))


if __name__ == "__main__":
    main(sys.argv[1:])
