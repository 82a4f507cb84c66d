"""The kernels on processors that this one is and is not: every level of both gives the same bytes.

That the levels of x86 equal the scalar reference is a test of the Swift library. This one ties NEON to them: the C kernels
are compiled for aarch64 and run by an emulator. It also runs every level under the address sanitizer.
"""

import concurrent.futures
import functools
import os
import pathlib
import shutil
import struct
import subprocess
import types

import numpy as np
import pytest

LEVELS = ("sse2", "avx2", "avx512")
UNSUPPORTED = 77


def missing(*tools):
    """Names the tools that are not there: a failure in CI, else a skip."""
    absent = [tool for tool in tools if not shutil.which(tool)]
    if absent:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("not installed: " + ", ".join(absent))


@pytest.fixture(scope="session")
def clang():
    """The compiler that compiles the kernels for the library: that which belongs to swift."""
    beside = pathlib.Path(os.path.realpath(shutil.which("swift") or "")).parent / "clang"
    return str(beside) if beside.exists() else "clang"


@pytest.fixture(scope="session")
def build(root, clang, tmp_path_factory):
    """Compiles the program with more options of the compiler; returns its path."""
    sources = [*sorted((root / "Sources" / "CQCodecKernels").glob("*.c")), root / "Tests" / "Kernels" / "kernels.c"]
    include = root / "Sources" / "CQCodecKernels" / "include"

    @functools.cache
    def compiled(name, *options):
        folder = tmp_path_factory.mktemp(name)

        def compile_one(source):
            target = folder / (source.stem + ".o")
            subprocess.run([clang, "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-Wno-psabi", "-I", include, *options, "-c",
                            source, "-o", target], check=True)
            return target

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compile_one, sources))
        subprocess.run([clang, *options, *objects, "-o", folder / "kernels", "-lm"], check=True)
        return folder / "kernels"

    return compiled


@pytest.fixture(scope="session")
def tables(reader, tmp_path_factory):
    """The tables of Maps.md and some custom ones, as the program reads them."""
    listed = [(bits, signed, table) for (name, bits, signed), table in sorted(reader.NAMED.items())
              if not (name == "linear-nozero" and signed)]
    random = np.random.default_rng(7)
    for bits, signed in ((8, True), (8, False), (4, True), (4, False)):
        count = 1 << bits
        low = -1.0 if signed else 0.0
        entries = np.unique(random.uniform(low, 1, 4 * count).astype(np.float32))
        entries = np.sort(random.choice(entries, count - 1, replace=False))
        if bits == 8:
            # Close to even: of entries that lie too close together the reference takes care.
            entries = np.linspace(low, 1, count, dtype=np.float64)[:-1] + random.uniform(0, 0.3 / count, count - 1)
        listed.append((bits, signed, np.append(entries, 1).astype(np.float32)))
    # Of other widths than 4 bits kernels have codes one a byte, and tables padded to 256 entries.
    path = tmp_path_factory.mktemp("tables") / "tables"
    with path.open("wb") as file:
        for bits, signed, table in listed:
            distinct, limits = reader.distinct(table), reader.thresholds(table)
            like = types.SimpleNamespace(
                table=table, signed=signed, domain="value", rounding="nearest", dtype="F32", scaling="block")
            radii = reader.radii(like)
            rule = int(signed and -1 not in table)
            for numbers, kind in ((table, "<f4"), (limits, "<f4"), (radii, "<f8")):
                padded = np.zeros(256, kind)
                padded[:len(numbers)] = numbers
                if numbers is table:
                    padded[len(numbers):] = numbers[-1]
                    file.write(struct.pack("<4i", 4 if bits == 4 else 8, signed, rule, distinct))
                elif numbers is limits:
                    padded[len(numbers):] = np.inf
                file.write(padded.tobytes())
    return path


def cases(path):
    """The cases of an output, in order: label and bytes."""
    data = memoryview(path.read_bytes())
    place = 0
    while place < len(data):
        length = int.from_bytes(data[place:place + 4], "little")
        label = bytes(data[place + 4:place + 4 + length]).decode()
        place += 4 + length
        size = int.from_bytes(data[place:place + 8], "little")
        yield label, data[place + 8:place + 8 + size]
        place += 8 + size


def same(ours, theirs):
    """Compares two outputs; returns how many cases they hold."""
    count = 0
    for (label, got), (expected_label, expected) in zip(cases(ours), cases(theirs), strict=True):
        assert label == expected_label
        assert got == expected, label
        count += 1
    return count


@pytest.fixture(scope="session")
def expected(build, tables, tmp_path_factory):
    """What the plainest level of this processor gives."""
    path = tmp_path_factory.mktemp("expected") / "sse2"
    subprocess.run([build("native", "-O2"), "sse2", tables, path], check=True)
    return path


def test_the_output_holds_every_kernel_and_table(expected, tables):
    labels = [label for label, _ in cases(expected)]
    kernels = {
        "table", "blocks", "update", "scaled", "log", "pair", "widen", "narrow", "planes", "packing", "scan", "environment"}
    assert {label.split()[0] for label in labels} == kernels
    count = tables.stat().st_size // (16 + 4 * 256 + 4 * 256 + 8 * 256)
    assert all(bytes(data) == b"\1\0\0\0" for label, data in cases(expected) if label.endswith("encodes"))
    assert sum(label.endswith("encodes") for label in labels) == count == 35
    assert len(labels) > 10_000


@pytest.mark.parametrize("level", LEVELS)
def test_levels_agree_and_keep_within_their_buffers(build, tables, expected, tmp_path, level):
    program = build("sanitized", "-O1", "-g", "-fsanitize=address")
    output = tmp_path / level
    done = subprocess.run([program, level, tables, output], capture_output=True, text=True)
    if done.returncode == UNSUPPORTED:
        pytest.skip(f"this processor does not run {level}")
    assert done.returncode == 0, done.stderr
    assert same(output, expected) > 10_000


@pytest.mark.parametrize("optimization", ["-O2", "-O3"])
def test_neon_agrees(build, tables, expected, tmp_path, optimization):
    """At the levels of optimization that SwiftPM and distributors use: the compiler must not fuse what is to be rounded."""
    missing("qemu-aarch64", "aarch64-linux-gnu-gcc")
    program = build("aarch64", "--target=aarch64-linux-gnu", "-static", optimization)
    output = tmp_path / "neon"
    subprocess.run(["qemu-aarch64", program, "neon", tables, output], check=True)
    assert same(output, expected) > 10_000
