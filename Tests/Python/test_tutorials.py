"""The tutorials of the documentation: each step's code is run, in the order in which a reader meets it."""

import os
import pathlib
import re
import shutil
import sys

import numpy as np
import pytest

from installed import run

CATALOG = pathlib.Path(__file__).resolve().parents[2] / "Sources" / "QCheckpoint" / "QCheckpoint.docc"
RESOURCES = CATALOG / "Resources"


def steps(tutorial):
    """The files of code of a tutorial, in order."""
    found = re.findall(r'@Code\(name: "[^"]*", file: "([^"]*)"\)', (CATALOG / "Tutorials" / f"{tutorial}.tutorial").read_text())
    assert found
    return found


def test_every_file_belongs_to_a_step():
    tutorials = [path.stem for path in (CATALOG / "Tutorials").glob("*.tutorial") if path.stem != "Tutorials"]
    named = {file for tutorial in tutorials for file in steps(tutorial)}
    assert named == {path.name for path in RESOURCES.iterdir()}
    contents = (CATALOG / "Tutorials" / "Tutorials.tutorial").read_text()
    assert sorted(re.findall(r"doc:([\w-]+)", contents)) == sorted(tutorials)


def test_saving_a_training_state(tmp_path):
    pytest.importorskip("torch")
    sources = str(CATALOG.parents[1] / "PyQCodec" / "src")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([sources, os.environ.get("PYTHONPATH", "")])}
    for file in steps("Saving-a-training-state"):
        printed = run([sys.executable, RESOURCES / file], cwd=tmp_path, env=environment)
        if file == "save-3.py":
            assert "exp_avg_sq" in printed and "log" in printed


def test_looking_at_a_checkpoint(tmp_path, states, binary):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "qcodec").symlink_to(pathlib.Path(binary).resolve())
    shutil.copy(states[0], tmp_path / "optimizer.safetensors")
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    for file in steps("Looking-at-a-checkpoint"):
        assert run(["sh", "-eu", RESOURCES / file], cwd=tmp_path, env=environment) or file == "look-4.sh"
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_keeping_state_in_a_trainer(swift_examples, tmp_path, qcodec):
    steps_in_swift = [file for file in steps("Keeping-state-in-your-trainer") if file.endswith(".swift")]
    for number, file in enumerate(steps_in_swift, 1):
        program = swift_examples / f"Tutorial{number}"
        source = CATALOG.parents[1] / "Examples" / "swift" / "Sources" / program.name / "main.swift"
        assert source.resolve() == RESOURCES / file
        assert "bytes" in run([program], cwd=tmp_path)
    listed = qcodec("inspect", tmp_path / "state.qckpt", json_output=True)
    assert [tensor["name"] for tensor in listed["tensors"]] == ["weight.exp_avg", "weight.exp_avg_sq"]


def test_keeping_state_in_a_trainer_in_c(installed, tmp_path):
    (file,) = [file for file in steps("Keeping-state-in-your-trainer") if file.endswith(".c")]
    program = installed.compile(["gcc", "-std=c11"], RESOURCES / file, tmp_path / "main")
    assert "bytes" in run([program], cwd=tmp_path, env=installed.environment)


def test_reading_the_format(tmp_path, states, qcodec, reader):
    qcodec("encode", states[0], "-o", tmp_path / "state.qckpt", "--compression", "none")
    for file in steps("Reading-the-format"):
        run([sys.executable, RESOURCES / file], cwd=tmp_path)
    found = list(tmp_path.glob("*.npy"))
    assert found
    checkpoint = reader.Checkpoint((tmp_path / "state.qckpt").read_bytes())
    for path in found:
        (tensor,) = [tensor for tensor in checkpoint.tensors if tensor.name.replace("/", "_") == path.stem]
        assert np.load(path).tobytes() == bytes(checkpoint.read(tensor))
