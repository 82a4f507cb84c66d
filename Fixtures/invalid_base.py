"""The cases of make_invalid.py for files with a base: the base is one of Fixtures/golden."""

import pathlib
import struct

import lz4.block
import numpy as np
import zstandard

import qckpt_writer as writer
from invalid_draft import Draft, lossless, put, quantized, CHUNK
from invalid_file import case
from qckpt_writer import spec

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"
NAME = "../golden/delta-base.qckpt"
# Tensors that the base has, and what their only chunk holds there.
STILL, MOVED = "a.equal", "b.moved"


class Related(Draft):
    """A draft with a base; `coded` gives the compression and stored bytes of a chunk by its tensor's name."""

    def __init__(self, tensors, coded, digest=None, name=NAME, required=spec.BASE_FILE, after=bytes(8)):
        base = spec.read_file(GOLDEN / "delta-base.qckpt")
        digest = base.digest if digest is None else digest
        start = writer.header(required=required, reserved=(digest if required else bytes(16)) + after)
        self.coded = coded

        def stage(t, number, kind, payload):
            return coded.get(t.raw_name.decode(), (0, payload))

        super().__init__(tensors, b"" if name is None else b'{"base":{"name":"%s"}}' % name.encode(), stage=stage,
                         start=start)
        for index, chunk in enumerate(self.chunks):
            if chunk[24] == spec.EQUAL:
                self.sum(index, spec.xxh3(tensors[struct.unpack_from("<I", chunk, 28)[0]].payloads()[0][1]))

    def sum(self, index, digest):
        """Sets the checksum of a chunk in its record and frame."""
        put(self.chunks[index], CHUNK, "hash", digest)
        at = self.stored_at(index)
        self.body[at - 8:at] = struct.pack("<Q", digest)
        return self


def of_base(name):
    """A tensor as the base has it."""
    base = spec.read_file(GOLDEN / "delta-base.qckpt")
    t = base.find(name)
    part = lossless(name, dtype=t.dtype, shape=t.shape)
    part.data = base.read(t)
    return part


def equal(*parts, **how):
    return Related(parts or [of_base(STILL)], {STILL: (spec.EQUAL, b"")}, **how)


def stages():
    """(code, stored bytes) of no difference under either stage, to the payload of MOVED."""
    zeros = bytes(len(of_base(MOVED).data))
    return ((4, lz4.block.compress(zeros, store_size=False)),
            (5, zstandard.ZstdCompressor(write_checksum=True).compress(zeros)))


def headers():
    for at in range(8):
        after = bytes(at) + b"\x01" + bytes(7 - at)
        yield case(f"base-header-reserved-{48 + at}", "reservedBits", equal(after=after).bytes(),
                   "a reserved byte of the header of a file with a base", offset=48 + at)
    both = Related([of_base(STILL)], {}, required=spec.BASE_FILE | 1 << 2)
    yield case("base-and-encryption", "unsupportedFeature", both.bytes(), "a base beside a feature that no version has",
               offset=16, says="know: 'encryption' (bit 2)")


def tables():
    """Compressions that a file or a chunk cannot have."""
    for code, stored in ((spec.EQUAL, b""), *stages()):
        name = STILL if code == spec.EQUAL else MOVED
        draft = Related([of_base(name)], {name: (code, stored)}, required=0)
        yield case(f"base-code-{code}-alone", "invalidChunkTable", draft.bytes(), "a chunk of a base in a file without one",
                   offset=draft.chunk_at(field="codec"))
    draft = equal().chunk(codec=6)
    yield case("base-code-6", "invalidChunkTable", draft.bytes(), "a compression that no version has",
               offset=draft.chunk_at(field="codec"))
    draft = Related([of_base(STILL)], {STILL: (spec.EQUAL, b"x")})
    yield case("base-stored", "invalidChunkTable", draft.bytes(), "a chunk of the base with a byte of its own",
               offset=draft.chunk_at(), tensor=STILL)
    part = of_base(MOVED)
    for code, stored in ((4, part.data), (5, part.data + b"x")):
        draft = Related([part], {MOVED: (code, stored)})
        yield case(f"base-long-{code}", "invalidChunkTable", draft.bytes(), "a difference no smaller than its payload",
                   offset=draft.chunk_at(), tensor=MOVED)
    rows = quantized("linear", scaling="row", name="j.rows", shape=(20, 4), scales=[1.0] * 20)
    draft = Related([rows], {})
    draft.chunk(codec=4)
    yield case("base-difference-scales", "invalidChunkTable", draft.bytes(), "a difference of scales",
               offset=draft.chunk_at(), tensor="j.rows")


def missing():
    yield case("base-missing", "baseMissing", equal(name="none.qckpt").bytes(), "a base that is not there", "bytes",
               tensor=STILL, says="there is no file 'none.qckpt'")
    yield case("base-unnamed", "baseMissing", equal(name=None).bytes(), "a base whose place is not told", "bytes",
               tensor=STILL, says="do not name it")
    for name, path in (("absolute", "/dev/zero"), ("empty", "")):
        yield case(f"base-name-{name}", "baseMissing", equal(name=path).bytes(), "a base that is not to be looked for there",
                   "bytes", tensor=STILL, says="is no relative path")
    yield case("base-other", "baseMismatch", equal(digest=bytes(range(16))).bytes(), "another checkpoint is in its place",
               "bytes", tensor=STILL, says="000102030405060708090a0b0c0d0e0f")
    yield case("base-foreign", "notACheckpoint", equal(name="../golden/expected.json").bytes(),
               "no checkpoint is in its place", "bytes", offset=0, tensor=STILL, says="a JSON document")


def mismatches():
    """Tensors that are not those of the base."""
    gone = lossless("gone")
    yield mismatch("gone", gone, "a tensor that the base has not")
    yield mismatch("dtype", lossless("q.shape", 40, "I8"), "a tensor of another dtype")
    yield mismatch("shape", lossless("q.shape", shape=(8, 5)), "a tensor of another shape")
    yield mismatch("lossless", lossless("h.codes", 100, "F32"), "a lossless tensor where the base has codes")
    for name, how in (("block", dict(block=64)), ("map", dict(map_="linear", rule="absmax")), ("rounding", dict(
            rounding="nearest-keep-nonzero"))):
        scales = [1.0] * (-(-100 // how.get("block", 32)))
        yield mismatch(name, quantized(name="h.codes", count=100, scales=scales, **how), "a tensor of another scheme")
    table = np.array([(i / 16) ** 2 for i in range(1, 17)], np.float32)
    other = quantized("custom", 4, False, table=table, name="n.custom", count=50, scales=(1.0, 1.0), rule="absmax")
    yield mismatch("table", other, "a tensor of another custom table")


def mismatch(name, part, breaks):
    key = part.raw_name.decode()
    draft = Related([part], {key: (spec.EQUAL, b"")})
    return case(f"base-tensor-{name}", "baseMismatch", draft.bytes(), breaks, "bytes", tensor=key)


def contents():
    draft = equal()
    draft.sum(0, 1)
    yield case("base-checksum", "chunkCorrupt", draft.bytes(), "another payload than the base has", "bytes",
               offset=draft.stored_at(), tensor=STILL, says="the base's chunk is not the one")
    for code, stored in stages():
        what = "lz4" if code == 4 else "zstd"
        draft = Related([of_base(MOVED)], {MOVED: (code, stored[:-1])})
        yield case(f"base-{what}-short", "decompressionFailed", draft.bytes(), "a difference that ends too early", "bytes",
                   offset=draft.stored_at(), tensor=MOVED)
        draft = Related([of_base(MOVED)], {MOVED: (code, stored)}).flip(Related(
            [of_base(MOVED)], {MOVED: (code, stored)}).stored_at() + 1)
        yield case(f"base-{what}-checksum", "chunkCorrupt", draft.bytes(), "the checksum of a difference", "bytes",
                   offset=draft.stored_at(), tensor=MOVED)


def unspoiled():
    yield equal().bytes()
    yield equal(of_base(STILL), lossless("zz")).bytes()
    for code, stored in stages():
        yield Related([of_base(MOVED)], {MOVED: (code, stored)}).bytes()
    # A base that no chunk needs does not have to be there.
    yield Related([lossless()], {}, name=None).bytes()


def cases():
    for group in (headers, tables, missing, mismatches, contents):
        yield from group()
