"""Lightning's Trainer with QCodecCheckpointIO: training that ends and goes on in a new process."""

import collections
import enum
import json
import pathlib

import numpy as np
import pytest
from conftest import need

torch = need("torch", "lightning.pytorch")
qcodec = need("qcodec")
import qcodec.torch
import train_lightning
from qcodec.lightning import QCodecCheckpointIO, load_from_checkpoint

SCRIPT = pathlib.Path(__file__).parent / "train_lightning.py"
PACKAGES = ["lightning.pytorch", "pytorch_lightning"]


@pytest.fixture
def train(python, tmp_path):
    """Trains in a new process; returns losses and the final state."""

    def run(package, resume, epochs, **options):
        python(SCRIPT, package, resume or "none", epochs, tmp_path / "out.npz", json.dumps(options))
        return dict(np.load(tmp_path / "out.npz"))

    return run


def is_equal(state, other, tail):
    """Whether training ended in the same state, bit for bit, after the same last losses."""
    same = state.keys() == other.keys()
    return same and all(np.array_equal(state[key], other[key]) for key in state if key != "losses") \
        and np.array_equal(state["losses"][-tail:], other["losses"][-tail:])


def assert_close(state, other, start, tail):
    """Whether training went the same way under adam8.

    The file's moments are off by a few percent of each element at most, which the policy chose so that an update changes by
    little, and they forget it: after 24 steps 0.9^24 = 8 % of the first moment's error is left, 0.99^24 = 79 % of the second
    one's, whose root the update has. Parameters may differ by 2 % of the way that they went since `start`, losses by 1 %.
    Measured: at most 0.5 % and 0.01 %.
    """
    for key in (key for key in state if key.startswith("model/")):
        difference = np.linalg.norm(state[key].astype(float) - other[key])
        assert difference <= 0.02 * np.linalg.norm(state[key].astype(float) - start[key]), key
    np.testing.assert_allclose(state["losses"][-tail:], other["losses"][-tail:], rtol=0.01)
    assert state["lr"] == other["lr"]


@pytest.mark.smoke
def test_a_new_process_goes_on(train, monkeypatch, tmp_path):
    # The first run in this process, which has Lightning loaded.
    monkeypatch.chdir(tmp_path)
    train_lightning.main("lightning.pytorch", None, 2, "whole.npz", {"policy": "lossless"})
    whole = dict(np.load("whole.npz"))
    assert is_equal(whole, train("lightning.pytorch", "checkpoints/epoch=0.ckpt", 2, policy="lossless"), 8)


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("policy", ["lossless", "adam8"])
def test_a_new_process_goes_on_after_three_epochs(train, package, policy, tmp_path):
    need(package)
    whole = train(package, None, 6, policy=policy, folder="whole")
    half = train(package, None, 3, policy=policy)
    assert np.array_equal(half["losses"], whole["losses"][:24])
    rest = train(package, "checkpoints/last.ckpt", 6, policy=policy)
    if policy == "lossless":
        assert is_equal(whole, rest, 24)
    else:
        assert_close(whole, rest, half, 24)
        with qcodec.open(tmp_path / "checkpoints" / "last.ckpt") as written:
            # Named after their parameters, for the optimizer was made with names.
            assert written["optimizer_states/0/state/layers.0.weight/exp_avg"].is_quantized
            assert not written["state_dict/layers.0.weight"].is_quantized


def test_asynchronous_saving(train):
    whole = train("lightning.pytorch", None, 4, policy="lossless", folder="whole")
    train("lightning.pytorch", None, 2, policy="lossless", **{"async": True})
    assert is_equal(whole, train("lightning.pytorch", "checkpoints/last.ckpt", 4, policy="lossless", copied=True), 16)


def test_urls(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    options = {"policy": "lossless", "folder": "memory://lightning/checkpoints"}
    train_lightning.main("lightning.pytorch", None, 2, "whole.npz", options)
    train_lightning.main("lightning.pytorch", "memory://lightning/checkpoints/epoch=0.ckpt", 2, "rest.npz", options)
    assert is_equal(dict(np.load("whole.npz")), dict(np.load("rest.npz")), 8)
    assert not list(tmp_path.rglob("*.ckpt"))


def test_checkpoints_of_plain_lightning(train, python, tmp_path):
    whole = train("lightning.pytorch", None, 2, plain=True)
    options = json.dumps({"policy": "lossless"})
    path = "checkpoints/epoch=0.ckpt"
    error = python(SCRIPT, "lightning.pytorch", path, 2, "out.npz", options, fails=True)
    assert "load_foreign=True" in error and "FormatError" in error
    # An own object, pathlib's, is more than torch.load takes without pickle: what Lightning itself wrote comes.
    checkpoint = torch.load(tmp_path / path, weights_only=False)
    del checkpoint["own"]
    torch.save(checkpoint, tmp_path / "plain.ckpt")
    with pytest.raises(qcodec.FormatError, match="load_foreign=True.*weights_only"):
        QCodecCheckpointIO().load_checkpoint(tmp_path / "plain.ckpt")
    loaded = QCodecCheckpointIO(load_foreign=True).load_checkpoint(tmp_path / "plain.ckpt")
    assert torch.equal(loaded["state_dict"]["layers.0.weight"], checkpoint["state_dict"]["layers.0.weight"])
    assert len(whole["losses"]) == 16


# The plugin by itself


def checkpoint():
    """What a Trainer gathers, in little."""
    model = torch.nn.Linear(4, 2)
    return {"epoch": 1, "state_dict": model.state_dict(), "hyper_parameters": {"width": 4}, "optimizer_states": []}


def test_every_interface_knows_the_plugin():
    for name in ("lightning.fabric.plugins.io.checkpoint_io", "lightning_fabric.plugins.io.checkpoint_io"):
        need(name)
        assert isinstance(QCodecCheckpointIO(), __import__(name, fromlist=["CheckpointIO"]).CheckpointIO)


@pytest.mark.parametrize("location", [None, "cpu", torch.device("cpu"), {"cpu": "cpu"}, lambda storage, _: storage])
def test_locations(tmp_path, location):
    plugin, saved = QCodecCheckpointIO(), checkpoint()
    plugin.save_checkpoint(saved, tmp_path / "new" / "folder" / "a.ckpt")
    loaded = plugin.load_checkpoint(tmp_path / "new" / "folder" / "a.ckpt", location)
    assert loaded["hyper_parameters"] == {"width": 4}
    assert torch.equal(loaded["state_dict"]["weight"], saved["state_dict"]["weight"])


def test_urls_by_the_plugin_alone():
    plugin, saved = QCodecCheckpointIO(), checkpoint()
    url = "memory://lightning/a/b.ckpt"
    plugin.save_checkpoint(saved, url)
    assert plugin.load_checkpoint(url)["epoch"] == 1
    plugin.remove_checkpoint(url)
    plugin.remove_checkpoint(url)
    with pytest.raises(FileNotFoundError):
        plugin.load_checkpoint(url)


def test_every_element_keeps_a_bound(tmp_path):
    values = torch.randn(5000)
    plugin = QCodecCheckpointIO(max_abs_error="0.05rms")
    plugin.save_checkpoint({"state_dict": {"w": values}}, tmp_path / "x.ckpt")
    error = (plugin.load_checkpoint(tmp_path / "x.ckpt")["state_dict"]["w"].double() - values.double()).abs().max()
    assert 0 < error <= 0.05 * values.double().square().mean().sqrt()
    with pytest.raises(qcodec.ArgumentError):
        QCodecCheckpointIO("adam8", max_abs_error=1)


def test_what_only_pickle_could_bring_back(tmp_path):
    plugin = QCodecCheckpointIO()
    for value, path in ((lambda: 1, "hyper_parameters/x"), (torch.nn.Linear(1, 1), r"hyper_parameters/x: .*ignore="),
                        (object(), "hyper_parameters/x")):
        with pytest.raises(TypeError, match=path):
            plugin.save_checkpoint(checkpoint() | {"hyper_parameters": {"x": value}}, tmp_path / "a.ckpt")
        assert not (tmp_path / "a.ckpt").exists()
    with pytest.raises(TypeError, match="storage_options"):
        plugin.save_checkpoint(checkpoint(), tmp_path / "a.ckpt", storage_options={})


def test_types_come_through(tmp_path):
    versions = torch.nn.BatchNorm1d(2).state_dict()
    own = {
        "set": {1, "a", (2, 3)}, "frozen": frozenset([4]), "empty": set(), "path": pathlib.Path("a") / "b",
        "counter": collections.Counter({3: 2}), "versions": versions, "order": collections.OrderedDict([(2, None), (1, 0.5)]),
        "numbers": (True, 2**80, float("inf"), 1j), "bytes": b"ab", "random": np.random.default_rng(0).bit_generator.state,
        "type": torch.bfloat16, "size": torch.Size([2, 3]), "cpu": torch.device("cpu"), "generator": torch.get_rng_state(),
    }
    plugin = QCodecCheckpointIO()
    plugin.save_checkpoint({"own": own}, tmp_path / "a.ckpt")
    loaded = plugin.load_checkpoint(tmp_path / "a.ckpt")["own"]
    assert {key: type(value) for key, value in loaded.items()} == {key: type(value) for key, value in own.items()}
    assert torch.equal(loaded.pop("generator"), own.pop("generator"))
    assert all(torch.equal(value, own["versions"][key]) for key, value in loaded["versions"].items())
    assert loaded.pop("versions")._metadata == own.pop("versions")._metadata
    assert loaded == own and [*map(type, loaded["numbers"])] == [bool, int, float, complex]
    with pytest.raises(TypeError, match="own/kind.*Kind"):
        plugin.save_checkpoint({"own": {"kind": enum.Enum("Kind", "A").A}}, tmp_path / "a.ckpt")


def test_damage_is_not_taken_for_another_kind(tmp_path):
    plugin = QCodecCheckpointIO(load_foreign=True)
    plugin.save_checkpoint(checkpoint(), tmp_path / "a.ckpt")
    data = (tmp_path / "a.ckpt").read_bytes()
    (tmp_path / "a.ckpt").write_bytes(data[:-7])
    with pytest.raises(qcodec.FormatError):
        plugin.load_checkpoint(tmp_path / "a.ckpt")


def test_a_model_from_a_checkpoint(tmp_path):
    import lightning.pytorch as pl

    class Model(pl.LightningModule):
        def __init__(self, width=2, bias=True):
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(width, 1, bias)

    model = Model(width=5)
    trainer = pl.Trainer(
        plugins=[QCodecCheckpointIO()], logger=False, accelerator="cpu", enable_progress_bar=False,
        enable_checkpointing=False, default_root_dir=tmp_path,
    )
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = load_from_checkpoint(Model, tmp_path / "a.ckpt")
    assert loaded.hparams.width == 5 and torch.equal(loaded.layer.weight, model.layer.weight)


def test_fabric(tmp_path):
    fabric_package = need("lightning.fabric")
    fabric = fabric_package.Fabric(accelerator="cpu", devices=1, plugins=[QCodecCheckpointIO(policy="lossless")])
    model = torch.nn.Linear(3, 3)
    model, optimizer = fabric.setup(model, torch.optim.Adam(model.parameters()))
    fabric.backward(model(torch.ones(1, 3)).sum())
    optimizer.step()
    fabric.save(tmp_path / "a.ckpt", {"model": model, "optimizer": optimizer, "step": 4})
    weight = model.weight.detach().clone()
    torch.nn.init.zeros_(model.weight)
    state = {"model": model, "optimizer": optimizer, "step": 0}
    fabric.load(tmp_path / "a.ckpt", state)
    assert torch.equal(model.weight, weight) and state["step"] == 4
