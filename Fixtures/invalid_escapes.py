"""The cases of make_invalid.py for escapes."""

import struct

import numpy as np

import qckpt_writer as writer
from invalid_directory import record
from invalid_draft import Draft, log, pair, quantized
from invalid_file import case
from qckpt_writer import spec

COUNT = 5
NAN16, INF16 = b"\xc0\x7f", b"\x80\x7f"


def section(*runs, values=b"", count=None):
    """Runs of (first element, length, form), or (first element, length, bits, exponent as stored), and the bytes of their
    values."""
    listed = b"".join(struct.pack("<2I", run[0], run[1] - 1 | run[2] << 18 | sum(run[3:]) << 24) for run in runs)
    return struct.pack("<I", len(runs) if count is None else count) + listed + values


def escaped(tail, make=quantized, **how):
    """A tensor of five elements whose payload ends in a section of escapes."""
    part = make(count=COUNT, escapes=[], **how)
    kind, payload = part.given[-1]
    part.given[-1] = (kind, payload + tail)
    return part


def draft(*tensors):
    return Draft(tensors, start=writer.header(required=spec.ESCAPES))


def flags():
    plain = Draft([quantized()]).set(signed=3)
    yield record("escape-without-feature", "invalidScheme", plain, "escapes in a file without their feature", "signed")
    for flag in (4, 5, 128):
        other = draft(escaped(section())).set(signed=flag)
        yield record(f"escape-flag-{flag}", "invalidScheme", other, "a flag of signedness that no version has", "signed")
    table = np.arange(-7, 9, dtype=np.float32) / 8
    unknown = dict(rounding="unknown", rule="unknown", table=table, imported=True)
    imported = draft(escaped(section(), map_="custom", bits=4, **unknown))
    yield case("escape-import", "invalidScheme", imported.bytes(), "escapes in an import",
               offset=imported.record_at(0, "map"), tensor="a")


def lengths():
    base = len(quantized(count=COUNT).given[0][1])
    for name, tail in (("none", b""), ("short", bytes(3)), ("long", section() + bytes(12 * COUNT + 1))):
        made = draft(escaped(tail))
        yield case(f"escape-length-{name}", "invalidChunkTable", made.bytes(), f"{base + len(tail)} bytes of a chunk",
                   offset=made.chunk_at(0), tensor="a")


def sections():
    two = b"\x00\x3f"
    spoiled = {
        "count": (section(count=1), "a run that is not there"),
        "count-huge": (section(values=bytes(8), count=0xFFFFFFFF), "more runs than there are bytes"),
        "bits-0": (section((0, 1, 0)), "floats of no bits"), "bits-8": (section((0, 1, 8), values=b"\x3f"), "of eight bits"),
        "bits-33": (section((0, 1, 33), values=bytes(5)), "floats of 33 bits"),
        "bits-63": (section((0, 1, 63), values=bytes(8)), "floats of 63 bits"),
        "lower-bits": (section((0, 1, 15), values=b"\x01\x3f"), "a float with a bit that its form has not"),
        "lower-bits-9": (section((1, 2, 9), values=b"\x80\x40\x3f\x3f"), "likewise, of nine bits, the second"),
        "beyond": (section((COUNT, 1, 16), values=two), "a run that begins after the last element"),
        "beyond-huge": (section((0xFFFFFFFF, 1, 16), values=two), "a run that begins far after the last element"),
        "longer": (section((3, 3, 16), values=two * 3), "a run that ends after the last element"),
        "longer-huge": (section((0, 1 << 18, 16), values=two), "a run of 2^18 elements"),
        "descending": (section((2, 1, 16), (0, 1, 16), values=two * 2), "runs out of order"),
        "overlap": (section((0, 3, 16), (2, 1, 16), values=two * 4), "runs that overlap"),
        "twice": (section((1, 1, 16), (1, 1, 16), values=two * 2), "an element that is escaped twice"),
        "cut": (section((0, 2, 16), values=two + b"\x00"), "a value that is cut short"),
        "cut-all": (section((0, 1, 32)), "a run without values"),
        "trailing": (section((0, 1, 16), values=two + b"\x00"), "a byte after the last value"),
        "trailing-none": (section(values=b"\x00"), "a byte after no value"),
        "nan": (section((1, 1, 16), values=NAN16), "a value that is no number"),
        "inf": (section((1, 2, 16), values=b"\x00\x80\x3f\x7f"), "an infinite value"),
        "inf-wide": (section((1, 1, 32), values=b"\x00\x00" + INF16), "an infinite value of 32 bits"),
        "inf-narrow": (section((1, 1, 9), values=INF16), "an infinite value of nine bits"),
        "minus-inf-24": (section((1, 1, 24), values=b"\x00\x80\xff"), "an infinite value of 24 bits"),
        "multiple-4": (section((0, 1, 4, 140), values=b"\x01"), "multiples of four bits"),
        "multiple-9": (section((0, 1, 9, 140), values=two), "multiples of nine bits"),
        "multiple-32": (section((0, 1, 32, 140), values=bytes(4)), "multiples of 32 bits"),
        "multiple-large": (section((0, 1, 24, 255), values=b"\x00\x00\x80"), "a multiple that is 2^128"),
        "multiple-cut": (section((0, 2, 24, 140), values=bytes(5)), "multiples that are cut short"),
    }
    for name, (tail, breaks) in spoiled.items():
        made = draft(escaped(tail))
        yield case(f"escape-{name}", "invalidEscape", made.bytes(), breaks, "tensor", made.stored_at(), "a")


def kinds():
    def refused(name, breaks, tail, **how):
        made = draft(escaped(tail, **how))
        return case(f"escape-{name}", "invalidEscape", made.bytes(), breaks, "tensor", made.stored_at(),
                    how.get("name", "v" if how.get("make") is log else "a"))

    one = section((0, 1, 16, 140), values=b"\x01\x00")
    for dtype in ("BF16", "F16"):
        yield refused(f"{dtype.lower()}-24", f"24 bits of {dtype}", section((0, 1, 24), values=bytes(3)), dtype=dtype)
        yield refused(f"{dtype.lower()}-multiple", f"a multiple in a tensor of {dtype}", one, dtype=dtype)
    yield refused("bf16-inf", "an infinite BF16", section((0, 1, 16), values=INF16), dtype="BF16")
    yield refused("f16-inf", "an infinite F16", section((0, 1, 16), values=b"\x00\x7c"), dtype="F16")
    yield refused("unsigned", "a negative value under an unsigned map", section((0, 1, 16), values=b"\x80\xbf"), map_="linear",
                  signed=False)
    yield refused("unsigned-multiple", "a negative multiple under an unsigned map", section((0, 1, 8, 140), values=b"\xff"),
                  map_="linear", signed=False)
    yield refused("log-minus-zero", "-0 under the log map", section((0, 1, 16), values=b"\x00\x80"), make=log)
    yield refused("log-multiple", "a multiple under the log map", one, make=log)
    v = log(name="v", count=COUNT)
    made = draft(escaped(one, map_="linear", name="m", second=v), v)
    yield case("escape-update-multiple", "invalidEscape", made.bytes(), "a multiple in the update domain", "tensor",
               made.stored_at(1), "m")
    odd = draft(escaped(section(), map_="linear", bits=4, codes=b"\x77\x77\x71"))
    yield case("escape-nibble", "invalidCode", odd.bytes(), "the nibble after the last code", "tensor", odd.stored_at(), "a")
    second = escaped(section(count=1), make=log, name="v")
    made = draft(*pair(of_second=second, count=COUNT))
    yield case("escape-of-reference", "invalidEscape", made.bytes(), "a first moment whose second moment's escapes are spoiled",
               "tensor", made.stored_at(0), "v")


def guarantees():
    small = draft(escaped(section((0, 1, 16), values=b"\x00\x60"), scales=(0.0,), guaranteed=1e-9))
    yield case("escape-bound", "boundViolated", small.bytes(), "an escape that admits more than is recorded", "verify",
               tensor="a")
    step = draft(escaped(section((0, 1, 8, 160), values=b"\x00"), scales=(0.0,), guaranteed=511.0))
    yield case("escape-bound-step", "boundViolated", step.bytes(), "a step that admits more than is recorded", "verify",
               tensor="a")
    ends = escaped(section((0, 1, 16), values=b"\x80\x3f"), make=log, ends=(1.0, 1.0), guaranteed=1.0)
    yield case("escape-bound-relative", "boundViolated", draft(ends).set(relative=1e-9).bytes(),
               "an escape that admits a larger relative error than is recorded", "verify", tensor="v")


def unspoiled():
    two = b"\x00\x3f"
    for tail in (section(), section((0, 5, 16), values=two * 5), section((0, 1, 32), (1, 1, 24), values=bytes(7)),
                 section((0, 1, 16), (4, 1, 16), values=two + b"\x80\xbf"), section((0, 1, 15), values=b"\x02\x3f"),
                 section((0, 1, 16, 1), (1, 4, 8, 255), values=b"\xff\xff\x01\x7f\x80\x00")):
        yield draft(escaped(tail, guaranteed=1e38)).bytes()
    yield draft(escaped(section((0, 1, 24, 255), values=b"\x01\x00\x80"), guaranteed=1e38)).bytes()
    yield draft(escaped(section((0, 1, 8, 160), values=b"\x00"), scales=(0.0,), guaranteed=512.0)).bytes()
    yield draft(escaped(section((0, 1, 16), values=b"\x00\x60"), scales=(0.0,), guaranteed=1e18)).bytes()
    yield draft(escaped(section((0, 1, 16), values=b"\x80\x3f"), make=log, ends=(1.0, 1.0), guaranteed=1.0)).bytes()
    yield draft(escaped(section((0, 1, 16), values=b"\xff\x7b"), dtype="F16")).bytes()
    yield draft(quantized()).bytes()


def cases():
    for group in (flags, lengths, sections, kinds, guarantees):
        yield from group()
