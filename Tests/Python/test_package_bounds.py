"""Bounds on every element, asked of the package: kept, the same bytes as the command writes, and refused where they cannot be."""

import fractions
import io
import json
import subprocess

import numpy as np
import pytest
from safetensors.numpy import save_file

from test_bounds import awkward, moments, update, wide

qcodec = pytest.importorskip("qcodec")


def limit_of(bound, values):
    """A bound in units of one."""
    if not (isinstance(bound, str) and bound.endswith("rms")):
        return float(bound)
    with np.errstate(over="ignore"):
        return float(bound[:-3]) * (np.sqrt(np.mean(np.square(values))) if values.size else 0)


@pytest.mark.parametrize("stage", ["none", "zstd"])
@pytest.mark.parametrize("bound", [1e-3, "0.01", np.float32(0.125), 1e30, 3, fractions.Fraction(1, 7), "0.05rms"])
def test_absolute_bounds_hold_for_every_element(tmp_path, bound, stage):
    path, tree = tmp_path / "x.qckpt", awkward()
    written = qcodec.save(path, tree, max_abs_error=bound, compression=stage)
    assert written.file_bytes == path.stat().st_size
    for name, found in qcodec.load(path).items():
        x = tree[name]
        assert found.dtype == x.dtype and found.shape == x.shape
        error = np.abs(wide(x) - wide(found)) if x.dtype.kind != "i" else x != found
        assert np.all(error <= limit_of(bound, wide(x))), name
    assert qcodec.verify(path, against=tree).ok


@pytest.mark.parametrize("bound", [0.5, 0.01, "1e-6"])
def test_relative_bounds_hold_for_every_element(tmp_path, bound):
    path, tree = tmp_path / "x.qckpt", awkward()
    qcodec.save(path, tree, max_rel_error=bound)
    for name, found in qcodec.load(path).items():
        assert np.all(np.abs(wide(tree[name]) - wide(found)) <= float(bound) * np.abs(wide(tree[name]))), name
    assert qcodec.verify(path, against=tree).ok


@pytest.mark.parametrize("bound, eps", [(0.1, 1e-8), ("0.15rms", 1e-8), (1e-4, 1e-6)])
def test_bounds_on_updates_hold_for_every_element(tmp_path, bound, eps):
    path, tree = tmp_path / "x.qckpt", moments()
    qcodec.save(path, tree, max_update_error=bound, bound_epsilon=eps)
    loaded = qcodec.load(path)
    for name, m in tree.items():
        if not name.endswith("exp_avg"):
            continue
        v, other = tree[f"{name}_sq"], loaded[f"{name}_sq"]
        exact, got = (update(wide(a), wide(b), eps) for a, b in ((m, v), (loaded[name], other)))
        assert np.all(np.abs(exact - got) <= limit_of(bound, exact)), name
    # What is in no pair is kept to the bit.
    assert loaded["weight"].tobytes() == tree["weight"].tobytes()
    assert qcodec.verify(path, against=tree).ok


@pytest.mark.parametrize("kind, bound, material", [
    ("abs", "0.05rms", awkward), ("abs", "1e-3", awkward), ("rel", "0.01", awkward), ("update", "0.15rms", moments),
    ("update", "0.1", moments)])
@pytest.mark.parametrize("stage", ["lz4", "zstd"])
def test_the_bytes_are_those_of_the_command(binary, tmp_path, kind, bound, material, stage):
    source, path = tmp_path / "source.safetensors", tmp_path / "x.qckpt"
    save_file(material(), source)
    command = [binary, "encode", source, "-o", path, f"--max-{kind}-error", bound, "--compression", stage, "--eps", "1e-7"]
    assert subprocess.run(command, capture_output=True).returncode == 0
    with open(source, "rb") as file:
        names = list(json.loads(file.read(int.from_bytes(file.read(8), "little"))))
    for threads in (1, 3):
        target = io.BytesIO()
        with qcodec.Writer(
            target, compression=stage, threads=threads, bound_epsilon=1e-7, **{f"max_{kind}_error": bound}
        ) as writer:
            assert writer.add([(name, material()[name]) for name in names]) == []
            writer.set_metadata({})
        assert target.getvalue() == path.read_bytes()


def test_the_file_says_what_was_asked_for(tmp_path):
    path = tmp_path / "x.qckpt"
    for options, document in (
        ({"max_abs_error": "0.25rms"}, {"kind": "absolute", "value": 0.25, "unit": "rms"}),
        ({"max_rel_error": 0.25}, {"kind": "relative", "value": 0.25, "unit": "one"}),
        ({"max_update_error": 0.5, "bound_epsilon": 0.25}, {"kind": "update", "value": 0.5, "unit": "one", "eps": 0.25})):
        qcodec.save(path, awkward(), **options)
        assert qcodec.inspect(path).error_bound == document and qcodec.inspect(path).policy is None
    qcodec.save(path, awkward())
    assert qcodec.inspect(path).error_bound is None and qcodec.inspect(path).policy["name"] == "adam8"
    assert not np.array_equal(qcodec.load(path)["normal"], awkward()["normal"] + 1)


def test_a_bound_saves_bytes(tmp_path):
    whole = qcodec.save(tmp_path / "whole.qckpt", awkward(), "lossless").file_bytes
    assert qcodec.save(tmp_path / "x.qckpt", awkward(), max_abs_error="0.05rms").file_bytes < 0.8 * whole


def test_a_base_goes_with_a_bound(tmp_path):
    tree = awkward()
    qcodec.save(tmp_path / "0.qckpt", tree, max_rel_error=0.01)
    tree["tiny"] = tree["tiny"] + 1
    qcodec.save(tmp_path / "whole.qckpt", tree, max_rel_error=0.01)
    qcodec.save(tmp_path / "1.qckpt", tree, max_rel_error=0.01, base=tmp_path / "0.qckpt")
    assert (tmp_path / "1.qckpt").stat().st_size < 0.7 * (tmp_path / "whole.qckpt").stat().st_size
    qcodec.flatten(tmp_path / "1.qckpt", tmp_path / "flat.qckpt")
    assert (tmp_path / "flat.qckpt").read_bytes() == (tmp_path / "whole.qckpt").read_bytes()


IMPOSSIBLE = [
    {"max_abs_error": 0}, {"max_abs_error": -1e-3}, {"max_abs_error": float("nan")}, {"max_abs_error": float("inf")},
    {"max_rel_error": 1}, {"max_rel_error": -0.1}, {"max_rel_error": "0.1rms"}, {"max_update_error": "-1rms"},
    {"max_update_error": np.float32("nan")}, {"max_abs_error": "1e999"}, {"max_update_error": 1, "bound_epsilon": -1},
    {"max_update_error": 1, "bound_epsilon": float("nan")},
    *({"max_abs_error": text} for text in ("", "rms", "x", "0.1 rms", " 0.1", "0.1RMS", "0.1rmsrms", "1_0", "0x1p-3", "nan", "inf")),
    *({"max_abs_error": value} for value in (True, b"0.1", [0.1], 1j, {})),
    {"max_abs_error": 1, "max_rel_error": 0.1}, {"max_rel_error": 0.1, "max_update_error": "1rms"},
    {"max_abs_error": 1, "policy": "adam8"}, {"max_update_error": 1, "policy": "lossless"},
    {"max_abs_error": 1, "quality": 0.1}, {"max_abs_error": 1, "policy": "adamq", "quality": 0.1}]


@pytest.mark.parametrize("options", IMPOSSIBLE, ids=repr)
def test_a_bound_that_cannot_be_is_refused_before_anything_is_written(tmp_path, options):
    path, file = tmp_path / "x.qckpt", io.BytesIO()
    for target in (path, file):
        with pytest.raises(qcodec.ArgumentError) as error:
            qcodec.save(target, awkward(), **options)
        assert isinstance(error.value, ValueError)
    assert not list(tmp_path.iterdir()) and file.getvalue() == b""


def test_a_writer_with_a_bound_takes_no_policy_and_no_scheme(tmp_path):
    x = awkward()["normal"]
    with qcodec.Writer(tmp_path / "x.qckpt", max_abs_error=0.1) as writer:
        for call in (lambda: writer.add({"x": x}, "adam8"), lambda: writer.add({"x": x}, "lossless"),
                     lambda: writer.add_encoded("x", x, qcodec.Scheme("dynamic")),
                     lambda: writer.set_member("error_bound", {})):
            with pytest.raises(qcodec.ArgumentError):
                call()
        writer.add_encoded("exact", x, None)
        writer.add({"x": x})
    found = qcodec.load(tmp_path / "x.qckpt")
    assert found["exact"].tobytes() == x.tobytes() and 0 < np.max(np.abs(wide(found["x"]) - wide(x))) <= 0.1


@pytest.mark.parametrize("bound", [{"max_abs_error": 0.1}, {"max_rel_error": 0.1}])
def test_what_is_not_finite_is_refused_or_kept(tmp_path, bound):
    path, x = tmp_path / "x.qckpt", np.linspace(-1, 1, 5000, dtype=np.float32)
    x[3] = np.inf
    qcodec.save(path, {"x": np.zeros(3)})
    before = path.read_bytes()
    with pytest.raises(qcodec.EncodeError) as error:
        qcodec.save(path, {"x": x}, **bound)
    assert (error.value.tensor, error.value.element) == ("x", 3) and path.read_bytes() == before
    qcodec.save(path, {"x": x}, nonfinite="lossless", **bound)
    assert qcodec.load(path)["x"].tobytes() == x.tobytes()


def adamw():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 96), torch.nn.ReLU(), torch.nn.Linear(96, 64))
    optimizer = torch.optim.AdamW(model.named_parameters())
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(16, 64)).pow(2).mean().backward()
        optimizer.step()
    return torch, model, optimizer


def test_states_of_pytorch_keep_a_bound_on_updates(tmp_path):
    torch, model, optimizer = adamw()
    import qcodec.torch as qt

    path = tmp_path / "x.qckpt"
    qt.save({"model": model, "optimizer": optimizer}, path, max_update_error="0.1rms")
    loaded = qt.load(path)
    for name, parameter in model.state_dict().items():
        assert torch.equal(loaded["model"][name], parameter)
    states = optimizer.state_dict()["state"]
    for index, state in states.items():
        m, v = (state[key].double().numpy() for key in ("exp_avg", "exp_avg_sq"))
        other = loaded["optimizer"]["state"][index]
        exact, got = update(m, v, 1e-8), update(*(other[key].double().numpy() for key in ("exp_avg", "exp_avg_sq")), 1e-8)
        assert np.all(np.abs(exact - got) <= 0.1 * np.sqrt(np.mean(exact**2)))
    schemes = {tensor.name: tensor.encoding for tensor in qcodec.inspect(path).tensors}
    assert schemes["optimizer/state/0.weight/exp_avg"] == "quantized" == schemes["optimizer/state/2.weight/exp_avg_sq"]
    with pytest.raises(qcodec.ArgumentError):
        qt.save(optimizer, path, "adam8", max_update_error=0.1)


def test_what_an_optimizer_keeps_as_codes_stays_as_it_is(tmp_path):
    torch, model, _ = adamw()
    import qcodec.torch as qt
    from qcodec.torch.optim import AdamW8bit

    optimizer = AdamW8bit(model.named_parameters())
    model(torch.randn(16, 64)).pow(2).mean().backward()
    optimizer.step()
    qt.save(optimizer, tmp_path / "x.qckpt", max_update_error=1e-6)
    again = qt.load(tmp_path / "x.qckpt")["state"][0]
    for key, value in optimizer.state_dict()["state"][0].items():
        assert torch.equal(again[key], value) if isinstance(value, torch.Tensor) else again[key] == value
