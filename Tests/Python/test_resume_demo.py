"""The demo of `make resume-demo`: that resuming is exact where it is to be, what is computed, and the reports."""

import dataclasses
import importlib
import importlib.util
import json
import math
import subprocess
import sys
import xml.etree.ElementTree

import pytest
import torch

PEERS = {"torch.save", "safetensors", "torch.distributed.checkpoint", "bf16 moments, torch.save",
         "bitsandbytes 8-bit, torch.save"}
NOT_STORED = {"exact, without a break", "exact, moments one bit off", "dropped: a fresh optimizer"}
OWN = {"qcodec adam8", "qcodec adam4", "qcodec paper8"}
needs_package = pytest.mark.skipif(
    importlib.util.find_spec("qcodec") is None, reason="the Python package qcodec is not installed")


@pytest.fixture
def module(root, monkeypatch):
    """Imports a module of Tests/Benchmarks."""
    monkeypatch.syspath_prepend(root / "Tests" / "Benchmarks")
    return importlib.import_module


@pytest.fixture(scope="module")
def corpus(root):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "Tests" / "Benchmarks")
        training = importlib.import_module("resume_training")
    return training.Corpus("def f(x):\n    return x\n" * 500 + "é€")


@pytest.fixture
def tiny(module, corpus):
    """The module, and a training of some steps."""
    training = module("resume_training")
    run = training.Training(corpus, training.SMOKE)
    run.run(3)
    return training, run


def test_rare_characters_share_a_code(corpus):
    assert corpus.vocabulary == len(set("def f(x):\n    return x\n")) + 1
    assert corpus.codes[-2:].tolist() == [0, 0] and (corpus.codes[:-2] > 0).all()
    assert torch.equal(torch.cat([corpus.training, corpus.validation]), corpus.codes)
    assert len(corpus.validation) == pytest.approx(len(corpus.codes) / 10, abs=1)


def test_the_data_of_a_step_are_a_function_of_its_number(module, corpus):
    training = module("resume_training")
    first, again, other = (training.batch(corpus.training, step, training.SMOKE) for step in (5, 5, 6))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1]) and not torch.equal(first[0], other[0])
    assert torch.equal(first[0][:, 1:], first[1][:, :-1])
    reseeded = training.batch(corpus.training, 5, dataclasses.replace(training.SMOKE, seed=2))
    assert not torch.equal(first[0], reseeded[0])


def test_weights_decay_in_matrices_alone(tiny):
    _, run = tiny
    decaying, others = run.optimizer.param_groups
    assert decaying["weight_decay"] > 0 and {p.dim() for p in decaying["params"]} == {2}
    assert others["weight_decay"] == 0 and {p.dim() for p in others["params"]} == {1}
    assert sum(len(group["params"]) for group in run.optimizer.param_groups) == len(list(run.model.parameters()))


def test_the_rate_rises_and_falls(module, corpus):
    training = module("resume_training")
    settings = dataclasses.replace(training.SMOKE, warm_up=4, horizon=14, rate=1.0, least_rate=0.2)
    run, rates = training.Training(corpus, settings), []
    for run.step in (0, 3, 4, 9, 14, 99):
        rates.append(run.rate())
    assert rates == pytest.approx([0.25, 1, 1, 0.6, 0.2, 0.2])


def test_a_snapshot_is_resumed_bit_for_bit(tiny, corpus):
    training, run = tiny
    snapshot = run.snapshot()
    losses = run.run(4)
    for _ in range(2):  # a run does not change the snapshot that it started from
        again = training.Training.resumed(snapshot, snapshot["optimizer"], corpus, training.SMOKE)
        assert again.run(4) == losses
        assert all(torch.equal(a, b) for a, b in zip(again.parameters(), run.parameters(), strict=True))
    dropped = training.Training.resumed(snapshot, None, corpus, training.SMOKE)
    assert dropped.run(4)[0] == losses[0] and dropped.run(1) != losses[3:]


def test_drift(module):
    drift = module("resume_training").drift
    start, exact = [torch.zeros(2), torch.zeros(1, 1)], [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])]
    assert drift(exact, exact, start) == 0
    assert drift(start, exact, start) == 1
    assert drift([torch.tensor([3.0, 0.5]), exact[1]], exact, start) == pytest.approx(0.1)


def test_one_bit_off(module):
    ways = module("resume_ways")
    x = torch.tensor([1.0, -1.0, 0.0, 1e-30] * 50)
    entry = {"step": torch.tensor(3.0), "exp_avg": x, "exp_avg_sq": x.abs()}
    moved = ways.one_bit_off({"state": {0: entry}, "param_groups": []}, 1)["state"][0]
    assert moved["step"] == 3
    for name in ways.MOMENTS:
        bits = (moved[name].view(torch.int32) - entry[name].view(torch.int32)).abs()
        assert bits.tolist() == [1, 1, 0, 1] * 50
        assert (moved[name].abs() > entry[name].abs()).any() and (moved[name].abs() < entry[name].abs()).any()


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")  # one process is what is meant
@pytest.mark.parametrize("name", sorted(PEERS))
def test_ways_give_back_what_the_optimizer_takes(module, tiny, corpus, tmp_path, name):
    ways, (training, run) = module("resume_ways"), tiny
    way = next(way for way in ways.peer_ways() if way.name == name)
    snapshot = run.snapshot()
    way.write(snapshot["optimizer"], tmp_path / "state")
    state = way.read(tmp_path / "state")
    before, after = ways.tensors(snapshot["optimizer"]), ways.tensors(state)
    assert before.keys() == after.keys()
    differing = {key.split(".")[1] for key in before if not torch.equal(before[key], after[key])}
    assert differing == (set() if way.exact else set(ways.MOMENTS))
    for key, x in before.items():
        assert (after[key].dtype, after[key].shape) == (x.dtype, x.shape)
        if name.startswith("bitsandbytes"):
            assert torch.equal(after[key], x) == (x.numel() < ways.LEAST), key
    losses = training.Training.resumed(snapshot, state, corpus, training.SMOKE).run(2)
    assert losses == pytest.approx(run.run(2), abs=0 if way.exact else 0.01)
    ways.remove(tmp_path / "state")
    assert not (tmp_path / "state").exists()


def made_up():
    """A document whose figures are easy to find again."""
    def row(name, **fields):
        return {"name": name, "losses": [2.0, 1.5, 1.25], "validation": 1.75, "largest_gap": 0, "last": 1.5,
                "drift": 0} | fields

    return {
        "date": "2026-01-02", "machine": {"cpu": "a cpu", "processors": 3, "os": "an os"}, "versions": {"torch": "1.2"},
        "threads": 1, "runs": 2, "folder": "/somewhere", "last": 2, "parameters": 3_210_000,
        "settings": {
            "layers": 1, "width": 8, "heads": 2, "context": 16, "batch": 4, "before": 20, "after": 3, "warm_up": 5,
            "horizon": 40, "rate": 0.001, "least_rate": 0.0001, "decay": 0.1, "clip": 1.0, "seed": 7},
        "data": {"source": "a text", "licence": "a licence", "files": 2, "characters": 12345, "sha256": "0123",
                 "vocabulary": 9, "validation_characters": 1234},
        "rows": [
            row("exact"),
            row("stored", losses=[2.0, 1.501, 1.25], largest_gap=0.001, drift=0.0123, file_bytes=3 << 20,
                save=[0.1, 0.3], load=[0.5, 0.5]),
            {"name": "timed", "losses": None, "file_bytes": 1 << 19, "save": [2.0], "load": [1.0]},
        ]}


def test_tables(module):
    report, document = module("resume_report"), made_up()
    lines = report.table(document).splitlines()
    assert "last 2" in lines[0] and {line.count("|") for line in lines} == {9}
    assert lines[2:] == [
        "| exact | 0 | 1.5000 | 1.7500 | 0 |  |  |  |",
        "| stored | 0.001 | 1.5000 | 1.7500 | 0.012 | 3.00 | 0.200 | 0.500 |",
        "| timed |  |  |  |  | 0.50 | 2.000 | 1.000 |"]
    assert "| 0.200 (0.100–0.300) | 0.500 (0.500–0.500) |" in report.table(document, spread=True)
    # The first and the last step, and each tenth; not what was stored alone.
    assert report.curves(document).splitlines() == [
        "| step | exact | stored |", "|---|---|---|", "| 21 | 2.0000 | 2.0000 |", "| 23 | 1.2500 | 1.2500 |"]
    document["rows"][:2] = ({**row, "losses": [1.0] * 25} for row in document["rows"][:2])
    assert [line.split()[1] for line in report.curves(document).splitlines()[2:]] == ["21", "30", "40", "45"]


def test_reports(module):
    report, document = module("resume_report"), made_up()
    text = report.markdown(document, "plot.svg")
    for part in (
        report.table(document, spread=True), report.curves(document), "(plot.svg)", "a licence", "SHA-256 `0123`",
        "12,345", "3,210,000 parameters", "torch 1.2", "2026-01-02; a cpu, 3 processors, an os; 1 thread.",
    ):
        assert part in text
    readme = module("report").renewed(
        f"before\n{report.MARKS[0]}\nold\n{report.MARKS[1]}\nafter\n", report.readme_table(document), report.MARKS)
    assert readme.startswith(f"before\n{report.MARKS[0]}\n\n2026-01-02, a cpu, 1 thread; GPT of 3.2 million")
    assert readme.endswith(f"|\n\n{report.MARKS[1]}\nafter\n") and "old" not in readme


def test_the_plot(module):
    report, document = module("resume_report"), made_up()
    svg = xml.etree.ElementTree.fromstring(report.plot(document))
    lines = svg.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 3  # two losses, and the one gap to the first
    assert all(math.isfinite(float(x)) for line in lines for x in line.get("points").replace(",", " ").split())
    texts = [text.text for text in svg.findall("{http://www.w3.org/2000/svg}text")]
    assert {"exact", "stored", "21", "23"} <= set(texts) and "timed" not in texts


def test_the_readme_has_a_place_for_the_table(root, module):
    text, marks = (root / "README.md").read_text(), module("resume_report").MARKS
    assert [text.count(mark) for mark in marks] == [1, 1] and text.index(marks[0]) < text.index(marks[1])


def smoke(root, folder, *options):
    """(document, README, report) of a tiny run; its files are all that it leaves."""
    (folder / "README.md").write_text((root / "README.md").read_text())
    done = subprocess.run(
        [sys.executable, root / "Tests" / "Benchmarks" / "resume_demo.py", "--smoke", "--threads", "1", "--runs", "2",
         "--dir", folder, "--json", folder / "figures.json", "--results", folder / "RESUME.md", "--readme",
         folder / "README.md", *options],
        capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in folder.iterdir()} == {"README.md", "RESUME.md", "figures.json", "resume.svg"}
    document = json.loads((folder / "figures.json").read_text())
    return document, (folder / "README.md").read_text(), (folder / "RESUME.md").read_text()


def check(document, readme, results, own):
    rows = {row["name"]: row for row in document["rows"]}
    assert set(rows) == PEERS | NOT_STORED | own and len(rows) == len(document["rows"])
    assert (document["last"], document["data"]["licence"]) == (10, "BSD-3-Clause")
    assert document["data"]["characters"] > 2_000_000 and 50 < document["data"]["vocabulary"] < 128
    assert len(document["losses"]) == 20 and document["losses"][-1] < document["losses"][0]
    exact = rows["exact, without a break"]
    for name, row in rows.items():
        assert f"| {name} | " in readme and f"| {name} | " in results
        if name in NOT_STORED:
            assert "save" not in row
        else:
            assert len(row["save"]) == len(row["load"]) == 2 and min(row["save"] + row["load"]) > 0
            assert row["file_bytes"] > 0
        if name in ("safetensors", "torch.distributed.checkpoint"):
            assert row["losses"] is None
            continue
        # Parameters are exact, so that the first loss is.
        assert len(row["losses"]) == 10 and row["losses"][0] == exact["losses"][0]
        assert row["largest_gap"] == max(abs(a - b) for a, b in zip(row["losses"], exact["losses"]))
    assert (rows["torch.save"]["losses"], rows["torch.save"]["drift"]) == (exact["losses"], 0)
    # Whose noise is larger, one bit or bfloat16, is chance: parameters with no true gradient amplify either.
    assert 0 < rows["exact, moments one bit off"]["drift"] < rows["dropped: a fresh optimizer"]["drift"]
    assert rows["bitsandbytes 8-bit, torch.save"]["drift"] < rows["dropped: a fresh optimizer"]["drift"]
    assert rows["bf16 moments, torch.save"]["file_bytes"] < 0.6 * rows["torch.save"]["file_bytes"]
    return rows


def test_a_readme_without_marks_is_refused_before_the_training(root, tmp_path):
    (tmp_path / "README.md").write_text("nothing\n")
    done = subprocess.run(
        [sys.executable, root / "Tests" / "Benchmarks" / "resume_demo.py", "--readme", tmp_path / "README.md"],
        capture_output=True, text=True)
    assert done.returncode == 2 and "is to have the marks <!-- Resume" in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("qcodec") is not None, reason="the Python package qcodec is installed")
def test_without_the_package_the_option_is_named(root):
    done = subprocess.run(
        [sys.executable, root / "Tests" / "Benchmarks" / "resume_demo.py", "--smoke"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "resume_demo.py: not installed: qcodec; see --exact-only\n")


def test_a_smoke_run_without_the_package(root, tmp_path):
    check(*smoke(root, tmp_path, "--exact-only"), set())


@needs_package
def test_a_smoke_run(root, tmp_path):
    rows = check(*smoke(root, tmp_path), OWN)
    exact, drifts = rows["exact, without a break"], {name: rows[name]["drift"] for name in OWN}
    assert 0 < drifts["qcodec adam8"] < drifts["qcodec adam4"] < rows["dropped: a fresh optimizer"]["drift"]
    assert all(rows[name]["file_bytes"] < rows["torch.save"]["file_bytes"] for name in OWN)
    assert rows["qcodec adam8"]["losses"] == pytest.approx(exact["losses"], abs=0.001)
