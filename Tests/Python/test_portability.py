"""One file, one value, on every processor: the command gives the same bytes with kernels of every level.

`QCODEC_KERNELS` forces a level; what this processor does not run is skipped by name. `QCODEC_RANDOM_FILES` sets how many
files of random tensors are tried (8 unless told).
"""

import hashlib
import json
import os
import pathlib

import numpy as np
import pytest

import tensorfile

LEVELS = ("scalar", "sse2", "avx2", "avx512")
PRESETS = ("adam8", "adam4", "paper8", "paper4", "lossless")
FLAGS = {"avx2": {"avx2", "fma", "f16c", "bmi2"}, "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vbmi2"}}
RANDOM_FILES = int(os.environ.get("QCODEC_RANDOM_FILES", "8"))


@pytest.fixture(params=LEVELS)
def level(request):
    """A level that this processor runs: another would silently be the scalar one."""
    found = pathlib.Path("/proc/cpuinfo").read_text().split()
    if not FLAGS.get(request.param, set()) <= set(found):
        pytest.skip(f"this processor does not run {request.param}")
    return request.param


def forced(level):
    return {**os.environ, "QCODEC_KERNELS": level}


def narrow(values, dtype):
    """float32 values as the bytes of a dtype; of bf16 the upper halves, which is a rounding as good as any."""
    if dtype == "BF16":
        return (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return np.clip(values, -6e4, 6e4).astype("<f2" if dtype == "F16" else "<f4").tobytes()


def random_state(seed):
    """Moments of random shapes, dtypes and ranges: zeros, subnormals, rows without an element, values of one sign alone."""
    random = np.random.default_rng(seed)
    tensors = {}
    for index in range(12):
        dims = int(random.integers(1, 5))
        # Up to 300,000 elements or so: some of several chunks, some too small to be quantized.
        shape = tuple(int(n) for n in random.integers(1, (300_000, 600, 70, 24)[dims - 1], dims))
        dtype = ("F32", "F32", "BF16", "F16")[random.integers(4)]
        spread = int(random.integers(1, 140))
        first = random.standard_normal(shape) * np.exp2(-random.integers(0, spread, shape))
        second = np.square(random.standard_normal(shape)) * np.exp2(-random.integers(0, spread, shape))
        for values in (first, second):
            values *= random.random(shape) > random.choice([0, 0.1, 0.9])
            if random.integers(3) == 0:
                values[: shape[0] // 2] = 0
        for kind, values in (("exp_avg", first), ("exp_avg_sq", second)):
            with np.errstate(over="ignore", under="ignore"):
                tensors[f"w{index}/{kind}"] = tensorfile.Entry(dtype, shape, narrow(values.astype("<f4"), dtype))
    return tensorfile.dump(tensors)


@pytest.fixture(scope="session")
def sources(root, states, tmp_path_factory):
    """The real states, the originals of the golden files and random ones."""
    folder = tmp_path_factory.mktemp("random")
    files = [*states, *sorted((root / "Fixtures" / "golden").glob("*.safetensors"))]
    for seed in range(RANDOM_FILES):
        files.append(folder / f"random{seed}.safetensors")
        files[-1].write_bytes(random_state(seed))
    return files


@pytest.fixture(scope="session")
def reference(qcodec, reader, sources, tmp_path_factory):
    """What the scalar level writes, and what the reference reader reads there: {(source, preset): (bytes, tensors)}."""
    folder, result = tmp_path_factory.mktemp("reference"), {}
    for source in sources:
        for preset in PRESETS:
            target = folder / "file.qckpt"
            qcodec("encode", source, "-o", target, "--policy", preset, "--nonfinite", "raw", env=forced("scalar"))
            data = target.read_bytes()
            checkpoint = reader.Checkpoint(data)
            values = {t.name: hashlib.sha256(checkpoint.read(t)).hexdigest() for t in checkpoint.tensors}
            result[source, preset] = hashlib.sha256(data).hexdigest(), values
    return result


def test_levels_write_and_read_what_the_reference_does(qcodec, sources, reference, level, tmp_path):
    target, back = tmp_path / "file.qckpt", tmp_path / "back.safetensors"
    for (source, preset), (digest, values) in reference.items():
        qcodec("encode", source, "-o", target, "--policy", preset, "--nonfinite", "raw", env=forced(level))
        assert hashlib.sha256(target.read_bytes()).hexdigest() == digest, (source.name, preset)
        qcodec("decode", target, "-o", back, env=forced(level))
        tensors, _ = tensorfile.load(back.read_bytes())
        assert {name: hashlib.sha256(t.data).hexdigest() for name, t in tensors.items()} == values, (source.name, preset)


def test_levels_read_every_golden_file(root, qcodec, level, tmp_path):
    cases = json.loads((root / "Fixtures" / "golden" / "expected.json").read_text())
    for case, expected in cases.items():
        if case == "c128":  # safetensors has no name for it
            continue
        target = tmp_path / "values.safetensors"
        qcodec("decode", root / "Fixtures" / "golden" / f"{case}.qckpt", "-o", target, env=forced(level))
        tensors, _ = tensorfile.load(target.read_bytes())
        assert {name: hashlib.sha256(t.data).hexdigest() for name, t in tensors.items()} == {
            t["name"]: t["sha256"] for t in expected["tensors"]}, case
