"""Hugging Face's Trainer with QCodecTrainerMixin: training that ends and goes on in a new process."""

import json
import os
import pathlib

import numpy as np
import pytest
from conftest import need

torch = need("torch", "transformers", "accelerate")
qcodec = need("qcodec")
import qcodec.torch
import train_transformers

SCRIPT = pathlib.Path(__file__).parent / "train_transformers.py"


@pytest.fixture
def train(python, tmp_path):
    """Trains in a new process; returns losses and the final state."""

    def run(resume, steps, **options):
        python(SCRIPT, resume or "none", steps, tmp_path / "out.npz", json.dumps(options))
        return dict(np.load(tmp_path / "out.npz"))

    return run


def is_equal(state, other):
    """Whether training ended in the same state after the same losses, bit for bit."""
    return state.keys() == other.keys() and all(np.array_equal(state[key], other[key]) for key in state)


@pytest.mark.smoke
def test_a_new_process_goes_on(train, monkeypatch, tmp_path):
    # The first run in this process, which has the libraries loaded.
    monkeypatch.chdir(tmp_path)
    train_transformers.main(None, 12, "whole.npz", {"policy": "lossless"})
    files = set(os.listdir("run/checkpoint-6"))
    assert {"optimizer.qckpt", "scheduler.pt", "rng_state.pth"} <= files and "optimizer.pt" not in files
    assert is_equal(dict(np.load("whole.npz")), train("run/checkpoint-6", 12, policy="lossless"))


def test_a_new_process_goes_on_after_one_that_ended(train, tmp_path):
    whole = train(None, 12, policy="lossless", folder="whole")
    train(None, 6, policy="lossless")
    assert is_equal(whole, train("run/checkpoint-6", 12, policy="lossless"))


def test_adam8(train, tmp_path):
    """The file's moments are off by a few percent of each element at most, chosen so that an update changes by little, and
    Adam forgets them. Within the 6 steps that follow parameters may differ by 2 % of the way that they go, losses by 0.1 %.
    Measured: 0.54 % and 0.006 %.
    """
    whole = train(None, 12, folder="whole")
    half = train(None, 6)
    rest = train("run/checkpoint-6", 12)
    assert not is_equal(whole, rest)
    for key in (key for key in whole if key.startswith("model/")):
        difference = np.linalg.norm(whole[key].astype(float) - rest[key])
        assert difference <= 0.02 * np.linalg.norm(whole[key].astype(float) - half[key]), key
    np.testing.assert_allclose(whole["losses"], rest["losses"], rtol=1e-3)
    assert np.array_equal(whole["lr"], rest["lr"])
    path = tmp_path / "run" / "checkpoint-6" / "optimizer.qckpt"
    with qcodec.open(path) as written:
        moment = written["state/transformer.h.0.mlp.c_fc.weight/exp_avg"]
        assert moment.is_quantized and moment.shape == (64, 256)
    elements = sum(value.size for key, value in whole.items() if key.startswith("optimizer/"))
    assert path.stat().st_size < elements * 4 * 0.35


def test_folders_of_the_plain_trainer(train, tmp_path):
    whole = train(None, 12, plain=True, folder="whole")
    train(None, 6, plain=True)
    folder = tmp_path / "run" / "checkpoint-6"
    assert (folder / "optimizer.pt").exists() and not (folder / "optimizer.qckpt").exists()
    assert is_equal(whole, train("run/checkpoint-6", 12, policy="lossless"))
    # What it wrote from then on is its own.
    assert (tmp_path / "run" / "checkpoint-12" / "optimizer.qckpt").exists()


# The mixin by itself


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    """A trainer after two steps."""
    monkeypatch.chdir(tmp_path)
    return train_transformers.main(None, 2, "out.npz", {"policy": "lossless"})


def first_moment(trainer):
    return trainer.optimizer.state_dict()["state"][0]["exp_avg"]


def test_of_two_files_the_later_counts(trainer, tmp_path):
    trainer._save_optimizer_and_scheduler(str(tmp_path))
    state = trainer.optimizer.state_dict()
    state["state"][0]["exp_avg"] = torch.zeros_like(state["state"][0]["exp_avg"])
    torch.save(state, tmp_path / "optimizer.pt")
    os.utime(tmp_path / "optimizer.pt", (1, 1))
    trainer._load_optimizer_and_scheduler(str(tmp_path))
    assert first_moment(trainer).any()
    os.utime(tmp_path / "optimizer.qckpt", (0, 0))
    trainer._load_optimizer_and_scheduler(str(tmp_path))
    assert not first_moment(trainer).any()


def test_failures(trainer, tmp_path):
    trainer._load_optimizer_and_scheduler(None)
    trainer._save_optimizer_and_scheduler(str(tmp_path))
    data = (tmp_path / "optimizer.qckpt").read_bytes()
    (tmp_path / "optimizer.qckpt").write_bytes(data[:-9])
    with pytest.raises(qcodec.FormatError):
        trainer._load_optimizer_and_scheduler(str(tmp_path))
    trainer.qcodec_policy = "adam8"
    trainer.optimizer.state_dict()["state"][0]["exp_avg"].fill_(float("nan"))
    (tmp_path / "optimizer.qckpt").write_bytes(data)
    with pytest.raises(qcodec.EncodeError):
        trainer._save_optimizer_and_scheduler(str(tmp_path))
    assert (tmp_path / "optimizer.qckpt").read_bytes() == data
    trainer.qcodec_options = {"nonfinite": "lossless", "compression": "zstd"}
    trainer._save_optimizer_and_scheduler(str(tmp_path))
    trainer._load_optimizer_and_scheduler(str(tmp_path))
    assert first_moment(trainer).isnan().all()


def test_sharded_training_stays_the_trainers(trainer, tmp_path, monkeypatch):
    calls = []
    for name in ("_save_optimizer_and_scheduler", "_load_optimizer_and_scheduler"):
        monkeypatch.setattr(f"transformers.Trainer.{name}", lambda self, folder, name=name: calls.append(name))
    trainer.is_fsdp_enabled = True
    trainer._save_optimizer_and_scheduler(str(tmp_path))
    trainer._load_optimizer_and_scheduler(str(tmp_path))
    assert calls == ["_save_optimizer_and_scheduler", "_load_optimizer_and_scheduler"]
    assert not (tmp_path / "optimizer.qckpt").exists()
