"""Bounds on every element, asked of the command: adversarial tensors, all lossless stages, and what verify makes of them."""

import hashlib
import json
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

COUNT = 5000


def run(binary, *arguments, status=0):
    done = subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == status, (arguments, done.stderr)
    return done


def awkward():
    """Tensors that no fixed number of bits holds well, by name."""
    rng = np.random.default_rng(8)
    normal = rng.standard_normal(COUNT).astype(np.float32)
    outliers = normal.copy()
    outliers[::501] *= np.float32(1e6)
    patterns = rng.integers(0, 0x7F000000, COUNT, dtype=np.uint32)
    subnormal = rng.integers(0, 1 << 23, COUNT, dtype=np.uint32).view(np.float32)
    zeros = np.where(rng.random(COUNT) < 0.5, np.float32(-0.0), normal * np.float32(1e-3)).astype(np.float32)
    steps = np.repeat(np.float32([0, 1, -1, 2]), COUNT // 4)
    near = (1 + np.arange(COUNT) * 2.0**-23).astype(np.float32)
    return {
        "normal": normal, "outliers": outliers, "range": patterns.view(np.float32), "subnormal": subnormal, "zeros": zeros,
        "equal": np.full(COUNT, 0.3, np.float32), "none": np.zeros(COUNT, np.float32), "steps": steps, "near": near,
        "signed range": patterns.view(np.float32) * np.where(rng.random(COUNT) < 0.5, -1, 1).astype(np.float32),
        "largest": np.full(COUNT, np.finfo(np.float32).max, np.float32), "f16": normal.astype(np.float16),
        "f16 range": rng.integers(0, 0x7C00, COUNT, dtype=np.uint16).view(np.float16),
        "bf16": normal.astype(ml_dtypes.bfloat16), "bf16 outliers": outliers.astype(ml_dtypes.bfloat16),
        "grid": normal.reshape(50, 100).copy(), "tiny": normal[:7], "one": normal[:1].reshape(()), "empty": normal[:0],
        "doubles": normal.astype(np.float64), "integers": np.arange(COUNT),
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("bounds") / "source.safetensors"
    save_file(awkward(), path)
    return path


def decoded(binary, path, folder):
    run(binary, "decode", path, "-o", folder / "again.safetensors", "--quiet")
    return load_file(folder / "again.safetensors")


def wide(x):
    return x.astype(np.float64)


@pytest.mark.parametrize("stage", ["none", "lz4", "zstd"])
@pytest.mark.parametrize("bound", ["1e-3", "0.01", "1e-30", "1e30", "0.05rms"])
def test_absolute_bounds_hold_for_every_element(binary, source, tmp_path, bound, stage):
    path = tmp_path / "x.qckpt"
    run(binary, "encode", source, "-o", path, "--max-abs-error", bound, "--compression", stage)
    found = decoded(binary, path, tmp_path)
    for name, x in awkward().items():
        with np.errstate(over="ignore"):
            rms = np.sqrt(np.mean(np.square(wide(x)))) if x.size else 0
        limit = float(bound[:-3]) * rms if bound.endswith("rms") else float(bound)
        assert found[name].dtype == x.dtype and found[name].shape == x.shape
        error = np.abs(wide(x) - wide(found[name])) if x.dtype.kind != "i" else x != found[name]
        assert np.all(error <= limit), (name, np.max(error), limit)
    report = json.loads(run(binary, "verify", path, "--against", source, "--json").stdout)
    assert report["ok"]


@pytest.mark.parametrize("stage", ["none", "zstd"])
@pytest.mark.parametrize("bound", ["0.5", "0.1", "0.01", "1e-3", "1e-6"])
def test_relative_bounds_hold_for_every_element(binary, source, tmp_path, bound, stage):
    path = tmp_path / "x.qckpt"
    run(binary, "encode", source, "-o", path, "--max-rel-error", bound, "--compression", stage)
    found = decoded(binary, path, tmp_path)
    for name, x in awkward().items():
        error = np.abs(wide(x) - wide(found[name]))
        assert np.all(error <= float(bound) * np.abs(wide(x))), name
    run(binary, "verify", path, "--against", source)


def moments():
    """Pairs of moments: v of zero, tiny or huge beside any m, in several dtypes."""
    rng = np.random.default_rng(9)
    m = (rng.standard_normal(COUNT) * np.exp2(rng.integers(-30, 0, COUNT))).astype(np.float32)
    v = (np.square(m) * rng.random(COUNT)).astype(np.float32)
    hard = v.copy()
    hard[::7], hard[1::97], hard[2::101] = 0, 1e-44, 1e20
    result = {"a.exp_avg": m, "a.exp_avg_sq": v, "b.exp_avg": m * 5, "b.exp_avg_sq": hard, "c.exp_avg": m,
              "c.exp_avg_sq": np.zeros(COUNT, np.float32), "d.exp_avg": m.astype(ml_dtypes.bfloat16), "d.exp_avg_sq": v,
              "e.exp_avg": m, "e.exp_avg_sq": -v, "f.exp_avg": m[:100], "f.exp_avg_sq": v[:100], "weight": m,
              "g.exp_avg": np.zeros(COUNT, np.float32), "g.exp_avg_sq": v}
    return result


def update(m, v, eps):
    with np.errstate(all="ignore"):
        return np.where((m == 0) & (v == 0), 0, m / (np.sqrt(np.maximum(v, 0)) + eps))


@pytest.mark.parametrize("stage", ["none", "lz4", "zstd"])
@pytest.mark.parametrize("bound, eps", [("0.1", 1e-8), ("0.15rms", 1e-8), ("1e-4", 1e-6), ("3", 1e-8)])
def test_bounds_on_updates_hold_for_every_element(binary, tmp_path, bound, eps, stage):
    source, path = tmp_path / "source.safetensors", tmp_path / "x.qckpt"
    save_file(moments(), source)
    run(binary, "encode", source, "-o", path, "--max-update-error", bound, "--eps", eps, "--compression", stage)
    found = decoded(binary, path, tmp_path)
    for name, m in moments().items():
        if name.endswith("exp_avg"):
            v, other = moments()[f"{name}_sq"], found[f"{name}_sq"]
            exact, got = (update(wide(a), wide(b), eps) for a, b in ((m, v), (found[name], other)))
            limit = float(bound[:-3]) * np.sqrt(np.mean(exact**2)) if bound.endswith("rms") else float(bound)
            assert np.all(np.abs(exact - got) <= limit), (name, np.max(np.abs(exact - got)), limit)
    assert found["weight"].tobytes() == moments()["weight"].tobytes()
    run(binary, "verify", path, "--against", source)
    schemes = {t["name"]: t for t in json.loads(run(binary, "inspect", path, "--json").stdout)["tensors"]}
    assert schemes["e.exp_avg_sq"]["reason"] == "negative_values" and schemes["f.exp_avg"]["reason"] == "too_few_elements"


def test_verify_holds_a_file_to_what_it_says(binary, source, tmp_path):
    """The original of another file: as if the encoder had not kept its word."""
    path, other = tmp_path / "x.qckpt", tmp_path / "other.safetensors"
    run(binary, "encode", source, "-o", path, "--max-abs-error", "1e-3")
    changed = awkward()
    changed["normal"][17] += np.float32(2e-3)
    save_file(changed, other)
    done = run(binary, "verify", path, "--against", other, status=1)
    assert "normal" in done.stderr and "element 17" in done.stderr


def test_bounds_are_exclusive_and_above_zero(binary, source, tmp_path):
    path = tmp_path / "x.qckpt"
    for arguments in (["--max-abs-error", "0"], ["--max-abs-error", "-1"], ["--max-abs-error", "nan"], ["--max-rel-error", "1"],
                      ["--max-abs-error", "x"], ["--max-rel-error", "0.1rms"],
                      ["--max-abs-error", "1", "--max-rel-error", "0.1"], ["--max-abs-error", "1", "--policy", "adam4"],
                      ["--max-update-error", "1", "--stochastic", "1"], ["--max-abs-error", "1", "--scale", "absmax"]):
        run(binary, "encode", source, "-o", path, *arguments, status=2)
        assert not path.exists()


def test_a_bound_refuses_what_is_not_finite_or_keeps_it(binary, tmp_path):
    x = np.ones(COUNT, np.float32)
    x[3] = np.inf
    source, path = tmp_path / "s.safetensors", tmp_path / "x.qckpt"
    save_file({"x": x}, source)
    done = run(binary, "encode", source, "-o", path, "--max-abs-error", "0.1", status=3)
    assert "element 3" in done.stderr and not path.exists()
    run(binary, "encode", source, "-o", path, "--max-abs-error", "0.1", "--nonfinite", "raw")
    assert decoded(binary, path, tmp_path)["x"].tobytes() == x.tobytes()


def test_bytes_do_not_depend_on_threads(binary, source, tmp_path):
    files = []
    for threads in (1, 2, 7):
        path = tmp_path / f"{threads}.qckpt"
        run(binary, "encode", source, "-o", path, "--max-rel-error", "0.05", "--threads", threads)
        files.append(path.read_bytes())
    assert files[0] == files[1] == files[2]
    done = run(binary, "encode", source, "--dry-run", "--max-rel-error", "0.05")
    assert "escapes" in done.stdout or "custom" in done.stdout


def test_the_reference_reader_reads_what_is_written(binary, root, source, tmp_path):
    path = tmp_path / "x.qckpt"
    for arguments in (["--max-abs-error", "1e-3"], ["--max-rel-error", "0.01", "--compression", "zstd"]):
        run(binary, "encode", source, "-o", path, *arguments)
        done = subprocess.run(
            [sys.executable, root / "Spec" / "Reference" / "qckpt_reader.py", path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found = {t["name"]: t["sha256"] for t in json.loads(done.stdout)["tensors"]}
        for name, x in decoded(binary, path, tmp_path).items():
            assert found[name] == hashlib.sha256(x.tobytes()).hexdigest(), name


def test_the_comparison_works(root, binary, tmp_path):
    """`make bounds-bench` on the shipped state; qcodec's bounds hold, others may be missing."""
    script, state = root / "Tests" / "Benchmarks" / "bounds.py", root / "Fixtures" / "real" / "gpt-char.safetensors"
    done = subprocess.run(
        [sys.executable, script, state, "--qcodec", binary, "--runs", "1", "--allow-missing", "--json", tmp_path / "b.json",
         "--results", tmp_path / "BOUNDS.md"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [row for row in json.loads((tmp_path / "b.json").read_text()) if row["coder"].startswith("qcodec")]
    assert len(rows) == 12 and all(0 < row["excess"] <= 1 and 0 < row["bits_per_value"] < 33 for row in rows)
    assert "| bound | coder |" in (tmp_path / "BOUNDS.md").read_text()
