"""The benchmarks of optimizers: that they work, and that their tables are made of what was measured."""

import importlib
import importlib.util
import json
import subprocess
import sys

import pytest

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("qcodec") is None, reason="the Python package qcodec is not installed")


@pytest.fixture
def module(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "Tests" / "Benchmarks")
    return importlib.import_module


@needs_package
def test_speed_of_steps(root, tmp_path):
    script = root / "Tests" / "Benchmarks" / "optimizer_speed.py"
    readme = tmp_path / "README.md"
    marks = ("<!-- Steps: written by make optimizer-bench. -->", "<!-- End of steps. -->")
    readme.write_text(f"before {marks[0]} old {marks[1]} after")
    done = subprocess.run(
        [sys.executable, script, "--smoke", "--json", tmp_path / "s.json", "--readme", readme], capture_output=True, text=True,
        check=True)
    results = json.loads((tmp_path / "s.json").read_text())["results"]
    state = {r["way"]: r["state_bytes"] for r in results}
    assert state["torch.optim.AdamW(fused=True)"] == pytest.approx(8, rel=1e-3)
    assert state["qcodec AdamW8bit"] == pytest.approx(2.03, abs=0.01)
    assert state["qcodec AdamW4bit"] == pytest.approx(1.06, abs=0.01)
    assert all(r["seconds"] > 0 and r["roofline"] > 0 for r in results)
    text = readme.read_text()
    assert "old" not in text and "| qcodec AdamW8bit | 2.03 |" in text and "| qcodec AdamW8bit | 2.03 |" in done.stdout
    assert text.startswith("before") and text.endswith("after")


@needs_package
def test_training(root, tmp_path):
    script = root / "Tests" / "Benchmarks" / "train_optimizers.py"
    way = "update8 + log8 (adam8)"
    done = subprocess.run(
        [sys.executable, script, "--smoke", "--steps", "5", "--seeds", "2", "--tasks", "GPT", "--only", "float32", way, "--json",
         tmp_path / "t.json", "--results", tmp_path / "T.md"], capture_output=True, text=True, check=True)
    results = json.loads((tmp_path / "t.json").read_text())
    assert [(r["way"], r["seed"]) for r in results] == [("float32", 1), (way, 1), ("float32", 2), (way, 2)]
    assert all(len(r["losses"]) == 5 for r in results)
    assert results[0]["losses"][0] == results[1]["losses"][0] != results[2]["losses"][0]
    assert (tmp_path / "T.md").read_text() in done.stdout and f"| {way} | 2 |" in done.stdout


def test_report(module):
    training = module("train_optimizers") if importlib.util.find_spec("qcodec") else pytest.skip("qcodec is not installed")
    results = [
        {"task": "T", "way": way, "seed": seed, "losses": [9.0] * 10 + [loss] * 50, "parameters": 1000, "seconds": 1.0}
        for way, losses in (("float32", (1.0, 2.0)), ("other", (1.5, 1.75))) for seed, loss in enumerate(losses)]
    text = training.report(results, 60)
    assert "standard deviation of 0.7071" in text
    assert "| float32 | 2 | 1.5000 | +0.0000 | +0.0000 |" in text and "| other | 2 | 1.6250 | +0.1250 | +0.5000 |" in text
