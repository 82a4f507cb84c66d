"""Writes seed corpora for every fuzz target, from Fixtures/ and from what is committed in Corpus/:

    python seeds.py FOLDER        FOLDER/<target>/<name>

Needs nothing but Python. Files above LIMIT are left out: the fuzzer is to be fast.
"""

import io
import itertools
import json
import pathlib
import struct
import sys
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = HERE.parents[1] / "Fixtures"
LIMIT = 20_000


def checkpoints():
    for path in sorted([*FIXTURES.glob("golden/*.qckpt"), *FIXTURES.glob("invalid/*.qckpt")]):
        if path.stat().st_size <= LIMIT:
            yield path.name, path.read_bytes()


def directories():
    for name, data in checkpoints():
        if len(data) >= 160:
            start, length = struct.unpack_from("<QQ", data, len(data) - 96)
            if 0 < length and start + length <= len(data):
                yield name, data[start:start + length]


def safetensors():
    for path in sorted(FIXTURES.glob("golden/*.safetensors")):
        if path.stat().st_size <= LIMIT:
            yield path.name, path.read_bytes()
    header = json.dumps({"__metadata__": {"a": "b"}, "m": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
                         "n": {"dtype": "F4", "shape": [2, 1], "data_offsets": [4, 5]}}).encode()
    yield "small", struct.pack("<Q", len(header)) + header + b"12345"
    yield "index", json.dumps({"metadata": {"total_size": 1}, "weight_map": {"a": "a.safetensors"}}).encode()


def array(descr="<f4", shape="(3,)", order="False", data=bytes(12), version=1):
    text = f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + data


def arrays():
    for version in (1, 2, 3):
        yield f"version-{version}", array(version=version)
    for descr, size in (("|b1", 1), ("<f2", 2), ("<i8", 8), ("<c16", 16), (">f4", 4), ("|O", 8), ("<U3", 12)):
        yield "dtype-" + descr[1:], array(descr, data=bytes(3 * size))
    yield "scalar", array(shape="()", data=bytes(4))
    yield "none", array(shape="(0, 5)", data=b"")
    yield "fortran", array(order="True")
    for name, method in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", method) as out:
            out.writestr("a.npy", array())
            out.writestr("größe.npy", array("<f8", "(2, 2)", data=bytes(32)))
        yield f"{name}.npz", archive.getvalue()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out, out.open(zipfile.ZipInfo("a.npy"), "w", force_zip64=True) as member:
        member.write(array())
    yield "zip64.npz", archive.getvalue()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("model/data.pkl", b"\x80\x02}q\x00.")
    yield "torch.pt", archive.getvalue()


def policies():
    scheme = {"map": "dynamic", "bits": 8, "signed": True, "scaling": "block", "block": 256, "rounding": "nearest"}
    yield "scheme", json.dumps(scheme).encode()
    yield "log", b'{"map":"log","bits":4,"signed":false}'
    yield "stochastic", b'{"map":"linear","bits":8,"rounding":"stochastic","seed":"18446744073709551615"}'
    yield "custom", json.dumps({"map": "custom", "bits": 4, "signed": False, "table": [i / 15 for i in range(16)]}).encode()
    update = {"map": "linear", "bits": 8, "signed": True, "domain": "update"}
    yield "policy", json.dumps({"name": "mine", "min_elements": 4096, "rules": [
        {"match": {"name": "*embed*"}, "action": "lossless", "compression": "zstd"},
        {"match": {"role": ["second_moment"], "dtype": ["F32"], "min_dims": 2, "max_elements": 9}, "action": "quantize",
         "negative": "lossless", "scheme": {"map": "linear-nozero", "bits": 4, "signed": False, "scaling": "rank1"}},
        {"match": {"role": "first_moment"}, "action": "quantize", "scheme": update, "fallback": scheme},
        {"match": {"name": "[!a-z]?*"}, "action": "drop"}]}).encode()
    yield "extends", b'{"extends":"adam8","keep_lossless":["*.bias"],"drop":"tmp*"}'
    yield "text", '{"a":["\\u00e9\\ud83d\\ude00\\n",-0.0,1e308,-9223372036854775808,true,null,"é"]}'.encode()


def policy_texts():
    """Policies in JSON and in YAML, with what YAML alone has."""
    yield from policies()
    yield "block", b"""name: mine   # a comment
extends: adam8
keep_lossless: ["*embed*", '*.bias']
drop: [buffer/*]
rules:
  - match: {role: second_moment, min_dims: 2}
    action: quantize
    scheme: &scheme {map: linear-nozero, bits: 4, signed: false, scaling: rank1}
    negative: lossless
    compression: zstd
  - match: {role: [first_moment], dtype: [F32], max_elements: 100_000}
    action: quantize
    scheme: {map: linear, bits: 8, domain: update}
    fallback:
      ? map
      : dynamic
      bits: 0x8
  - {match: {name: "v*"}, action: quantize, scheme: *scheme}
"""
    yield "styles", b"""%YAML 1.1
---
name: !!str "two\\x41\\u00e9 lines\\
  in one"
drop: >-
  folded
  text
keep_lossless: |+
  literal

extends: adam4
rules: []
...
"""
    yield "aliases", b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (i, i, i - 1, i - 1) for i in range(1, 30)).join((b"a0: &a0 x\n", b""))
    yield "keys", b"--- {&a {b: [1.5, .nan, -.inf, yes]}: 2001-01-01, *a : !!int 3, [c]: !<tag:x> d, <<: *a}\n"
    yield "levels", b"- " * 60 + b"[" * 60
    yield "utf-16", "name: a\nrules: []\n".encode("utf-16")


def streams(first=b""):
    """Tensors as SchemeInput.swift reads them: dtype, dims, scheme; a range; scales about 1 and codes."""
    narrow = itertools.product((1, 2, 5, 6, 7), (0x80, 0x81, 0x82, 0x83), (3, 4, 0x80 | 1, 0x80 | 4 | 1 << 3))
    for map_, flags, layout in itertools.chain(
            itertools.product(range(8), (0, 1, 2, 3, 6, 10, 0x33), (0, 1, 3, 4, 4 | 8 << 3)), narrow):
        shape = struct.pack("<HH", 32, 40) if layout == 3 else struct.pack("<HH", 3, 11)
        bits = ((6, 5, 3, 2) if flags & 0x80 else (8, 4, 8, 4))[flags & 1 | layout >> 6 & 2]
        head = bytes([map_ % 3, 2]) + shape + bytes([map_, flags, layout])
        table = b"".join(struct.pack("<f", i / 16) for i in range(1 << bits)) if map_ == 5 else b""
        body = struct.pack("<4f", 1, 0.5, 2, 1.5) + bytes(i * 37 % 256 for i in range(80))
        yield f"{map_}-{flags}-{layout}", first + head + table + struct.pack("<HH", 2, 9) + body


def kernels():
    for update in (0, 3):
        for name, data in streams(bytes([update])):
            yield f"{update}-{name}", data


def pairs():
    """Both schemes of the update domain as PairTarget.swift reads them."""
    second = [bytes([6, 0, 4 | 1 << 3]), bytes([6, 1, 4]), bytes([0, 0, 4 | 3 << 3]), bytes([2, 1, 4])]
    second += [bytes([6, 0x80, 4]), bytes([6, 0x81, 0x80 | 4 | 1 << 3])]
    for map_, flags, layout in itertools.product((0, 1, 2, 4, 7), (2, 3, 6, 10, 0x82, 0x83), (4, 4 | 3 << 3, 0x80 | 4)):
        own = second[(map_ + flags + layout // 128) % len(second)]
        head = bytes([flags % 3, 1]) + struct.pack("<H", 77) + bytes([map_, flags, layout]) + own + bytes([map_ % 3])
        body = bytes((i * i * 29 + i * 7) % 256 for i in range(160))
        yield f"{map_}-{flags}-{layout}", head + struct.pack("<HH", 3, 50) + bytes([1, 7]) + body


def bounds():
    """A bound and what makes two tensors as BoundTarget.swift reads them."""
    for kind, flags, exponent in itertools.product(
            (0, 1, 2, 0x10, 0x11, 0x12, 0x20, 0x21, 0x22), (0, 1, 0x14, 0x3D), (0xF4, 0xFC)):
        tensor = bytes([exponent % 7, 200, 1, 2, 0x80, 0x3F, 40]) + bytes((i * i * 23 + i * 3) % 256 for i in range(41))
        yield f"{kind}-{flags}-{exponent}", bytes([kind, flags, 77, exponent]) + tensor + bytes([250, 17]) + tensor[2:]


def optimizers():
    """A rule, both schemes and a step as OptimizerTarget.swift reads them."""
    for rule, (map_, flags, layout), how in itertools.product(
            range(10), ((0, 2, 4 | 3 << 3), (1, 2, 4 | 1 << 3), (0, 3, 4 | 2 << 3), (4, 2, 3)), (0, 1, 0x18, 0x80)):
        second = bytes([6, flags & 1, 4 | 1 << 3])
        head = bytes([rule, how, rule % 3, 2]) + struct.pack("<2H", 24, 33) + bytes([map_, flags, layout]) + second
        yield f"{rule}-{map_}-{flags}-{how}", head + bytes([1, rule % 2]) + bytes((i * i * 31 + i * 5) % 256 for i in range(120))


def interfaces():
    """Calls as InterfaceTarget.swift reads them: a scheme, a policy, a writer, tensors, the end, reading."""
    scheme, policy, writer = bytes([0, 0, 1, 0, 1, 2, 0, 0]), bytes([9, 0, 2]), bytes([11, 0, 0, 1])
    tensors = bytes([13, 0, 0, 0, 0, 2, 8, 8, 1, 97, 1, 98, 1, 1, 0, 0, 1])
    yield "write", scheme + policy + writer + tensors + bytes(range(1, 80)) + bytes([17, 0, 0, 0, 19, 0, 0, 9, 1, 2])
    yield "encode", scheme + bytes([5, 0, 1, 1, 40, 1]) + bytes(range(40)) + bytes([0])
    yield "pushed", scheme + writer + bytes([13, 0, 0, 0, 3, 1, 40, 1, 97, 1, 98, 1, 1, 0, 0, 1]) + bytes(range(90))
    yield "moments", scheme + bytes([1, 1, 7, 0, 0, 2, 0, 0, 8, 0, 1, 1, 40]) + bytes(range(90))
    yield "policy", bytes([9, 0, 1, 60]) + b'{"rules":[{"action":"lossless"}]}'.ljust(60) + writer + bytes([17, 0, 0, 0])


def committed(target):
    """What fuzzing found to be new, and inputs that once were finds."""
    archive = HERE / "Corpus" / f"{target}.zip"
    if archive.exists():
        with zipfile.ZipFile(archive) as corpus:
            for name in corpus.namelist():
                yield name, corpus.read(name)


TARGETS = {"checkpoint": checkpoints, "base": checkpoints, "directory": directories, "stream": streams, "safetensors": safetensors,
           "npy": arrays, "policy": policies, "policy-text": policy_texts, "kernels": kernels, "pairs": pairs,
           "bounds": bounds, "optimizers": optimizers, "interface": interfaces, "reference": checkpoints}


def main(root):
    for target, seeds in TARGETS.items():
        folder = root / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in itertools.chain(seeds(), committed(target)):
            (folder / name).write_bytes(data)


main(pathlib.Path(sys.argv[1]))
