"""The named maps: those of Maps.md, of the Swift library and of the peers whose files they are to decode."""

import re
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
import xxhash



def cubic(i, bits):
    n = 2 ** (bits - 1)
    s = Fraction(i + 1 - n, n) if i >= n - 1 else Fraction(4 * (i + 1 - n), 4 * n - 1)
    return (5 * s + 3 * s**3) / 8


WIDTHS = (8, 6, 5, 4, 3, 2)
FORMULAS = {
    ("linear", True): lambda i, b: Fraction(i - (2 ** (b - 1) - 1), 2 ** (b - 1) - 1),
    ("linear", False): lambda i, b: Fraction(i, 2**b - 1),
    ("linear-nozero", True): lambda i, b: Fraction(2 * i - (2**b - 1), 2**b - 1),
    ("linear-nozero", False): lambda i, b: Fraction(i + 1, 2**b),
    ("cubic", True): cubic,
}
SWIFT_NAMES = {
    "dynamic": "dynamic", "dynamic-nozero": "dynamicNoZero", "linear": "linear", "linear-nozero": "linearNoZero",
    "normal": "normal", "cubic": "cubic",
}


def same_bits(table, values):
    """Whether two tables are equal bit for bit; a −0 is not a +0."""
    ours, theirs = (np.asarray(t, np.float32).view(np.uint32) for t in (table, values))
    return np.array_equal(ours, theirs)


def test_there_are_the_maps_of_the_document(reader):
    both = {(name, bits, signed) for name in ("linear", "linear-nozero") for bits in WIDTHS for signed in (True, False)}
    both |= {("dynamic", bits, signed) for bits in (8, 4) for signed in (True, False)}
    assert set(reader.NAMED) == both | {("cubic", bits, True) for bits in WIDTHS} | {
        ("dynamic-nozero", 8, False), ("dynamic-nozero", 4, False), ("normal", 4, True)}


def test_digests_and_counts_are_those_of_the_tables(root, reader):
    text = (root / "Spec" / "Maps.md").read_text()
    counted = r"(\d+) distinct entries(?:, (\d+) of padding)?; digest `(\w+)`"
    listed = re.findall(r"### (\S+), (\d) bits, (\w+)\n\n" + counted, text)
    assert len(listed) == len(reader.NAMED)
    for name, bits, sign, count, padding, digest in listed:
        table = reader.NAMED[name, int(bits), sign == "signed"]
        assert xxhash.xxh3_64_hexdigest(table.astype("<f4").tobytes()) == digest, name
        assert len(np.unique(table)) == int(count) == reader.distinct(table), name
        assert int(count) + int(padding or 0) == len(table) == 2 ** int(bits), name


def test_thresholds_are_those_of_the_tables(root, reader):
    text = (root / "Spec" / "Maps.md").read_text()
    listed = re.findall(r"### (\S+), (\d) bits, (\w+)\n.*?Thresholds:\n\n```\n(.*?)```", text, re.S)
    assert len(listed) == len(reader.NAMED)
    for name, bits, sign, words in listed:
        table = reader.NAMED[name, int(bits), sign == "signed"]
        values = np.array([int(word, 16) for word in words.split()], np.uint32).view(np.float32)
        assert same_bits(reader.thresholds(table), values), name


@pytest.mark.parametrize("signed", [True, False])
def test_dynamic_8_bits_is_bitsandbytes(reader, signed):
    from bitsandbytes.functional import create_dynamic_map

    assert same_bits(reader.NAMED["dynamic", 8, signed], create_dynamic_map(signed=signed).numpy())


@pytest.mark.parametrize("signed", [True, False])
def test_dynamic_4_bits_is_bitsandbytes_without_its_padding(reader, signed):
    from bitsandbytes.functional import create_dynamic_map

    # It fills up to 256 entries with zeros and sorts them into the middle; here a table of 4 bits has 16 entries.
    padded = create_dynamic_map(signed=signed, max_exponent_bits=3, total_bits=4).numpy()
    assert (len(padded), np.count_nonzero(padded == 0)) == (256, 241)
    assert same_bits(reader.NAMED["dynamic", 4, signed], np.unique(padded))


def test_normal_is_bitsandbytes_nf4(reader):
    from bitsandbytes.functional import get_4bit_type

    assert same_bits(reader.NAMED["normal", 4, True], get_4bit_type("nf4", device="cpu").numpy())


@pytest.mark.parametrize("signed", [True, False])
def test_8_bit_maps_are_torchaos(reader, signed):
    from torchao.optim import subclass_8bit

    made = subclass_8bit.get_qmap_signed() if signed else subclass_8bit.get_qmap_unsigned()
    assert same_bits(reader.NAMED["dynamic", 8, signed], made)


def test_4_bit_maps_are_torchaos(reader):
    from torchao.optim import quant_utils, subclass_4bit

    assert same_bits(reader.NAMED["dynamic", 4, True], subclass_4bit.get_qmap_signed())
    # For second moments it takes the linear map without zero; its generator makes the dynamic one too.
    assert same_bits(reader.NAMED["linear-nozero", 4, False], subclass_4bit.get_qmap_unsigned())
    assert same_bits(reader.NAMED["dynamic", 4, False], quant_utils.create_dynamic_map(False, 3, 4))


def test_linear_nozero_is_the_linspace_of_the_4_bit_paper(reader):
    assert same_bits(reader.NAMED["linear-nozero", 8, False], torch.linspace(0, 1, 257)[1:].numpy())


@pytest.mark.parametrize("bits", [8, 4])
def test_dynamic_nozero_is_dynamic_without_its_zero(reader, bits):
    dynamic = reader.NAMED["dynamic", bits, False]
    assert dynamic[0] == 0
    assert same_bits(reader.NAMED["dynamic-nozero", bits, False], [*dynamic[1:], 1])


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize(("name", "signed"), FORMULAS)
def test_formulas_are_rounded_to_the_nearest(reader, name, signed, bits):
    table = reader.NAMED[name, bits, signed]
    for i in range(reader.distinct(table)):
        exact = FORMULAS[name, signed](i, bits)
        near = [np.nextafter(table[i], np.float32(side)) for side in (-2, 2)]
        assert all(abs(Fraction(float(table[i])) - exact) < abs(Fraction(float(n)) - exact) for n in near), i


def test_the_library_has_the_tables_of_the_document(root, reader):
    maps = root / "Sources" / "QCodec" / "Maps"
    text = (maps / "NamedMaps.swift").read_text() + (maps / "NamedMaps+Widths.swift").read_text()
    found = dict(re.findall(r"static let (\w+): \[UInt32\] = \[(.*?)\]", text, re.S))
    assert len(found) == len(reader.NAMED)
    for (name, bits, signed), table in reader.NAMED.items():
        words = re.findall(r"0x[0-9A-F]{8}", found[f"{SWIFT_NAMES[name]}{'Signed' if signed else 'Unsigned'}{bits}"])
        assert [int(word, 16) for word in words] == table.view(np.uint32).tolist(), (name, bits, signed)


def test_the_generator_reproduces_its_files(root):
    script = root / "Spec" / "Reference" / "make_maps.py"

    def run(*arguments):
        return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=True).stdout

    run("--check")
    document = (root / "Spec" / "Maps.md").read_text()
    assert document[document.index("## Tables\n"):] == run()
    maps = root / "Sources" / "QCodec" / "Maps"
    assert (maps / "NamedMaps.swift").read_text() == run("--swift", "8", "4")
    assert (maps / "NamedMaps+Widths.swift").read_text() == run("--swift", "6", "5", "3", "2")
