"""Writes Fixtures/inputs: safetensors and NumPy files that claim what they do not hold, with the error that each must give.

    python make_inputs.py            writes the files and expected.json
    python make_inputs.py --check    compares them with what would be written
"""

import json
import pathlib
import struct
import sys
import zlib

FOLDER = pathlib.Path(__file__).resolve().parent / "inputs"


# safetensors


def safetensors(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape=(4,), offsets=(0, 4), dtype="U8"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def tensor_files():
    good = {"a": entry()}
    for name, length in (("2-63", 1 << 63), ("max", (1 << 64) - 1), ("above-limit", 100_000_001), ("claim", 100_000_000)):
        yield f"header-{name}.safetensors", safetensors(good, b"abcd", length), f"a header of {length} bytes", 0
    deep = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    yield "deep-entry.safetensors", safetensors(deep), "an entry of 100,000 arrays within each other", None
    deep = b'{"__metadata__":' + b'{"":' * 100_000 + b"0" + b"}" * 100_001
    yield "deep-metadata.safetensors", safetensors(deep), "metadata of 100,000 objects within each other", None
    for name, one in (("offsets-2-63", entry(offsets=(0, 1 << 63))), ("offsets-2-64", entry(offsets=(0, 1 << 64))),
                      ("offsets-claim", entry((1 << 40,), (0, 1 << 40))), ("offsets-descend", entry((0,), (4, 0))),
                      ("shape-2-96", entry((1 << 32,) * 3)), ("shape-wraps", entry((1 << 33, 1 << 31))),
                      ("shape-negative", entry((-4,)))):
        yield f"{name}.safetensors", safetensors({"a": one}, b"abcd"), "a tensor that cannot be in the file", None
    one = b'"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}'
    yield "duplicate.safetensors", safetensors(b"{" + one + b"," + one + b"}", b"abcd"), "two tensors of one name", None
    yield "overlap.safetensors", safetensors({"a": entry(), "b": entry()}, b"abcd"), "two tensors of the same bytes", None


# NumPy


def npy(shape="(4,)", data=b"abcd", length=None, version=1, descr="|u1"):
    text = (f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n").encode()
    size = len(text) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", size) + text + data


class Member:
    """A member of an archive: what its headers say and what is there."""

    def __init__(self, name, data, raw=None, size=None, stored=None, at=None):
        self.name, self.data = name.encode(), data
        self.method = 0 if raw is None else 8
        self.crc = zlib.crc32(data if raw is None else raw)
        self.size = len(data if raw is None else raw) if size is None else size
        self.stored = len(data) if stored is None else stored
        self.at = at

    def fields(self, central):
        """Sizes, and those that do not fit as an extra field."""
        large = [value for value in (self.size, self.stored) if value > 0xFFFFFFFF]
        extra = struct.pack("<HH", 1, 8 * len(large)) + struct.pack(f"<{len(large)}Q", *large) if large else b""
        sizes = [min(value, 0xFFFFFFFF) for value in (self.stored, self.size)]
        return struct.pack("<HHHHHIIIHH", 20, 0, self.method, 0, 0, self.crc, *sizes, len(self.name), len(extra)), extra

    def local(self):
        fields, extra = self.fields(False)
        return b"PK\x03\x04" + fields + self.name + extra + self.data

    def central(self, at):
        fields, extra = self.fields(True)
        return b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, at) + self.name + extra


def archive(members, count=None, size=None, wide=None):
    body, directory = b"", b""
    for member in members:
        directory += member.central(len(body) if member.at is None else member.at)
        body += member.local() if member.at is None else b""
    number = len(members) if count is None else count
    length = len(directory) if size is None else size
    end = struct.pack("<HHHHIIH", 0, 0, min(number, 0xFFFF), min(number, 0xFFFF), min(length, 0xFFFFFFFF), len(body), 0)
    if wide:
        start = len(body) + len(directory)
        record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, *wide, len(body))
        directory += record + b"PK\x06\x07" + struct.pack("<IQI", 0, start, 1)
        end = struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return body + directory + b"PK\x05\x06" + end


def deflated(data):
    coder = zlib.compressobj(9, zlib.DEFLATED, -15)
    return coder.compress(data) + coder.flush()


def arrays():
    yield "shape-claim.npy", npy(f"({1 << 40},)"), "2^40 elements in a file of 4", None
    yield "shape-2-124.npy", npy(f"({1 << 62}, {1 << 62})"), "2^124 elements", None
    yield "header-4-gib.npy", npy(length=(1 << 32) - 1, version=2), "a header of 4 GiB", None
    yield "header-deep.npy", npy("(" * 20_000 + ")" * 20_000), "20,000 brackets", None


def archives():
    good = npy()
    claim = 1 << 40
    yield "stored-claim.npz", archive([Member("a.npy", good, size=claim, stored=claim)]), "a member of 2^40 stored bytes", None
    small = deflated(good)
    yield "deflated-claim.npz", archive([Member("a.npy", small, raw=good, size=claim)]), "a member that says to inflate to 2^40 bytes", None
    bomb = deflated(npy("(100000000,)", bytes(100_000_000)))
    short = Member("a.npy", bomb, raw=npy("(100000,)", bytes(100_000)))
    yield "deflated-expands.npz", archive([short]), "a member that says 100 kB and inflates to 100 MB", None
    inner = Member("b.npy", good)
    outer = Member("a.npy", npy(f"({len(inner.local())},)", inner.local()))
    inside = len(outer.local()) - len(inner.local())
    inner.at = inside
    yield "overlap.npz", archive([outer, inner]), "a member within another", None
    twice = Member("a.npy", good, at=0)
    yield "duplicate.npz", archive([Member("a.npy", good), twice]), "two entries of one member", None
    yield "count-claim.npz", archive([Member("a.npy", good)], count=65_534), "65,534 members in a directory of one", None
    yield "directory-claim.npz", archive([Member("a.npy", good)], size=(1 << 32) - 2), "a directory of 4 GiB", None
    for name, wide in (("count", (1 << 63, 1 << 63, 51)), ("size", (1, 1, 1 << 63))):
        yield f"zip64-{name}-2-63.npz", archive([Member("a.npy", good)], wide=wide), f"a {name} of 2^63 in the zip64 record", None
    yield "member-claim.npz", archive([Member("a.npy", npy(f"({claim},)"))]), "an array of 2^40 elements in a member of 4", None


def make():
    """{file name: bytes}, expected.json among them."""
    files, expected = {}, {}
    for name, data, breaks, offset in [*tensor_files(), *arrays(), *archives()]:
        assert name not in files, name
        code = "invalidSafetensors" if name.endswith(".safetensors") else "invalidNumpy"
        files[name], expected[name] = data, {"code": code, "breaks": breaks, "offset": PLACES.get(name, offset)}
    files["expected.json"] = json.dumps(expected, indent=1, sort_keys=True).encode() + b"\n"
    return files


# Where a reader finds the defects: at the key or the value in a header, at a member's data or entry, at the end record.
PLACES = {
    "count-claim.npz": 158, "deep-entry.safetensors": 13, "deep-metadata.safetensors": 532, "deflated-claim.npz": 116,
    "deflated-expands.npz": 76, "directory-claim.npz": 158, "duplicate.npz": 158, "duplicate.safetensors": 61,
    "header-4-gib.npy": 8, "header-deep.npy": 61, "member-claim.npz": 80, "offsets-2-63.safetensors": 57,
    "offsets-2-64.safetensors": 57, "offsets-claim.safetensors": 9, "offsets-descend.safetensors": 9, "overlap.npz": 140,
    "overlap.safetensors": 61, "shape-2-124.npy": 10, "shape-2-96.safetensors": 9, "shape-claim.npy": 80,
    "shape-negative.safetensors": 27, "shape-wraps.safetensors": 9, "stored-claim.npz": 127, "zip64-count-2-63.npz": 234,
    "zip64-size-2-63.npz": 234,
}


def main(arguments):
    files = make()
    if arguments == ["--check"]:
        there = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.name != "README.md"}
        wrong = sorted(name for name in files.keys() | there.keys() if files.get(name) != there.get(name))
        sys.exit(f"differ: {wrong}" if wrong else 0)
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        if old.name != "README.md":
            old.unlink()
    for name, data in files.items():
        (FOLDER / name).write_bytes(data)
    print(f"{len(files) - 1} files, {sum(map(len, files.values()))} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
