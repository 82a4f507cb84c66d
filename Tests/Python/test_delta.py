"""Checkpoints with a base through the package: saved, opened, found, missing."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

qcodec = pytest.importorskip("qcodec")


def state(step):
    """What a run would save at a step: parameters of which some move, moments that do, and what never changes."""
    values = np.random.default_rng(1).standard_normal((3, 8000)).astype(np.float32)
    values[0].view(np.uint32)[:] += np.uint32(step)
    moments = np.random.default_rng(2 + step).standard_normal(5000).astype(np.float32)
    return {"params": values[0], "still": values[1], "exp_avg": moments, "exp_avg_sq": np.abs(values[2][:5000]), "step": step}


def same(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert np.array_equal(value, other[key]) if isinstance(value, np.ndarray) else value == other[key], key


@pytest.fixture
def run(tmp_path):
    """Paths of three steps, each with the one before as its base, and of the same without one."""
    files = {0: tmp_path / "0.qckpt"}
    qcodec.save(files[0], state(0))
    for step in (1, 2):
        files[step] = tmp_path / f"{step}.qckpt"
        qcodec.save(files[step], state(step), base=files[step - 1])
        qcodec.save(tmp_path / f"whole{step}.qckpt", state(step))
    return files


def test_what_was_saved_with_a_base_loads_as_without(run, tmp_path):
    for step in (1, 2):
        whole = tmp_path / f"whole{step}.qckpt"
        same(qcodec.load(run[step]), qcodec.load(whole))
        assert run[step].stat().st_size < whole.stat().st_size * 0.6
        assert qcodec.verify(run[step]).ok
    with qcodec.open(run[1]) as checkpoint:
        assert checkpoint.base == qcodec.Base(checkpoint.base.digest, "0.qckpt", True)
        assert np.array_equal(checkpoint["params"][10:20], state(1)["params"][10:20])
        tensors = {tensor.name: (tensor.base_chunks, tensor.difference_chunks) for tensor in checkpoint.inspect().tensors}
        assert tensors == {"params": (0, 1), "still": (1, 0), "exp_avg": (0, 0), "exp_avg_sq": (1, 0)}
        assert checkpoint.inspect().base == checkpoint.base
    with qcodec.open(run[0]) as checkpoint:
        assert checkpoint.base is None and checkpoint.inspect().base is None


def test_the_reference_reader_agrees(run, reader):
    for step in (1, 2):
        checkpoint = reader.read_file(run[step])
        assert checkpoint.base is not None
        reader.summary(checkpoint)
        with qcodec.open(run[step]) as own:
            for t in checkpoint.tensors:
                assert own[t.name].numpy().tobytes() == checkpoint.read(t), t.name


def test_a_base_that_is_not_in_its_place_can_be_given(run, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = run[0].rename(elsewhere / "first.qckpt")
    with qcodec.open(run[1]) as checkpoint:
        assert not checkpoint.base.found
        assert checkpoint.inspect().base.name == "0.qckpt"
        with pytest.raises(qcodec.FormatError, match=f"{checkpoint.base.digest}.*no file '0.qckpt'") as error:
            checkpoint["still"].numpy()
        assert error.value.code == 56 and error.value.tensor == "still"
    with pytest.raises(qcodec.FormatError):
        qcodec.load(run[1])
    # The base itself, or one behind it; one that is none of them does no harm, and no good.
    same(qcodec.load(run[1], base=moved), qcodec.load(tmp_path / "whole1.qckpt"))
    same(qcodec.load(run[2], base=moved), qcodec.load(tmp_path / "whole2.qckpt"))
    assert qcodec.verify(run[2], base=moved).ok and qcodec.inspect(run[1], base=moved).base.found
    with qcodec.open(moved) as base:
        assert qcodec.load(run[1], base=base)["step"] == 1
    with pytest.raises(qcodec.FormatError):
        qcodec.load(run[1], base=tmp_path / "whole2.qckpt")


def test_another_file_in_its_place_is_refused(run, tmp_path):
    (tmp_path / "whole1.qckpt").rename(run[0])
    with pytest.raises(qcodec.FormatError, match="is another checkpoint than the base") as error:
        qcodec.load(run[1])
    assert error.value.code == 57


def test_open_files_take_and_are_bases(run, tmp_path):
    with open(run[1], "rb") as file, qcodec.open(file) as checkpoint:
        # A file object has no place.
        assert not checkpoint.base.found
    with open(run[1], "rb") as file, qcodec.open(file, base=run[0]) as checkpoint:
        assert np.array_equal(checkpoint["params"].numpy(), state(1)["params"])
    with open(run[0], "rb") as file, qcodec.open(run[1], base=file) as checkpoint:
        assert np.array_equal(checkpoint["still"].numpy(), state(1)["still"])
    with qcodec.open(run[0]) as base:
        qcodec.save(tmp_path / "by-handle.qckpt", state(1), base=base)
    assert (tmp_path / "by-handle.qckpt").read_bytes() == run[1].read_bytes()


def test_a_base_is_found_from_another_folder(run, tmp_path, monkeypatch):
    target = tmp_path / "a" / "b" / "next.qckpt"
    target.parent.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    qcodec.save(pathlib.Path("a/b/next.qckpt"), state(3), base="0.qckpt")
    with qcodec.open(target) as checkpoint:
        assert checkpoint.base.name == "../../0.qckpt" and checkpoint.base.found


def test_nothing_is_written_over_a_base(run):
    before = {step: path.read_bytes() for step, path in run.items()}
    for step in (0, 1, 2):
        with pytest.raises(qcodec.QCodecError) as error:
            qcodec.save(run[step], state(3), base=run[2])
        assert error.value.code == 81
    assert before == {step: path.read_bytes() for step, path in run.items()}


def test_behind_urls(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    place = "memory://test_delta/run"
    qcodec.save(f"{place}/0.qckpt", state(0))
    qcodec.save(f"{place}/later/1.qckpt", state(1), base=f"{place}/0.qckpt")
    qcodec.save(tmp_path / "whole.qckpt", state(1))
    with qcodec.open(f"{place}/later/1.qckpt") as checkpoint:
        assert checkpoint.base.name == "../0.qckpt" and checkpoint.base.found
    same(qcodec.load(f"{place}/later/1.qckpt"), qcodec.load(tmp_path / "whole.qckpt"))
    fsspec.filesystem("memory").mv("/test_delta/run/0.qckpt", "/test_delta/gone.qckpt")
    with qcodec.open(f"{place}/later/1.qckpt") as checkpoint:
        assert not checkpoint.base.found
    same(qcodec.load(f"{place}/later/1.qckpt", base="memory://test_delta/gone.qckpt"), qcodec.load(tmp_path / "whole.qckpt"))


def test_the_member_of_the_base_is_the_formats(tmp_path):
    with qcodec.Writer(tmp_path / "a.qckpt") as writer, pytest.raises(qcodec.ArgumentError, match="base"):
        writer.set_member("base", {})


def test_a_smoke_run_of_the_benchmark(root, binary, tmp_path):
    readme, document = tmp_path / "README.md", tmp_path / "delta.json"
    readme.write_text("before\n<!-- Delta: written by make delta-bench. -->\nold\n<!-- End of delta. -->\nafter\n")
    command = [sys.executable, root / "Tests" / "Benchmarks" / "delta.py", "--qcodec", binary, "--smoke"]
    done = subprocess.run([*command, "--readme", readme, "--json", document], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads(document.read_text())
    assert [(row["run"], row["steps"], row["stage"]) for row in rows] == [
        (run, steps, stage) for run in ("gpt", "embeddings") for steps in (1, 10) for stage in ("lz4", "zstd")]
    assert all(row["delta"]["file"] < row["full"]["file"] for row in rows)
    assert all(row["parameters"]["subtracted"] < row["parameters"]["exclusive or"] for row in rows)
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert text.count("| gpt | 1 | lz4 |") == 2 == text.count("| embeddings | 10 | zstd |")
