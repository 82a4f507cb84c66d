"""Writes the tables of Spec/Maps.md: `python make_maps.py` prints the section that starts at "## Tables".

The tables are normative as they stand in Maps.md; this script only documents where they come from, and
`python make_maps.py --check` compares the document with it; `--swift 8 4` and `--swift 6 5 3 2` print the library's
constants of these widths: NamedMaps.swift and NamedMaps+Widths.swift.
"""

import pathlib
import sys
from fractions import Fraction

import numpy as np
import xxhash

F32 = np.float32
DOCUMENT = pathlib.Path(__file__).resolve().parents[1] / "Maps.md"


def nearest(value):
    """The float32 nearest to an exact fraction, ties to even."""
    guess = F32(float(value))
    near = [np.nextafter(guess, F32(-2)), guess, np.nextafter(guess, F32(2))]
    return min(near, key=lambda f: (abs(Fraction(float(f)) - value), int(f.view(np.uint32)) & 1))


def boundaries(count):
    """`count` float32 points from 0.1 to 1, each half counted from its own end with one fused multiply-add a point.

    A float64 product of two float32 is exact, and its sum with a third is rounded once more only to float32; no point
    of these tables lies where the two roundings would differ from one.
    """
    start, end = F32(0.1), F32(1)
    step = float(F32((end - start) / F32(count - 1)))
    half = count // 2
    points = [float(start) + step * i if i < half else float(end) - step * (count - 1 - i) for i in range(count)]
    return np.array(points, np.float64).astype(F32)


def dynamic(bits, signed):
    """The dynamic map: for exponent i, midpoints of equal intervals of [0.1, 1] times 10^(i - E + 1); then 0 and 1."""
    exponents = 7 if bits == 8 else 3
    table = [F32(0), F32(1)]
    for i in range(exponents):
        points = boundaries((1 << i if signed else 2 << i) + 1)
        middles = (points[:-1] + points[1:]) / F32(2)
        values = F32(10.0 ** (i - exponents + 1)) * middles
        table += list(values) + ([-v for v in values] if signed else [])
    return sorted(table)


def linear(bits, signed):
    if not signed:
        return [nearest(Fraction(i, (1 << bits) - 1)) for i in range(1 << bits)]
    n = (1 << (bits - 1)) - 1
    return [nearest(Fraction(i - n, n)) for i in range(2 * n + 1)]


def linear_nozero(bits, signed):
    n = 1 << bits
    if signed:
        return [nearest(Fraction(2 * i - (n - 1), n - 1)) for i in range(n)]
    return [nearest(Fraction(i + 1, n)) for i in range(n)]


NORMAL = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]


def cubic(bits, signed):
    """(5s + 3s³)/8, s evenly spaced on either side of 0; the negative side is stretched by a quarter of a step."""
    assert signed
    n = 1 << (bits - 1)
    grid = [Fraction(4 * i, 4 * n - 1) for i in range(1 - n, 0)] + [Fraction(i, n) for i in range(n + 1)]
    return [nearest((5 * s + 3 * s**3) / 8) for s in grid]


def all_maps():
    """(name, bits, signed, distinct entries) in the order of the document."""
    for bits in (8, 4):
        for signed in (True, False):
            yield "dynamic", bits, signed, dynamic(bits, signed)
    for bits in (8, 4):
        yield "dynamic-nozero", bits, False, dynamic(bits, False)[1:]
    for name, make in (("linear", linear), ("linear-nozero", linear_nozero)):
        for bits in (8, 6, 5, 4, 3, 2):
            for signed in (True, False):
                yield name, bits, signed, make(bits, signed)
    yield "normal", 4, True, [F32(v) for v in NORMAL]
    for bits in (8, 6, 5, 4, 3, 2):
        yield "cubic", bits, True, cubic(bits, True)


def thresholds(distinct):
    wide = np.array(distinct, np.float64)
    return ((wide[:-1] + wide[1:]) / 2).astype(F32)


def hexadecimal(values):
    words = [f"{w:08x}" for w in np.array(values, F32).view(np.uint32)]
    return "\n".join(" ".join(words[i:i + 8]) for i in range(0, len(words), 8))


def section(name, bits, signed, distinct):
    assert all(a < b for a, b in zip(distinct, distinct[1:]))
    table = np.array(distinct + [distinct[-1]] * ((1 << bits) - len(distinct)), F32)
    digest = xxhash.xxh3_64_intdigest(table.astype("<f4").tobytes())
    title = f"{name}, {bits} bits, {'signed' if signed else 'unsigned'}"
    padding = len(table) - len(distinct)
    counted = f"{len(distinct)} distinct entries" + (f", {padding} of padding" if padding else "")
    return (
        f"### {title}\n\n{counted}; digest `{digest:016x}`.\n\nEntries:\n\n```\n{hexadecimal(table)}\n```\n\n"
        f"Thresholds:\n\n```\n{hexadecimal(thresholds(distinct))}\n```\n"
    )


def tables():
    return "## Tables\n\n" + "\n".join(section(*m) for m in all_maps())


SWIFT_NAMES = {
    "dynamic": "dynamic", "dynamic-nozero": "dynamicNoZero", "linear": "linear", "linear-nozero": "linearNoZero",
    "normal": "normal", "cubic": "cubic",
}


def swift(widths):
    """The file of Sources/QCodec/Maps with the tables of these widths; that of 8 bits declares the type."""
    listed = ", ".join(map(str, widths[:-1])) + f" and {widths[-1]}"
    lines = [
        f"/// The named maps of {listed} bits as float32 bit patterns, padded to 2^bits entries; the tables of Spec/Maps.md.",
        "///", f"/// Written by `Spec/Reference/make_maps.py --swift {' '.join(map(str, widths))}`; never recomputed at run time.",
        "enum NamedMaps {" if 8 in widths else "extension NamedMaps {"]
    for name, bits, signed, entries in all_maps():
        if bits not in widths:
            continue
        table = np.array(entries + [entries[-1]] * ((1 << bits) - len(entries)), F32).view(np.uint32)
        lines.append(f"  static let {SWIFT_NAMES[name]}{'Signed' if signed else 'Unsigned'}{bits}: [UInt32] = [")
        lines += ["    " + " ".join(f"0x{w:08X}," for w in table[i:i + 8]) for i in range(0, len(table), 8)]
        lines += ["  ]", ""]
    return "\n".join(lines[:-1] + ["}", ""])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--swift"]:
        print(swift([int(width) for width in sys.argv[2:]]), end="")
        sys.exit()
    if sys.argv[1:] == ["--check"]:
        text = DOCUMENT.read_text()
        sys.exit(0 if text[text.index("## Tables\n"):] == tables() else "Maps.md differs from this script")
    print(tables(), end="")
