"""The cases of make_invalid.py outside the directory: the file as a whole, header, trailer, leads, chunks, metadata."""

import json
import struct

import numpy as np
import xxhash

import qckpt_writer as writer
from invalid_draft import Draft, lossless, quantized
from qckpt_writer import spec


def case(name, code, data, breaks, when="open", offset=None, tensor=None, says=None):
    """A file and what a reader must say of it; `says` is a part of the message, for those that tell a user what to do."""
    expected = {"code": code, "when": when, "offset": offset, "tensor": tensor, "says": says, "breaks": breaks}
    return f"{name}.qckpt", data, {key: value for key, value in expected.items() if value is not None}


def plain():
    return Draft([lossless()])


# The file as a whole


def foreign():
    header = json.dumps({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    kinds = {
        "safetensors": (struct.pack("<Q", len(header)) + header + b"x", "a safetensors file"),
        "npy": (b"\x93NUMPY\x01\x00" + bytes(120), "a NumPy .npy file"),
        "zip": (b"PK\x03\x04" + bytes(60), "a zip archive"), "zip-empty": (b"PK\x05\x06" + bytes(18), "a zip archive"),
        "pickle-2": (b"\x80\x02}q\x00.", "a Python pickle"), "pickle-5": (b"\x80\x05}\x94.", "a Python pickle"),
        "gguf": (b"GGUF\x03\x00\x00\x00" + bytes(16), "a GGUF model"),
        "gzip": (b"\x1f\x8b\x08\x00" + bytes(16), "gzip data"), "zstd": (b"\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00", "zstd data"),
        "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(56), "an HDF5 file"),
        "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer"),
        "html": (b"<!DOCTYPE html>\n<html></html>\n", "an HTML page"), "json": (b'{"a": 1}\n', "a JSON document"),
        "random": (bytes((i * 151 + 11) % 256 for i in range(64)), "not a qcodec checkpoint"),
    }
    for kind, (data, says) in kinds.items():
        yield case(f"foreign-{kind}", "notACheckpoint", data, f"no checkpoint but {says}", offset=0, says=says)
    yield case("empty", "notACheckpoint", b"", "no bytes at all", offset=0, says="the file is empty")
    good = plain().bytes()
    for name, magic in (("lf", good.replace(b"\r\n", b"\n", 1)), ("crlf", good.replace(b"\x1a\n", b"\x1a\r\n", 1)),
                        ("7-bit", b"\x09" + good[1:])):
        yield case(f"magic-{name}", "notACheckpoint", magic, "the magic number went through a text mode", offset=0,
                   says="text mode")


def truncations():
    good = plain().bytes()
    for length, where in ((1, "magic"), (7, "magic"), (8, "header"), (63, "header"), (64, "chunks"), (159, "trailer")):
        yield case(f"truncated-{length:03d}", "truncated", good[:length], f"ends within its {where}", offset=length)
    pair = Draft([lossless("a"), lossless("b", 60)])
    data = pair.bytes()
    for name, end, whole in (("chunk", pair.stored_at(1) + 59, "1 tensor in it is whole: 'a'"),
                             ("directory", pair.dir_at + 100, "2 tensors in it are whole: 'a', 'b'"),
                             ("last-byte", len(data) - 1, "2 tensors in it are whole: 'a', 'b'")):
        yield case(f"truncated-{name}", "truncated", data[:end], f"ends within its {name}", offset=end - 96, says=whole)
    yield case("appended", "truncated", good + b"\n", "a byte after the trailer", offset=len(good) - 95)
    yield case("concatenated", "trailerCorrupt", data + good, "another checkpoint follows", offset=len(data + good) - 40)


def headers():
    def file(**how):
        return Draft([lossless()], start=writer.header(**how)).bytes()

    yield case("header-checksum", "headerCorrupt", plain().flip(24).bytes(), "the header's checksum", offset=56)
    # Of before 1.0, later ones, and those that one byte of the number alone would take for 1.0.
    for major, minor in ((0, 0), (0, 1), (0, 2), (0, 65535), (2, 0), (2, 1), (256, 0), (257, 0), (65535, 65535)):
        yield case(f"version-{major}-{minor}", "unsupportedVersion", file(version=(major, minor)),
                   f"format version {major}.{minor}", offset=8)
    for length in (0, 63, 128):
        yield case(f"header-length-{length}", "headerCorrupt", file(length=length), "a header is 64 bytes long", offset=12)
    for bit in (bit for bit in range(64) if not spec.KNOWN_FEATURES >> bit & 1):
        named = f"'{spec.FEATURES[bit]}' (bit {bit})" if bit in spec.FEATURES else f"bit {bit}"
        yield case(f"feature-bit-{bit}", "unsupportedFeature", file(required=1 << bit), "a feature that no version has",
                   offset=16, says=named)
    all_bits = file(version=(1, 7), required=1 << 2 | 1 << 40, optional=(1 << 64) - 1)
    yield case("feature-bits-beside-escapes", "unsupportedFeature", file(required=1 | 1 << 3),
               "a feature beside one that this version has", offset=16, says="does not know: bit 3")
    yield case("feature-bits-of-newer", "unsupportedFeature", all_bits, "features of a newer minor version", offset=16,
               says="'encryption' (bit 2), bit 40")
    for at in range(32, 56):
        reserved = bytearray(24)
        reserved[at - 32] = 1 << at % 8
        yield case(f"header-reserved-{at}", "reservedBits", file(reserved=bytes(reserved)), "a reserved byte of the header",
                   offset=at)
    yield case("header-reserved-of-newer", "reservedBits", file(version=(1, 1), reserved=bytes(23) + b"\x80"),
               "a reserved byte of the header of a newer minor version", offset=55)


def trailers():
    good = plain()
    data = good.bytes()
    start = len(data) - 96

    def altered(offset, **fields):
        return dict(data=plain().trailer(**fields).bytes(), offset=start + offset)

    def flipped(at):
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]

    yield case("trailer-magic", "truncated", flipped(start + 80), "the trailer's magic number", offset=start)
    yield case("trailer-checksum", "trailerCorrupt", flipped(start + 72), "the trailer's checksum", offset=start + 88)
    yield case("file-length-more", "truncated", breaks="the file is shorter than its trailer says",
               **altered(56, file_length=len(data) + 64))
    yield case("file-length-less", "trailerCorrupt", breaks="the file is longer than its trailer says",
               **altered(56, file_length=len(data) - 64))
    yield case("trailer-header-hash", "headerCorrupt", breaks="the trailer belongs to another header",
               **altered(48, header_hash=1))
    yield case("trailer-reserved", "reservedBits", breaks="the reserved field of the trailer", **altered(72, reserved=1))
    yield case("metadata-limit", "limitExceeded", breaks="metadata above 256 MiB",
               **altered(32, meta_length=(256 << 20) + 1))
    yield case("metadata-claim", "trailerCorrupt", breaks="256 MiB of metadata in a file of less than a kibibyte",
               **altered(0, meta_length=256 << 20))
    yield case("metadata-limit-2-63", "limitExceeded", breaks="2^63 bytes of metadata", **altered(32, meta_length=1 << 63))
    yield case("directory-claim", "trailerCorrupt", breaks="a directory of 2^63 bytes", **altered(8, dir_length=1 << 63))
    yield case("tensor-limit", "limitExceeded", breaks="more than 2^32 tensors", **altered(64, count=(1 << 32) + 1))
    for name, at in (("unaligned", good.meta_at - 1), ("in-header", 0), ("beyond", start + 64), ("huge", (1 << 64) - 64)):
        yield case(f"metadata-place-{name}", "trailerCorrupt", breaks="no place for metadata",
                   **altered(24, meta_offset=at))
    yield case("directory-place", "trailerCorrupt", breaks="the directory does not follow the metadata",
               **altered(0, dir_offset=good.dir_at + 64, dir_length=good_length(good) - 64))
    for name, length in (("short", 1), ("long", 4096), ("wraps", (1 << 64) - 64)):
        yield case(f"directory-length-{name}", "trailerCorrupt", breaks="the trailer does not follow the directory",
                   **altered(8, dir_length=length))
    hole = data[:start] + bytes(64)
    yield case("trailer-hole", "trailerCorrupt", retrailed(hole, data[start:]), "a hole before the trailer",
               offset=len(hole) + 8)
    yield case("directory-checksum", "directoryCorrupt", flipped(good.dir_at + 64 + 104), "the directory's checksum",
               offset=good.dir_at)
    over = plain().trailer(meta_offset=64, meta_length=good.meta_at - 64, meta_hash=spec.xxh3(data[64:good.meta_at]))
    yield case("metadata-over-chunks", "invalidChunkTable", over.bytes(), "metadata and chunks share bytes",
               offset=good.chunk_at(), tensor="a")


def good_length(draft):
    return len(draft.listing())


def retrailed(body, trailer):
    """A file whose trailer, moved, tells of the new length."""
    fields = list(struct.unpack_from("<10Q", trailer))
    fields[7] = len(body) + 96
    return body + writer.trailer(fields)


# Between the parts


def leads():
    table = np.arange(1, 17, dtype=np.float32) / 16

    def draft():
        # The dims and the custom table make the preamble as long as it gets: every part of it is there.
        how = dict(table=table, name="moment", shape=(1, 5), scales=(1.0,))
        return Draft([lossless("a"), quantized("custom", 4, False, **how)])

    lead = draft().leads[1]
    preamble = lead + -lead % 8
    frame = draft().stored_at(1) - 24
    fields = {"checksum": 0, "name-length": 4, "dtype": 6, "ndim": 7, "map": 8, "bits": 9, "signed": 10, "scaling": 11,
              "block": 12, "domain": 13, "rounding": 14, "rule": 15, "dim": 16, "table": 32, "name": 96}
    for field, at in fields.items():
        yield case(f"preamble-{field}", "leadCorrupt", draft().flip(preamble + at).bytes(),
                   f"the preamble's {field} is not the directory's", "bytes", preamble + at, "moment")
    fields = {"stored": 0, "codec": 4, "kind": 5, "reserved": 6, "tensor": 8, "number": 12, "hash": 16}
    for field, at in fields.items():
        yield case(f"frame-{field}", "leadCorrupt", draft().flip(frame + at).bytes(),
                   f"the frame's {field} is not the directory's", "bytes", frame + at, "moment")
    for where, at in (("before-preamble", lead), ("before-frame", frame - 1)):
        yield case(f"lead-{where}", "leadCorrupt", draft().flip(at).bytes(), "a byte of a lead that is to be zero", "bytes",
                   at, "moment")
    two = Draft([quantized("linear", 8, True, scaling="tensor")])
    at = two.leads[1]
    yield case("lead-second-chunk", "leadCorrupt", two.flip(at).bytes(), "a byte before a frame that is to be zero", "bytes",
               at, "a")


def paddings():
    text = b'{"k":1}'
    good = Draft([lossless()], text)
    data = good.bytes()
    places = {"chunks": good.chunks_end, "metadata": good.meta_at + len(text), "directory": len(data) - 97}
    for part, at in places.items():
        yield case(f"padding-{part}", "paddingNotZero", data[:at] + b"\1" + data[at + 1:], f"padding after the {part}",
                   "bytes", at)
    data = bytearray(Draft([]).change(text=text).bytes())
    data[127] = 1
    yield case("padding-no-chunks", "paddingNotZero", bytes(data), "padding after metadata that follow the header", "bytes",
               127)


# Chunks

LZ4 = bytes.fromhex("1f00010027") + b"\x50" + bytes(5)


def zstd(header, blocks, content):
    """A zstd frame: its header without the magic number, its blocks, and the checksum of its content."""
    return bytes.fromhex("28b52ffd" + header + blocks) + xxhash.xxh64_digest(content)[:3:-1]


ZEROS = bytes(64)
ZSTD = zstd("2440", "030200" + "00", ZEROS)
ZSTD_HALF = zstd("2420", "030100" + "00", ZEROS[:32])


def chunks():
    good = plain()
    yield case("chunk-checksum", "chunkCorrupt", good.flip(good.stored_at()).bytes(), "a chunk's checksum", "bytes",
               good.stored_at(), "a")
    scales = Draft([quantized("linear", 8, True, scaling="row", shape=(2, 3), scales=(1.0, 2.0))])
    yield case("chunk-checksum-scales", "chunkCorrupt", scales.flip(scales.stored_at() + 4).bytes(),
               "the checksum of a chunk of scales", "bytes", scales.stored_at(), "a")
    streams = {
        "lz4-garbage": (1, b"\xff" * 11), "lz4-short": (1, LZ4[:4] + b"\x26" + LZ4[5:]),
        "lz4-long": (1, LZ4[:4] + b"\x28" + LZ4[5:]), "lz4-trailing": (1, LZ4 + b"\0"), "lz4-cut": (1, LZ4[:-1]),
        "lz4-distance": (1, LZ4[:2] + b"\2" + LZ4[3:]), "zstd-garbage": (2, b"\xff" * 10), "zstd-short": (2, ZSTD_HALF),
        "zstd-long": (2, zstd("2441", "0b0200" + "00", bytes(65))), "zstd-trailing": (2, ZSTD + b"\0"),
        "zstd-cut": (2, ZSTD[:-1]), "zstd-two-frames": (2, ZSTD_HALF * 2),
        "zstd-skippable": (2, ZSTD + bytes.fromhex("502a4d1800000000")), "zstd-as-lz4": (1, ZSTD), "lz4-as-zstd": (2, LZ4),
        "zstd-bomb": (2, zstd("e4" + "0000000000010000", "030200" + "00", ZEROS)),
        "zstd-legacy": (2, bytes.fromhex("27b52ffd2040" + "80004000" + "c00000")),
        "zstd-dictionary": (2, zstd("250740", "030200" + "00", ZEROS)),
        "zstd-no-checksum": (2, bytes.fromhex("28b52ffd2040" + "030200" + "00")),
        "zstd-checksum": (2, ZSTD[:-1] + bytes([ZSTD[-1] ^ 1])),
        # 12,265 bytes out of 59, and a mebibyte out of 38 in a frame that does not say how many it holds.
        "lz4-expands": (1, bytes.fromhex("1f000100") + b"\xff" * 48 + b"\0\x50" + bytes(5)),
        "zstd-expands": (2, zstd("0450", "02001000" * 7 + "03001000", bytes(1 << 20))),
    }
    for name, (codec, stored) in streams.items():
        draft = zeros(codec, stored)
        yield case(f"compressed-{name}", "decompressionFailed", draft.bytes(), "a chunk that does not decompress to its size",
                   "tensor", draft.stored_at(), "a")
    vector = Draft([quantized("linear", 8, True, scaling="row", shape=(64, 1), scales=[0.0] * 64)],
                   stage=lambda t, number, kind, payload: (1, writer.lz4.block.compress(payload, store_size=False))
                   if kind == spec.SCALES else (0, payload))
    yield case("compressed-scales", "invalidChunkTable", vector.bytes(), "a chunk of scales that is not plain", "open",
               vector.chunk_at(), "a")
    values = {"nan": np.nan, "inf": np.inf, "minus-inf": -np.inf}
    for name, value in values.items():
        yield invalid_scale(f"{name}", "a scale that is not finite", quantized(scales=(value,)))
        yield invalid_scale(f"{name}-vector", "a scale that is not finite",
                            quantized("linear", scaling="row", shape=(3, 2), scales=(1, value, 1)))
    yield invalid_scale("nan-unknown", "a scale that is not finite, in an import",
                        quantized(scales=(np.nan,), rounding="unknown", rule="unknown"))
    yield invalid_scale("negative", "a negative scale under absmax", quantized("linear", scales=(-1,)))
    yield invalid_scale("minus-zero", "a scale of -0 under absmax", quantized("linear", scales=(-0.0,)))
    yield invalid_scale("negative-tensor", "a negative scale under absmax", quantized("linear", scaling="tensor", scales=(-1,)))
    yield invalid_scale("second-block", "a negative scale under absmax",
                        quantized("linear", count=40, scales=(1, -1)))
    maxima = [1.0] * 128
    maxima[70] = -1.0
    yield invalid_scale("rank1", "a negative maximum of a column under an unknown rule", quantized(
        "linear", 4, False, shape=(64, 64), scaling="rank1", scales=maxima, rounding="unknown", rule="unknown"))
    odd = Draft([quantized("linear", 4, True, count=3, codes=b"\x77\x71")])
    yield case("nibble", "invalidCode", odd.bytes(), "the nibble after the last code", "tensor", odd.stored_at(), "a")
    # Three codes leave 7 of 16 bits at 3 bits, 1 at 5; the last bit and the first are each looked at.
    for name, bits, codes in (("3", 3, b"\x6d\x81"), ("3-first", 3, b"\x6d\xc0"), ("5", 5, b"\x7b\xdf"),
                              ("6", 6, b"\x7d\xf7\xd0"), ("2", 2, b"\x55")):
        padded = Draft([quantized("linear", bits, True, count=3, codes=codes)])
        yield case(f"padding-{name}", "invalidCode", padded.bytes(), "a bit after the last code", "tensor",
                   padded.stored_at(), "a")
    table = np.array([np.nan] + [i / 15 for i in range(1, 16)], np.float32)
    for name, codes in (("first", b"\x01\x11\x10"), ("last", b"\x11\x11\x00")):
        draft = Draft([quantized("custom", 4, True, codes=codes, table=table, imported=True, rounding="unknown",
                                 rule="unknown")])
        yield case(f"code-nan-{name}", "invalidCode", draft.bytes(), "a code whose entry of an import is NaN", "tensor",
                   draft.stored_at(), "a")


def invalid_scale(name, breaks, part):
    draft = Draft([part])
    return case(f"scale-{name}", "invalidScale", draft.bytes(), breaks, "tensor", draft.stored_at(), "a")


def zeros(codec, stored):
    """64 zero bytes under a given compressed form."""
    part = lossless(count=64)
    part.data = bytes(64)
    return Draft([part], stage=lambda *_: (codec, stored))


def guarantees():
    draft = Draft([quantized(guaranteed=0.0)])
    yield case("guarantee-small", "boundViolated", draft.bytes(), "codes and scales admit more than the guarantee", "verify",
               tensor="a")


# Metadata


def metadata():
    def document(name, text, breaks, at):
        draft = Draft([lossless()], text)
        return case(f"metadata-{name}", "metadataCorrupt", draft.bytes(), breaks, "bytes", draft.meta_at + at)

    spoiled = Draft([lossless()], b'{"k":1}').trailer(meta_hash=1)
    yield case("metadata-checksum", "metadataCorrupt", spoiled.bytes(), "the metadata's checksum", "bytes", spoiled.meta_at)
    spoiled = plain().trailer(meta_hash=1)
    yield case("metadata-checksum-empty", "metadataCorrupt", spoiled.bytes(), "the checksum of metadata of no bytes", "bytes",
               spoiled.meta_at)
    yield document("space", b" ", "no JSON value", 1)
    yield document("cut", b'{"k":', "JSON that is cut short", 5)
    yield document("trailing", b"{} {}", "bytes after the JSON value", 3)
    yield document("comma", b'{"k":1,}', "a comma before the end", 7)
    yield document("comment", b"{} // none", "a comment", 3)
    yield document("single-quotes", b"{'k':1}", "a key in single quotes", 1)
    yield document("array", b"[]", "an array, not an object", 0)
    yield document("number", b"1", "a number, not an object", 0)
    yield document("duplicate", b'{"k":1,"k":1}', "a key that comes twice", 7)
    yield document("duplicate-escaped", b'{"k":1,"\\u006b":1}', "a key that comes twice, once escaped", 7)
    yield document("duplicate-inner", b'{"m":{"k":1,"k":2}}', "a key that comes twice in an inner object", 12)
    yield document("duplicate-normalised", '{"\u00e9":1,"e\u0301":1}'.encode(), "keys of one normal form", 8)
    yield document("deep", b'{"k":' + b"[" * 128 + b"]" * 128 + b"}", "JSON of 129 levels, 128 at most", 132)
    yield document("deep-objects", b'{"k":' * 129 + b"1" + b"}" * 129, "JSON of 129 levels, 128 at most", 640)
    yield document("very-deep", b'{"k":' + b"[" * 4000, "JSON of 4,001 levels", 132)
    yield document("100000-deep", b'{"k":' + b"[" * 99_999 + b"]" * 99_999 + b"}", "JSON of 100,000 levels", 132)
    yield document("100000-deep-objects", b'{"":' * 99_999 + b"{}" + b"}" * 99_999, "objects of 100,000 levels", 512)
    yield document("not-utf8", b'{"k":"\xff"}', "a string that is not UTF-8", 5)
    yield document("surrogate", b'{"k":"\\ud800"}', "an unpaired surrogate", 6)
    yield document("utf16", '{"k":1}'.encode("utf-16-le"), "JSON in UTF-16", 1)
    yield document("bom", b"\xef\xbb\xbf{}", "a byte order mark", 0)
    yield document("control", b'{"k":"\t"}', "a control character in a string", 6)
    yield document("nan", b'{"k":NaN}', "a number that JSON has not", 5)
    yield document("infinity", b'{"k":-Infinity}', "a number that JSON has not", 6)
    yield document("zero", b'{"k":01}', "a superfluous zero", 5)
    yield document("integer", b'{"k":9223372036854775808}', "an integer beyond 64 bits", 5)
    yield document("exponent", b'{"k":1e999}', "a number beyond float64", 5)


def unspoiled():
    """The files as they are before they are spoiled, which must be valid for a case to break one rule only."""
    table = np.arange(1, 17, dtype=np.float32) / 16
    imported = np.array([np.nan] + [i / 15 for i in range(1, 16)], np.float32)
    unknown = dict(rounding="unknown", rule="unknown")
    for parts in (
            [lossless()], [lossless("a"), lossless("b", 60)], [], [lossless("a"), lossless("b", 0)], [quantized()],
            [quantized(name="a"), quantized("linear", name="b")], [quantized(scales=(-1.0,))], [quantized(**unknown)],
            [quantized("linear", scaling="tensor")], [quantized("linear", scaling="tensor", scales=(0.0,))],
            [quantized("linear", scaling="row", shape=(3, 2), scales=(1, 2, 1))],
            [quantized("linear", scaling="column", shape=(2, 3), scales=(1, 2, 1))], [quantized("linear", count=40, scales=(1, 1))],
            [quantized("linear", 4, False, shape=(64, 64), scaling="rank1", scales=[1.0] * 128, **unknown)],
            [quantized("linear", 4, True, count=3, codes=b"\x77\x70")], [quantized("normal", 4, True)],
            [lossless("a"), quantized("custom", 4, False, table=table, name="moment", shape=(1, 5), scales=(1.0,))],
            [quantized("custom", 4, False, table=table)], [lossless(dtype="F4", count=2)], [lossless(shape=(1,) * 32)],
            [quantized("custom", 4, True, codes=b"\x11\x11\x10", table=imported, imported=True, **unknown)],
            [lossless(b"n" * 65_536, 0)], [quantized(rounding="stochastic", seed=1)]):
        yield Draft(parts).bytes()
        yield Draft(parts, b'{"k":1}').bytes()
    for codec, stored in ((1, LZ4), (2, ZSTD)):
        yield zeros(codec, stored).bytes()
    # The deepest document, the longest integer and an escaped pair of surrogates.
    for text in (b'{"k":' + b"[" * 127 + b"]" * 127 + b"}", b'{"k":-9223372036854775808}', b'{"k":"\\ud83d\\ude00"}'):
        yield Draft([], text).bytes()


def cases():
    for group in (foreign, truncations, headers, trailers, leads, paddings, chunks, guarantees, metadata):
        yield from group()
