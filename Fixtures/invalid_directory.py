"""The cases of make_invalid.py within the directory: counts, records, schemes, map tables, names, the chunk table."""

import numpy as np

from invalid_draft import Draft, lossless, quantized
from invalid_file import case, plain

NAN, INF = float("nan"), float("inf")


def counts():
    good = plain()
    at = good.dir_at
    short = plain()
    short.listing = lambda: bytes(63)
    yield case("directory-short", "invalidDirectory", short.bytes(), "a directory of 63 bytes", offset=at)
    yield case("tensor-count", "invalidDirectory", plain().trailer(count=2).bytes(),
               "directory and trailer count tensors apart", offset=at)
    for number in range(2):
        yield case(f"directory-reserved-{number}", "reservedBits", plain().change(counts={f"r{number}": 1 << 63}).bytes(),
                   "a reserved field of the directory", offset=at + 48 + 8 * number)
    # Each wrapping count has the right size in 64 bits.
    sections = {"tensors": (0, 1 << 32, None), "chunks": (8, 1 << 32, 1 << 59), "dims": (16, 1 << 32, 1 << 61),
                "pairs": (40, 1 << 32, 1 << 61),
                "tables": (24, 1 << 32, None), "names": (32, 2, None)}
    for name, (field, many, wrapping) in sections.items():
        draft = plain().change(counts={name: many})
        if name == "tensors":
            draft.trailer(count=many)
        yield case(f"count-{name}", "invalidDirectory", draft.bytes(), f"more {name} than the directory has room for",
                   offset=at + field)
        draft = plain().change(counts={name: 1 << 63})
        if name == "tensors":
            draft.trailer(count=1 << 63)
        yield case(f"count-{name}-2-63", "limitExceeded" if name == "tensors" else "invalidDirectory", draft.bytes(),
                   f"2^63 {name}", offset=len(draft.bytes()) - 32 if name == "tensors" else at + field)
        if wrapping:
            draft = plain().change(counts={name: wrapping + 1})
            yield case(f"count-{name}-wraps", "invalidDirectory", draft.bytes(),
                       f"a count of {name} whose size wraps around 64 bits", offset=at + field)
    yield case("directory-trailing", "invalidDirectory", plain().change(trailing=b"\0").bytes(),
               "a byte of the directory belongs to nothing", offset=at)
    yield case("names-left-over", "invalidDirectory", plain().change(names=b"ab").bytes(), "a name of no tensor", offset=at)
    yield case("dims-left-over", "invalidDirectory", plain().change(dims=[3, 1]).bytes(), "a dim of no tensor", offset=at)


def record(name, code, draft, breaks, field="name_offset", index=0, tensor="a"):
    return case(name, code, draft.bytes(), breaks, offset=draft.record_at(index, field), tensor=tensor)


def pair():
    return Draft([lossless("a"), lossless("b")])


def records():
    for code in (0, 24, 255):
        yield record(f"dtype-{code}", "invalidDirectory", plain().set(dtype=code), "a dtype that no version has", "dtype")
    yield record("role-6", "invalidDirectory", plain().set(role=6), "a role that no version has", "role")
    yield record("record-reserved", "reservedBits", plain().set(reserved=1 << 15), "the reserved field of a tensor", "reserved")
    for reference in (0, 1):
        yield record(f"reference-{reference}", "invalidReference", pair().set(0, reference=reference),
                     "a reference, which the value domain has not", "reference")
    for stride in (0, 2):
        yield record(f"stride-{stride}", "invalidChunkTable", plain().set(stride=stride), "a chunk stride that is not 1",
                     "stride")
    yield record("name-offset", "invalidDirectory", pair().set(1, name_offset=0), "names that are not end to end",
                 index=1, tensor="a")
    yield record("name-length", "invalidDirectory", pair().set(1, name_length=2), "a name beyond the names", index=1,
                 tensor=None)
    yield record("name-empty", "invalidName", Draft([lossless(b"", 0)]), "a name of no bytes", "name_length", tensor=None)
    long = Draft([lossless(b"n" * 65_537, 0)])
    yield record("name-long", "invalidName", long, "a name of 65,537 bytes", "name_length", tensor=None)
    yield record("dims-index", "invalidDirectory", pair().set(1, dims_index=0), "dims that are not end to end", "dims_index", 1,
                 "b")
    yield record("dims-beyond", "invalidDirectory", pair().set(1, ndim=2), "more dims than there are", "dims_index", 1, "b")
    yield record("dims-33", "invalidShape", Draft([lossless(shape=(1,) * 33)]), "33 dims", "ndim")
    for name, first, count in (("first", 2, 1), ("count", 1, 2), ("wraps", (1 << 64) - 1, 2)):
        yield record(f"chunks-beyond-{name}", "invalidChunkTable", pair().set(1, first=first, count=count),
                     "chunks beyond the chunk table", "first", 1, "b")
    half = lossless(dtype="F4", count=2)
    yield record("half-a-byte", "invalidShape", Draft([half]).change(dims=[3]), "three elements of four bits")
    yield record("elements-limit", "limitExceeded", Draft([lossless(shape=(3, 1))]).change(dims=[1 << 63, 2]),
                 "2^64 elements")
    yield record("bytes-limit", "limitExceeded", Draft([lossless()]).change(dims=[1 << 61]), "2^61 bytes")


def statistics():
    fields = {"seed": 1, "max_abs": -0.0, "max_scaled": 1.0, "squared_error": 1.0, "squared_source": 1.0, "zeros": 1,
              "signs": 1, "guaranteed": NAN, "relative": NAN}
    for field, value in fields.items():
        yield record(f"lossless-{field.replace('_', '-')}", "invalidScheme", plain().set(**{field: value}),
                     "a lossless tensor with a seed or an error", field)
    for field in ("max_abs", "max_scaled", "squared_error", "squared_source"):
        for name, value in (("nan", NAN), ("inf", INF), ("negative", -1.0)):
            yield record(f"error-{field.replace('_', '-')}-{name}", "invalidDirectory",
                         Draft([quantized()]).set(**{field: value}), "a recorded error that no encoder measures", field)
    known, unknown = quantized, lambda: quantized(rounding="unknown", rule="unknown")
    for name, part, value in (("nan", known, NAN), ("negative", known, -1.0), ("import", unknown, 1.0)):
        yield record(f"guarantee-{name}", "invalidDirectory", Draft([part()]).set(guaranteed=value),
                     "a guarantee that the rounding cannot have", "guaranteed")


def scheme_fields():
    def altered(name, code, breaks, field, **values):
        return record(f"scheme-{name}", code, Draft([quantized()]).set(**values), breaks, field)

    yield altered("encoding-2", "invalidScheme", "an encoding that no version has", "encoding", encoding=2)
    for code in (0, 9):
        yield altered(f"map-{code}", "invalidScheme", "a map that no version has", "map", map=code)
    yield altered("domain-2", "invalidScheme", "a domain that no version has", "domain", domain=2)
    for bits in (0, 1, 7, 9, 16):
        yield altered(f"bits-{bits}", "unsupportedFeature", "a width that is reserved", "bits", bits=bits)
    yield altered("signed-2", "invalidScheme", "a signedness that is neither", "signed", signed=2)
    for scaling in (0, 6):
        yield altered(f"scaling-{scaling}", "invalidScheme", "a scaling that no version has", "scaling", scaling=scaling)
    for block in (0, 4, 17):
        yield altered(f"block-{block}", "invalidScheme", "a block that is not of 32 to 65,536", "block", block=block)
    yield altered("tensor-block", "invalidScheme", "a block under another scaling", "block", scaling=1, block=8)
    for rounding in (0, 5):
        yield altered(f"rounding-{rounding}", "invalidScheme", "a rounding that no version has", "rounding",
                      rounding=rounding)
    for rule in (0, 4):
        yield altered(f"rule-{rule}", "invalidScheme", "a scale rule that no version has", "rule", rule=rule)
    yield altered("reason", "invalidScheme", "a quantized tensor with a reason to be lossless", "reason", reason=1)
    table = np.arange(1, 17, dtype=np.float32) / 16
    imported = quantized("custom", 4, False, table=table, imported=True)
    yield record("import-known-rounding", "invalidScheme", Draft([imported]), "an import of a known rounding", "rounding")
    for dtype in ("F64", "I32", "F8_E4M3"):
        yield record(f"quantized-{dtype.lower().replace('_', '-')}", "invalidScheme", Draft([quantized(dtype=dtype)]),
                     "a dtype that is not quantized", "dtype")
    yield record("lossless-scheme", "invalidScheme", plain().set(map=1), "a lossless tensor with a scheme", "map")
    yield record("lossless-table", "invalidScheme", plain().set(table=0), "a lossless tensor with a map table", "table")


def resolutions():
    """Schemes that the shape or the map rules out."""
    padded = np.array([i / 8 for i in range(9)] + [1.0] * 7, np.float32)
    parts = {
        "row-1d": (quantized("linear", scaling="row"), "rows of one dimension"),
        "row-scalar": (quantized("linear", scaling="row", shape=()), "rows of a scalar"),
        "column-1d": (quantized("linear", scaling="column"), "columns of one dimension"),
        "rank1-1d": (quantized("linear", scaling="rank1", shape=(1, 5, 1)), "rank1 over a single axis"),
        "rank1-small": (quantized("linear", scaling="rank1", shape=(63, 64)), "rank1 with maxima above 1/32"),
        "rank1-empty": (quantized("linear", scaling="rank1", shape=(0, 64, 2)), "rank1 of no elements, one in ten wide"),
        "extreme-linear": (quantized("linear", rule="signed-extreme"), "a signed extreme with a map that holds -1"),
        "extreme-unsigned": (quantized("dynamic", signed=False, rule="signed-extreme"), "a signed extreme without sign"),
        "extreme-rank1": (quantized("dynamic", scaling="rank1", rule="signed-extreme", shape=(64, 64)),
                          "a signed extreme of maxima"),
        "seed": (quantized(seed=1), "a seed without stochastic rounding"),
        "keep-nonzero": (quantized("custom", 4, True, table=padded, rounding="nearest-keep-nonzero", rule="absmax"),
                         "keep-nonzero without a negative entry"),
    }
    for name, (part, breaks) in parts.items():
        draft = Draft([part])
        yield case(f"resolved-{name}", "invalidScheme", draft.bytes(), breaks, offset=draft.record_at(0, "map"), tensor="a")


def tables():
    def custom(entries=None, **how):
        entries = np.arange(1, 17, dtype=np.float32) / 16 if entries is None else np.array(entries, np.float32)
        return Draft([quantized("custom", 4, how.pop("signed", False), table=entries, **how)])

    def broken(name, draft, breaks, at=0, code="invalidMapTable", tensor="a"):
        return case(f"table-{name}", code, draft.bytes(), breaks, offset=draft.tables_at + at, tensor=tensor)

    def patched(draft, at, value):
        section = bytearray(draft.tables)
        section[at] = value
        return draft.change(tables=bytes(section))

    def resized(section, count):
        return section[:4] + count.to_bytes(4, "little") + (section[8:] + bytes(4 * count))[:8 + 4 * count]

    def named(*how):
        return Draft([quantized(*how)])

    for offset in (1, 16, 0xFFFFFFFF):
        yield record(f"table-offset-{offset:x}", "invalidMapTable", named().set(table=offset), "no table begins there", "table")
    both = Draft([quantized(name="a"), quantized("linear", name="b")])
    yield record("table-order", "invalidMapTable", both.set(0, table=16).set(1, table=0), "tables out of the order of use",
                 "table")
    short = named()
    yield broken("short", short.change(tables=short.tables[:15]), "a table cut short in its fields")
    yield broken("missing", named().change(tables=b""), "a table beyond the tables")
    for field, at, value in (("map", 0, 2), ("bits", 1, 4), ("signed", 2, 0)):
        yield broken(f"other-{field}", patched(named(), at, value), f"a table whose {field} is not its tensor's")
    shared = Draft([quantized(name="a"), quantized("linear", name="b")])
    shared = shared.set(1, table=0).change(tables=shared.tables[:16])
    yield broken("shared", shared, "two maps with one table", tensor="b")
    yield broken("flag", patched(named(), 3, 2), "a reserved flag of a table", 3, "reservedBits")
    yield broken("named-entries", patched(named(), 4, 16), "a named map with entries", 4)
    yield broken("few-entries", patched(custom(), 4, 15), "a custom table of 15 entries", 4)
    for bits, count in ((3, 16), (5, 16), (6, 256), (8, 64)):
        # The entries are there, but not as many as codes.
        fits = Draft([quantized("custom", bits, False, table=np.arange(1, (1 << bits) + 1, dtype=np.float32) / (1 << bits))])
        yield broken(f"entries-of-{bits}", fits.change(tables=resized(fits.tables, count)),
                     f"a custom table of {count} entries for codes of {bits} bits", 4)
    cut = custom()
    yield broken("cut", cut.change(tables=cut.tables[:-1]), "a custom table cut short", 4)
    yield broken("named-import", patched(named(), 3, 1), "a named map marked as an import", 3)
    yield broken("digest", patched(named(), 8, named().tables[8] ^ 1), "a digest that the named map has not", 8)
    for name, how in (("normal-8", ("normal", 8, True)), ("normal-unsigned", ("normal", 4, False)),
                      ("normal-3", ("normal", 3, True)), ("dynamic-6", ("dynamic", 6, True)),
                      ("dynamic-nozero-signed", ("dynamic-nozero", 8, True))):
        # Under the digest of another map, for there is none of its own.
        draft = named().set(map={"dynamic": 1, "normal": 5, "dynamic-nozero": 4}[how[0]], bits=how[1], signed=how[2])
        yield broken(name, draft.change(tables=bytes([draft.records[0][40], how[1], how[2]]) + draft.tables[3:]),
                     "a named map of a width or sign that it has not", 8)
    ramp = [i / 15 for i in range(16)]
    spoiled = {
        "below": (False, [-0.5] + ramp[1:], "an entry below 0 of an unsigned table"),
        "below-signed": (True, [-1.5] + ramp[1:], "an entry below -1"),
        "above": (False, ramp[:14] + [1.5, 1.0], "an entry above 1"), "nan": (False, [NAN] + ramp[1:], "an entry that is NaN"),
        "last": (False, [x / 2 for x in ramp], "a last entry that is not 1"),
        "descending": (False, ramp[:5] + [ramp[6], ramp[5]] + ramp[7:], "entries that descend"),
        "close": (False, [0.0, 1e-45] + ramp[2:], "two entries without a threshold between them"),
        "padding": (False, [0.0, 0.0] + ramp[2:], "padding that is not at the end"),
    }
    for name, (signed, entries, breaks) in spoiled.items():
        yield broken(f"entry-{name}", custom(entries, signed=signed), breaks)
    endless = custom(ramp[:5] + [INF] + ramp[6:], imported=True, rounding="unknown", rule="unknown")
    yield broken("entry-infinite-import", endless, "an infinite entry of an import")
    yield broken("custom-digest", patched(custom(), 8, custom().tables[8] ^ 1), "the digest of a custom table", 8)
    left = named()
    yield broken("left-over", left.change(tables=left.tables * 2), "a table of no tensor", 16, tensor=None)


def names():
    spoiled = {"byte": b"a\xff", "overlong": b"a\xc0\xaf", "surrogate": b"a\xed\xa0\x80", "cut": b"a\xe2\x82",
               "beyond": b"a\xf4\x90\x80\x80"}
    for name, text in spoiled.items():
        draft = Draft([lossless(text)])
        yield case(f"name-utf8-{name}", "invalidName", draft.bytes(), "a name that is not UTF-8", offset=draft.names_at)
    double = Draft([lossless("a"), lossless("a")])
    yield case("name-twice", "duplicateName", double.bytes(), "two tensors of one name", offset=double.names_at + 1, tensor="a")
    parts = [lossless("b"), lossless("a")]
    unsorted = Draft(parts, order=parts)
    yield case("name-order", "invalidDirectory", unsorted.bytes(), "tensors that are not sorted by name",
               offset=unsorted.names_at + 1, tensor="a")
    parts = [lossless("ab"), lossless("a")]
    unsorted = Draft(parts, order=parts)
    yield case("name-order-prefix", "invalidDirectory", unsorted.bytes(), "a name after one that it begins",
               offset=unsorted.names_at + 2, tensor="a")


def chunk(name, draft, breaks, index=0, field="offset", tensor="a", code="invalidChunkTable"):
    return case(f"chunk-{name}", code, draft.bytes(), breaks, offset=draft.chunk_at(index, field), tensor=tensor)


def chunk_table():
    yield chunk("codec-3", plain().chunk(codec=3), "a compression that no version has", field="codec", tensor=None)
    yield chunk("kind-3", plain().chunk(kind=3), "a kind that no version has", field="kind", tensor=None)
    yield chunk("reserved", plain().chunk(reserved=1), "the reserved field of a chunk", field="reserved", tensor=None,
                code="reservedBits")
    yield chunk("stranger", plain().chunk(owner=1), "a chunk of no tensor", tensor=None)
    yield chunk("owner", pair().chunk(1, owner=0), "a chunk of a tensor that does not own it", 1)
    yield chunk("owner-swapped", pair().set(0, first=1).set(1, first=0), "two tensors with each other's chunk")
    yield chunk("owner-empty", Draft([lossless("a"), lossless("b", 0)]).chunk(owner=1), "a chunk of a tensor that has none",
                tensor="b")
    yield chunk("shared", Draft([lossless("a"), lossless("b", 0)]).set(1, first=0, count=1), "two tensors with one chunk",
                tensor="b")
    two = Draft([quantized("linear", scaling="tensor")])
    yield chunk("inner-owner", Draft([quantized("linear", scaling="tensor"), lossless("b")]).chunk(1, owner=1),
                "a chunk of another tensor among a tensor's", 1, tensor="b")
    yield chunk("too-few", pair().set(0, count=2), "a tensor with another's chunk besides its own")
    yield chunk("too-many", two.set(count=1), "a tensor that lacks its last chunk")
    lonely = Draft([lossless("a", 0), lossless("b")]).change(dims=[3, 3])
    yield chunk("missing", lonely, "a tensor without its chunks")
    huge = Draft([lossless("a", 0), lossless("b")]).change(dims=[1 << 60, 3])
    yield chunk("missing-huge", huge, "a tensor of 2^60 bytes without chunks")
    yield chunk("kind", plain().chunk(kind=0), "codes where source bytes are due")
    yield chunk("kind-scales", Draft([quantized("linear", scaling="tensor")]).chunk(0, kind=0), "codes where scales are due")
    yield chunk("raw-length", plain().chunk(raw=4), "another length than the shape's")
    yield chunk("stored-less", plain().chunk(stored=2), "a plain chunk that is shorter than its bytes")
    yield chunk("stored-more", plain().chunk(stored=4), "a plain chunk that is longer than its bytes")
    for stored in (3, 4):
        yield chunk(f"stored-compressed-{stored}", plain().chunk(codec=1, stored=stored),
                    "a compressed chunk that is no smaller than its bytes")
    yield chunk("hole", Draft([lossless("a"), lossless("b")], gap=1), "64 bytes of no chunk", 1, tensor="b")
    yield chunk("hole-first", Draft([lossless("a")], gap=0), "64 bytes of no chunk before the first")
    at = pair().stored_at(0)
    yield chunk("overlap", pair().chunk(1, offset=at), "two chunks at one place", 1, tensor="b")
    yield chunk("offset-huge", plain().chunk(offset=(1 << 64) - 64), "a chunk far beyond the file")
    yield chunk("unaligned", plain().chunk(offset=at + 1), "a chunk beside its place")
    swapped = pair()
    swapped.chunks.reverse()
    swapped.set(0, first=1).set(1, first=0)
    yield chunk("order", swapped, "chunks out of the order of the file", tensor="b")
    after = plain()
    after.body += bytes(64)
    yield chunk("hole-last", after, "64 bytes between chunks and metadata", 1, tensor=None)


def cases():
    for group in (counts, records, statistics, scheme_fields, resolutions, tables, names, chunk_table):
        yield from group()
