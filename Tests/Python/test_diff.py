"""`qcodec diff` against NumPy: the real states beside what the presets make of them."""

import math

import ml_dtypes
import numpy as np
import pytest

import tensorfile

TYPES = {"F32": np.float32, "F64": np.float64, "F16": np.float16, "BF16": ml_dtypes.bfloat16}


def arrays(path):
    """The tensors of a safetensors file as float64, those of other dtypes left out."""
    tensors, _ = tensorfile.load(path.read_bytes())
    return {
        name: np.frombuffer(t.data, TYPES[t.dtype]).astype(np.float64) for name, t in tensors.items() if t.dtype in TYPES}


def expect_distance(row, a, b, name):
    difference = a - b
    norm = np.linalg.norm(a)
    # Sums are in another order than NumPy's.
    assert row["rel_l2"] == pytest.approx(np.linalg.norm(difference) / norm if norm else 0, rel=1e-12), name
    assert row["cosine"] == pytest.approx(a @ b / norm / np.linalg.norm(b), rel=1e-12), name
    assert row["max_abs"] == np.max(np.abs(difference)), name
    assert row["elements_differ"] == np.count_nonzero(a != b), name


@pytest.mark.parametrize(("one", "other"), [("exact", "adam8"), ("exact", "adam4"), ("adam8", "adam4"), ("adam4", "exact")])
def test_figures_are_those_of_numpy(qcodec, states, tmp_path, one, other):
    for state in states:
        files, decoded = {"exact": state}, {"exact": state}
        for preset in ("adam8", "adam4"):
            files[preset], decoded[preset] = tmp_path / f"{preset}.qckpt", tmp_path / f"{preset}.safetensors"
            qcodec("encode", state, "-o", files[preset], "--policy", preset)
            qcodec("decode", files[preset], "-o", decoded[preset])
        a, b = arrays(decoded[one]), arrays(decoded[other])
        report = qcodec("diff", files[one], files[other], "--all", status=1, json_output=True)
        rows = {row["name"]: row for row in report["tensors"]}
        assert set(rows) == set(tensorfile.load(state.read_bytes())[0])
        for name in a:
            expect_distance(rows[name], a[name], b[name], name)
            assert rows[name]["change"] == ("changed" if np.any(a[name] != b[name]) else "equal"), name
        total = [np.concatenate([side[name] for name in sorted(a)]) for side in (a, b)]
        expect_distance(report | {"elements_differ": np.count_nonzero(total[0] != total[1])}, *total, "all")
        expect_updates(report, rows, a, b)


def expect_updates(report, rows, a, b):
    squares = np.zeros(2)
    largest = 0.0
    pairs = [(name, name.replace("exp_avg/", "exp_avg_sq/")) for name in sorted(a) if name.startswith("exp_avg/")]
    assert len(pairs) == report["update"]["pairs"] == 5
    for first, second in pairs:
        u, other = (side[first] / (np.sqrt(side[second]) + 1e-8) for side in (a, b))
        error = np.abs(u - other)
        squares += error @ error, u @ u
        largest = max(largest, np.max(error))
        row = rows[first]
        assert row["second_moment"] == second
        assert row["update"]["rel_l2"] == pytest.approx(np.linalg.norm(error) / np.linalg.norm(u), rel=1e-12)
        assert row["update"]["max_abs"] == np.max(error)
    assert report["update"]["rel_l2"] == pytest.approx(math.sqrt(squares[0] / squares[1]), rel=1e-12)
    assert report["update"]["max_abs"] == largest


def test_other_dtypes_are_set_side_by_side(qcodec, tmp_path):
    """What bfloat16 and float16 make of float32, as they are stored."""
    values = np.random.default_rng(8).standard_normal(1000).astype(np.float32)
    values[:3] = 0.5, -2, 0
    sources = {}
    for dtype, kind in TYPES.items():
        sources[dtype] = tmp_path / dtype
        sources[dtype].write_bytes(tensorfile.dump({"x": tensorfile.Entry(dtype, (1000,), values.astype(kind).tobytes())}))
    for one in TYPES:
        for other in TYPES:
            status = 0 if one == other else 1
            report = qcodec("diff", sources[one], sources[other], "--all", status=status, json_output=True)
            (row,) = report["tensors"]
            expect_distance(row, arrays(sources[one])["x"], arrays(sources[other])["x"], (one, other))
            assert row["change"] == ("equal" if one == other else "retyped")
