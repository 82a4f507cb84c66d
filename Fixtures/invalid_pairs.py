"""The cases of make_invalid.py for the log map, the update domain, references, pairs and relative guarantees."""

import numpy as np

import qckpt_writer as writer
from invalid_directory import record
from invalid_draft import Draft, log, lossless, pair, quantized
from invalid_file import case
from qckpt_writer import spec

NAN, INF = float("nan"), float("inf")
UNKNOWN = dict(rounding="unknown", rule="unknown")
# Records are sorted by name.
FIRST, SECOND = 0, 1


def drafted(*extra, **how):
    return Draft([*pair(**how), *extra])


def references():
    def refused(name, draft, breaks, index=FIRST, tensor="m"):
        return record(f"reference-{name}", "invalidReference", draft, breaks, "reference", index, tensor)

    yield refused("missing", drafted().set(reference=spec.NONE64), "the update domain without a reference")
    other = drafted(quantized(name="w")).set(2, reference=SECOND)
    yield refused("value-domain", other, "a reference of the value domain", 2, "w")
    yield refused("of-second", drafted().set(SECOND, reference=FIRST), "a reference of a second moment", SECOND, "v")
    for name, reference in (("beyond", 2), ("huge", 1 << 63)):
        yield refused(name, drafted().set(reference=reference), "a reference to no tensor")
    yield refused("self", drafted().set(reference=FIRST), "a reference to the tensor itself")
    for count, name in ((2, "cycle"), (3, "cycle-of-3")):
        circle = Draft([part for i in range(count) for part in pair(f"m{i}", f"v{i}")])
        for i in range(count):
            circle.set(i, reference=(i + 1) % count)
        yield refused(name, circle, "first moments that refer to each other in a circle", 0, "m0")
    chained = Draft([*pair(), *pair("n", "w")]).set(0, reference=1)
    yield refused("chained", chained, "a reference to a tensor of the update domain")
    yield refused("lossless", drafted(lossless("w", 5)).set(reference=2), "a reference to a lossless tensor")
    yield refused("signed", drafted(quantized(name="w")).set(reference=2), "a reference to a tensor of a signed map")
    table = np.arange(1, 17, dtype=np.float32) / 16
    imported = quantized("custom", 4, False, name="w", table=table, imported=True, **UNKNOWN)
    yield refused("import", drafted(imported).set(reference=2), "a reference to an import")
    for name, shape in (("shape", (5, 1)), ("fewer", (4,)), ("none", (0,))):
        ends = () if shape == (0,) else (0.5, 2.0)
        other = log("w", ends, shape=shape)
        yield refused(name, drafted(other).set(reference=2), "a reference to a tensor of another shape")
    double = Draft([*pair(), *pair("n", "w")]).set(1, reference=2)
    yield refused("double", double, "two references to one tensor", 1, "n")


def strides():
    def refused(name, draft, breaks, index=0, tensor="m"):
        return record(f"stride-{name}", "invalidChunkTable", draft, breaks, "stride", index, tensor)

    yield refused("first-1", drafted().set(stride=1), "a first moment whose chunks are to alternate")
    yield refused("second-1", drafted().set(SECOND, stride=1), "a second moment whose chunks are to alternate", SECOND, "v")
    yield refused("first-3", drafted().set(stride=3), "a stride that no pair has")
    yield refused("log-2", Draft([log()]).set(stride=2), "a second moment that none refers to, whose chunks would alternate",
                  tensor="v")
    empty = drafted(of_second=log(ends=(), shape=(0,)), shape=(0,), scales=())
    yield refused("empty-2", empty.set(stride=2), "a pair without elements, hence without chunks")


def places():
    def refused(name, draft, breaks, index=0, tensor="m"):
        return case(f"pair-chunks-{name}", "invalidChunkTable", draft.bytes(), breaks, offset=draft.chunk_at(index),
                    tensor=tensor)

    def before_last(chunks):
        return [*chunks[:-2], chunks[-1], chunks[-2]]

    swapped = Draft(pair(), arrange=lambda chunks: chunks[::-1])
    yield refused("swapped", swapped, "a first moment's chunk before its second moment's")
    yield refused("first", drafted().set(FIRST, first=0), "a first moment that says to begin elsewhere", 1)
    between = Draft([*pair(), lossless("z")], arrange=before_last)
    yield refused("stranger", between, "a chunk of another tensor between those of a pair", 2)
    rows = dict(scaling="row", shape=(3, 2), scales=(1, 1, 1))
    yield refused("scales", drafted(**rows).set(FIRST, first=1), "a first moment whose scales stand elsewhere", tensor="m")


def ends():
    spoiled = {
        "nan-lo": (NAN, 2.0, "is not a number"), "nan-hi": (0.5, NAN, "is not a number"), "inf-lo": (INF, INF, "is infinite"),
        "minus-inf-lo": (-INF, INF, "is infinite"), "inf-hi": (0.5, INF, "is infinite"),
        "descending": (2.0, 0.5, "lies above the upper"), "descending-zeros": (-2.0, 0.5, "lies above the upper"),
        "negative-hi": (0.5, -2.0, "is negative"), "minus-zero-hi": (-0.0, -0.0, "is negative"),
        "zero-without-flag": (0.0, 0.0, "is zero in a block that says to hold no zeros"),
        "zero-lo": (0.0, 2.0, "is zero beside one that is not"), "minus-zero-lo": (-0.0, 2.0, "is zero beside one that is not"),
    }
    for name, (low, high, wrong) in spoiled.items():
        draft = Draft([log(ends=(low, high))])
        yield case(f"ends-{name}", "invalidScale", draft.bytes(), f"an end of a log block that {wrong}", "tensor",
                   draft.stored_at(), "v")
    draft = Draft([log(ends=(0.5, 2.0, 2.0, 0.5), count=40)])
    yield case("ends-second-block", "invalidScale", draft.bytes(), "a log block whose lower end lies above the upper", "tensor",
               draft.stored_at(), "v")
    draft = drafted(of_second=log(ends=(NAN, 2.0)))
    yield case("ends-of-reference", "invalidScale", draft.bytes(), "a first moment whose second moment has no ends", "tensor",
               draft.stored_at(0), "v")
    odd = Draft([log(bits=4, count=3, codes=b"\x77\x71")])
    yield case("log-nibble", "invalidCode", odd.bytes(), "the nibble after the last code", "tensor", odd.stored_at(), "v")
    padded = Draft([log(bits=3, count=3, codes=b"\x6d\x81")])
    yield case("log-padding", "invalidCode", padded.bytes(), "a bit after the last code", "tensor", padded.stored_at(), "v")


def schemes():
    def resolved(name, draft, breaks, index=0, tensor="v"):
        return case(f"resolved-{name}", "invalidScheme", draft.bytes(), breaks, offset=draft.record_at(index, "map"),
                    tensor=tensor)

    yield record("log-table", "invalidScheme", Draft([log()]).set(table=0), "a log tensor with a map table", "table",
                 tensor="v")
    for name, code in (("tensor", 1), ("row", 3), ("column", 4), ("rank1", 5)):
        part = log(shape=(64, 64), ends=(0.5, 2.0) * 128)
        yield resolved(f"log-{name}", Draft([part]).set(scaling=code, block=0), "the log map without blocks")
    yield resolved("log-signed", Draft([log()]).set(signed=1), "the log map with a sign")
    yield resolved("log-keep-nonzero", Draft([log()]).set(rounding=2), "the log map with keep-nonzero")
    unknown = Draft([log()]).set(rounding=4, guaranteed=NAN, relative=NAN)
    yield resolved("log-unknown", unknown, "the log map with unknown rounding")
    yield resolved("log-unknown-rule", Draft([log()]).set(rule=3), "the log map with an unknown scale rule")
    yield resolved("log-signed-extreme", Draft([log()]).set(rule=1), "the log map with a signed extreme")
    yield resolved("log-seed", Draft([log()]).set(seed=1), "a seed without stochastic rounding, of the log map")
    yield resolved("update-unsigned", drafted().set(signed=0, **{"table": 0}).change(tables=unsigned_table()),
                   "the update domain with an unsigned map", tensor="m")
    yield resolved("update-log", Draft(pair(of_second=log())).set(map=7, signed=0, table=spec.NONE32).change(tables=b""),
                   "the update domain with the log map", tensor="m")
    table = np.arange(-7, 9, dtype=np.float32) / 8
    imported = drafted(map_="custom", bits=4, signed=True, table=table, imported=True, **UNKNOWN)
    yield resolved("update-import", imported, "the update domain with an import", tensor="m")


def unsigned_table():
    return writer.table_bytes(quantized("linear", 8, False))


def reasons():
    def refused(name, code, draft, breaks, tensor="a"):
        return record(f"reason-{name}", code, draft, breaks, "reason", tensor=tensor)

    for reason in (9, 255):
        yield refused(f"{reason}", "invalidDirectory", Draft([lossless()]).set(reason=reason), "a reason that no version has")
    for reason in (5, 8):
        yield refused(f"lossless-{reason}", "invalidScheme", Draft([lossless()]).set(reason=reason),
                      "a lossless tensor with a reason of the update domain")
        yield refused(f"update-{reason}", "invalidScheme", drafted().set(reason=reason),
                      "a tensor of the update domain with a reason not to be in it", "m")
    for reason in (2, 4):
        yield refused(f"quantized-{reason}", "invalidScheme", Draft([quantized()]).set(reason=reason),
                      "a quantized tensor with a reason to be lossless")


def guarantees():
    def refused(name, draft, breaks, field, tensor):
        return record(f"guarantee-{name}", "invalidDirectory", draft, breaks, field, tensor=tensor)

    yield refused("inf", Draft([quantized()]).set(guaranteed=INF), "an infinite guarantee", "guaranteed", "a")
    parts = {"log": (lambda: Draft([log()]), "v"), "update": (drafted, "m")}
    for name, (draft, tensor) in parts.items():
        for kind, value in (("nan", NAN), ("negative", -1.0), ("inf", INF)):
            yield refused(f"{name}-{kind}", draft().set(guaranteed=value), "a guarantee that no encoder makes", "guaranteed",
                          tensor)
            yield refused(f"{name}-relative-{kind}", draft().set(relative=value), "a relative guarantee that no encoder makes",
                          "relative", tensor)
    yield refused("value-relative", Draft([quantized()]).set(relative=0.0), "a relative guarantee where there is none",
                  "relative", "a")
    unknown = drafted(**UNKNOWN)
    yield refused("unknown-relative", unknown.set(relative=1.0), "a relative guarantee of unknown rounding", "relative", "m")
    for field in ("zeros", "signs"):
        yield record(f"error-{field}-more", "invalidDirectory", Draft([quantized()]).set(**{field: 6}),
                     "more zeros or signs than elements", field)
    for name, (draft, tensor) in parts.items():
        for field in ("guaranteed", "relative"):
            yield case(f"{field}-small-{name}", "boundViolated", draft().set(**{field: 0.0}).bytes(),
                       "codes, scales and ends admit more than is recorded", "verify", tensor=tensor)
    beyond = Draft([log(ends=(0.5, float(np.float32(3.4e38))), dtype="BF16", guaranteed=1e300)])
    yield case("log-beyond-bf16", "boundViolated", beyond.bytes(), "an upper end that BF16 rounds to infinity", "verify",
               tensor="v")
    overflow = drafted(scales=(float(np.float32(3.4e38)),), of_second=log(ends=(4.0, 4.0)), guaranteed=1e300)
    yield case("update-overflow", "boundViolated", overflow.bytes(), "a first moment that decodes to an infinity", "verify",
               tensor="m")


def records():
    def refused(name, code, draft, breaks, index=0):
        return case(f"pair-{name}", code, draft.bytes(), breaks, offset=draft.pair_at(index))

    def two():
        return Draft([*pair(), *pair("n", "w")])  # m, n, v, w

    yield refused("descending", "invalidReference", two().pair(1, 3).pair(0, 2), "pair records out of order", 1)
    yield refused("twice", "invalidReference", two().pair(0, 2).pair(0, 2), "two pair records of one first moment", 1)
    yield refused("first-beyond", "invalidReference", drafted().pair(2, 1), "a pair whose first moment is no tensor")
    yield refused("second-beyond", "invalidReference", drafted().pair(0, 2), "a pair whose second moment is no tensor")
    yield refused("self", "invalidReference", drafted().pair(0, 0), "a pair of one tensor")
    yield refused("shapes", "invalidReference", drafted(lossless("w", 4)).pair(0, 2), "a pair of two shapes")
    for field in ("eps", "squared_error", "squared_update", "max_abs"):
        for name, value in (("nan", NAN), ("inf", INF), ("negative", -1.0)):
            yield refused(f"{field.replace('_', '-')}-{name}", "invalidDirectory", drafted().pair(**{field: value}),
                          "an update error that no encoder measures")
    for field in ("zeroed", "signs"):
        yield refused(f"{field}-more", "invalidDirectory", drafted().pair(**{field: 6}), "more zeros or signs than elements")


def leads():
    def draft():
        return drafted(shape=(1, 5))

    preamble = draft().leads[1]
    preamble += -preamble % 8
    yield case("preamble-reference", "leadCorrupt", draft().flip(preamble + 32).bytes(),
               "the preamble's second moment is not the directory's", "bytes", preamble + 32, "m")
    data = draft().bytes()
    end = draft().stored_at(1) + 3
    yield case("truncated-pair", "truncated", data[:end], "ends within a first moment", offset=end - 96,
               says="1 tensor in it is whole: 'v'")


def unspoiled():
    table = np.arange(-7, 9, dtype=np.float32) / 8
    rows = dict(scaling="row", shape=(3, 2), scales=(1, 1, 1))
    yield Draft([*pair(), *pair("n", "w")]).pair(0, 2).pair(1, 3).bytes()
    for how in (rows, UNKNOWN, dict(map_="custom", bits=4, signed=True, table=table), dict(shape=(1, 5))):
        yield drafted(**how).bytes()
    yield drafted(of_second=log(ends=(), shape=(0,)), shape=(0,), scales=()).bytes()
    for low, high, bits in ((0.5, 0.5, 8), (-0.0, 0.0, 4), (-0.5, 2.0, 4), (2.0**-149, 3.4e38, 8)):
        yield Draft([log(ends=(low, high), bits=bits, guaranteed=1e300)]).bytes()
    yield Draft([log(ends=(0.5, 2.0), count=3, bits=4, codes=b"\x77\x70")]).bytes()
    for reason in (5, 8):
        yield Draft([quantized()]).set(reason=reason).bytes()
    yield Draft([quantized()]).set(zeros=5, signs=5).bytes()


def cases():
    for group in (references, strides, places, ends, schemes, reasons, guarantees, records, leads):
        yield from group()
