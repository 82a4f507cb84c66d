"""qcodec.distributed: checkpoints of torch.distributed.checkpoint, saved and loaded by other numbers of processes."""

from __future__ import annotations

import datetime
import io
import json
import multiprocessing
import os
import pathlib
import pickle
import signal
import tempfile
import time
import traceback
import warnings
import zipfile

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.distributed as dist  # noqa: E402
import torch.distributed.checkpoint as dcp  # noqa: E402
from torch.distributed.checkpoint.api import CheckpointException  # noqa: E402
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner  # noqa: E402
from torch.distributed.checkpoint.planner import SavePlanner  # noqa: E402
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict  # noqa: E402
from torch.distributed.checkpoint.state_dict_loader import _load_state_dict_from_keys  # noqa: E402
from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType  # noqa: E402
from torch.distributed.device_mesh import init_device_mesh  # noqa: E402
from torch.distributed.fsdp import fully_shard  # noqa: E402
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor  # noqa: E402
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module  # noqa: E402

import qcodec  # noqa: E402
import qcodec.torch  # noqa: E402
from qcodec import distributed  # noqa: E402
from qcodec.distributed import INDEX, QCodecStorageReader, QCodecStorageWriter  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is")

# Children come from a server that has imported torch already.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch.distributed.checkpoint", "torch.distributed.fsdp", "qcodec.distributed"])
LIMIT = 50.0


# Processes


def run(world: int, body, *arguments, survivors: bool = False) -> list:
    """Runs a function on ranks of a group over loopback; what each returned.

    With `survivors` a rank may die, and only those that return give a result; the others' is None.
    """
    with tempfile.TemporaryDirectory() as folder:
        results = [os.path.join(folder, f"{rank}.pickle") for rank in range(world)]
        processes = [
            CONTEXT.Process(target=_child, args=(rank, world, os.path.join(folder, "store"), body, arguments, result))
            for rank, result in enumerate(results)
        ]
        for process in processes:
            process.start()
        deadline = time.monotonic() + LIMIT
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
        late = [rank for rank, process in enumerate(processes) if process.is_alive()]
        for rank in late:
            processes[rank].kill()
            processes[rank].join()
        outcomes = [pickle.load(open(result, "rb")) if os.path.exists(result) else (None, None) for result in results]
        if not survivors:
            assert not late, f"ranks {late} did not end in {LIMIT} s"
            for rank, (process, (_, error)) in enumerate(zip(processes, outcomes)):
                assert process.exitcode == 0 and error is None, f"rank {rank}, exit {process.exitcode}:\n{error}"
        return [value for value, _ in outcomes]


def _child(rank: int, world: int, store: str, body, arguments, result: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    outcome: tuple = (None, None)
    try:
        dist.init_process_group(
            "gloo", init_method=f"file://{store}", rank=rank, world_size=world, timeout=datetime.timedelta(seconds=30))
        outcome = (body(rank, world, *arguments), None)
        dist.barrier()
        dist.destroy_process_group()
    except BaseException:  # noqa: BLE001 - reported to the parent
        outcome = (None, traceback.format_exc())
    with open(result, "wb") as file:
        pickle.dump(outcome, file)
    if outcome[1] is not None:
        # A group that has lost a rank may wait for it.
        os._exit(0)


# A model, its training and its state


class Net(torch.nn.Module):
    """Two layers whose shards are quantized, one whose rows (5) leave a rank of four with none."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(96, 256)
        self.second = torch.nn.Linear(256, 130)
        self.last = torch.nn.Linear(130, 5)

    def forward(self, x):
        return self.last(torch.tanh(self.second(torch.tanh(self.first(x)))))


def make(world: int, seed: int = 0) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """A model and its optimizer, sharded over `world` ranks; 0 leaves them whole."""
    torch.manual_seed(seed)
    net = Net()
    if world:
        mesh = init_device_mesh("cpu", (world,))
        for layer in (net.first, net.second, net.last):
            fully_shard(layer, mesh=mesh)
        fully_shard(net, mesh=mesh)
    return net, torch.optim.AdamW(net.parameters(), lr=2e-3)


def train(net, optimizer, first: int, count: int) -> list[float]:
    """Steps that depend on their numbers alone; every rank sees the whole batch."""
    losses = []
    weights = torch.randn(96, 5, generator=torch.Generator().manual_seed(99))
    for step in range(first, first + count):
        x = torch.randn(64, 96, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(net(x), torch.tanh(x @ weights))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def state_of(net, optimizer) -> dict:
    model, optim = get_state_dict(net, optimizer)
    return {"model": model, "optim": optim}


def flat(tree, path: str = "") -> dict[str, np.ndarray]:
    """The tensors of a state dict by name, whole."""
    if isinstance(tree, torch.Tensor):
        whole = tree.full_tensor() if isinstance(tree, DTensor) else tree
        return {path: whole.detach().cpu().numpy().copy()}
    found: dict[str, np.ndarray] = {}
    if isinstance(tree, dict):
        for key, value in tree.items():
            found |= flat(value, f"{path}.{key}" if path else str(key))
    return found


def load_into(path: str, world: int, seed: int = 1):
    """A model of other weights, with the state of a checkpoint."""
    net, optimizer = make(world, seed)
    state = state_of(net, optimizer)
    state["epoch"] = -1
    dcp.load(state, storage_reader=QCodecStorageReader(path))
    set_state_dict(net, optimizer, model_state_dict=state["model"], optim_state_dict=state["optim"])
    return net, optimizer, state["epoch"]


def shards_of(path) -> list[str]:
    return sorted(file["name"] for file in json.loads((pathlib.Path(path) / INDEX).read_text())["files"])


def failure(call, *arguments, **options) -> BaseException:
    """The error that DCP wraps."""
    with pytest.raises(CheckpointException) as caught:
        call(*arguments, **options)
    return caught.value.failures[0][0]


def small_state(scale: float = 1.0) -> dict:
    generator = torch.Generator().manual_seed(5)
    first = torch.randn(64, 96, generator=generator) * scale
    second = torch.rand(64, 96, generator=generator) * scale + 1e-3
    return {
        "model": {"w": torch.randn(64, 96, generator=generator) * scale},
        "optim": {"state": {"w": {"exp_avg": first, "exp_avg_sq": second, "step": torch.tensor(3.0)}}},
        "epoch": 7,
    }


def zeros_like(tree):
    if isinstance(tree, torch.Tensor):
        return torch.zeros_like(tree)
    return {key: zeros_like(value) for key, value in tree.items()} if isinstance(tree, dict) else None


# One process


@pytest.mark.smoke
def test_round_trip(tmp_path):
    net, optimizer = make(0)
    train(net, optimizer, 0, 3)
    values = {
        "epoch": 3, "loss": 0.1, "nothing": None, "flag": True, "text": "é", "empty": [], "pair": (1, (2.5, "x")),
        "size": torch.Size([2, 3]), "dtype": torch.bfloat16, "device": torch.device("cpu"), "big": 2**70,
        "inf": float("inf"), "data": b"\0\1", "mixed": (torch.arange(3), {"a": np.float32(1.5)}),
    }
    state = state_of(net, optimizer) | {"values": values, "ints": torch.arange(5), "none": torch.empty(0, 3)}
    dcp.save(state, storage_writer=QCodecStorageWriter(tmp_path / "a" / "b", metadata={"run": "x"}))

    target = state_of(*make(0, 1)) | {
        "values": dict.fromkeys(values), "ints": torch.zeros(5, dtype=torch.int64), "none": torch.empty(0, 3)}
    dcp.load(target, storage_reader=QCodecStorageReader(tmp_path / "a" / "b"))
    mixed, wanted = target["values"].pop("mixed"), values.pop("mixed")
    assert torch.equal(mixed[0], wanted[0]) and mixed[1] == wanted[1]
    assert target["values"] == values
    assert all(type(target["values"][key]) is type(value) for key, value in values.items())
    before, after = flat(state), flat(target)
    assert before.keys() == after.keys()
    for name, array in before.items():
        assert array.dtype == after[name].dtype
        if "exp_avg" not in name:
            assert np.array_equal(array, after[name]), name
    assert target["optim"]["param_groups"] == state["optim"]["param_groups"]

    (shard,) = shards_of(tmp_path / "a" / "b")
    assert sorted(os.listdir(tmp_path / "a" / "b")) == sorted([INDEX, shard])
    shard = tmp_path / "a" / "b" / shard
    in_values = {"values.mixed/0": np.arange(3), "values.mixed/1/a": np.array(1.5, np.float32)}
    qcodec.verify(shard, before | in_values, max_update_error=0.02)
    assert qcodec.inspect(shard).metadata == {"run": "x"}
    alone = qcodec.torch.load(shard)
    assert alone["values"]["values.epoch"] == 3
    assert np.array_equal(alone["tensors"]["model.first.weight"].numpy(), before["model.first.weight"])


def test_lossless_is_exact_and_types_convert_to_those_asked_for(tmp_path):
    state = small_state() | {"half": torch.randn(33, 7).bfloat16(), "double": torch.randn(3, dtype=torch.float64)}
    dcp.save(state, storage_writer=QCodecStorageWriter(tmp_path, "lossless"))
    target = zeros_like(state)
    dcp.load(target, storage_reader=QCodecStorageReader(tmp_path))
    assert torch.equal(target["half"], state["half"]) and target["half"].dtype == torch.bfloat16
    assert torch.equal(target["double"], state["double"])
    assert torch.equal(target["optim"]["state"]["w"]["exp_avg"], state["optim"]["state"]["w"]["exp_avg"])
    # Another type, and memory that is not in C order.
    target = {"half": torch.zeros(33, 7, dtype=torch.float64), "double": torch.zeros(6, dtype=torch.float32)[::2],
              "model": {"w": torch.zeros(96, 64).t()}}
    dcp.load(target, storage_reader=QCodecStorageReader(tmp_path))
    assert torch.equal(target["half"], state["half"].double())
    assert torch.equal(target["double"], state["double"].float())
    assert torch.equal(target["model"]["w"], state["model"]["w"])


def test_a_part_of_it_without_a_state_dict(tmp_path):
    state = small_state()
    dcp.save(state, storage_writer=QCodecStorageWriter(tmp_path, "lossless"))
    loaded = _load_state_dict_from_keys({"optim", "epoch"}, storage_reader=QCodecStorageReader(tmp_path))
    assert loaded["epoch"] == 7 and set(loaded) == {"optim", "epoch"}
    assert torch.equal(loaded["optim"]["state"]["w"]["exp_avg"], state["optim"]["state"]["w"]["exp_avg"])


def test_checkpoint_id_moves_writer_and_reader(tmp_path):
    dcp.save(small_state(), checkpoint_id=tmp_path / "x", storage_writer=QCodecStorageWriter(tmp_path / "y"))
    assert os.listdir(tmp_path) == ["x"]
    target = zeros_like(small_state())
    dcp.load(target, checkpoint_id=tmp_path / "x", storage_reader=QCodecStorageReader(tmp_path / "y"))
    assert target["epoch"] == 7
    assert QCodecStorageReader.validate_checkpoint_id(tmp_path)
    assert not QCodecStorageWriter.validate_checkpoint_id("s3://bucket/x")
    with pytest.raises(qcodec.ArgumentError, match="local folder"):
        QCodecStorageWriter("s3://bucket/x")


def test_stateful_objects_and_tied_tensors(tmp_path):
    class Progress:
        def __init__(self, step):
            self.step = step

        def state_dict(self):
            return {"step": self.step}

        def load_state_dict(self, state):
            self.step = state["step"]

    tied = torch.randn(70, 80)
    dcp.save({"p": Progress(9), "a": tied, "b": tied}, storage_writer=QCodecStorageWriter(tmp_path))
    target = {"p": Progress(0), "a": torch.zeros(70, 80), "b": torch.zeros(70, 80)}
    dcp.load(target, storage_reader=QCodecStorageReader(tmp_path))
    assert target["p"].step == 9 and torch.equal(target["a"], tied) and torch.equal(target["b"], tied)


def test_every_element_keeps_a_bound_on_updates(tmp_path):
    m = torch.randn(70, 80)
    state = {"w.exp_avg": m, "w.exp_avg_sq": m.square() * torch.rand(70, 80), "u.exp_avg": m, "u.exp_avg_sq": torch.rand(70, 80)}
    dcp.save(state, storage_writer=QCodecStorageWriter(tmp_path, max_update_error=0.05))
    target = {name: torch.zeros(70, 80) for name in state}
    dcp.load(target, storage_reader=QCodecStorageReader(tmp_path))
    for name in ("w", "u"):
        exact, got = (
            x[f"{name}.exp_avg"].double() / (x[f"{name}.exp_avg_sq"].double().sqrt() + 1e-8) for x in (state, target))
        assert 0 < (exact - got).abs().max() <= 0.05
    for options in ({"policy": "adam8", "max_abs_error": 1}, {"max_abs_error": 1, "max_rel_error": 0.1}):
        with pytest.raises(qcodec.ArgumentError):
            QCodecStorageWriter(tmp_path, **options)


def test_nothing_is_pickled(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("pickled")

    net, optimizer = make(0)
    train(net, optimizer, 0, 1)
    state = state_of(net, optimizer) | {"values": {"a": (1, "b"), "t": (torch.ones(2),)}}
    with monkeypatch.context() as patch:
        for module, name in ((torch, "save"), (pickle, "dump"), (pickle, "dumps"), (pickle, "Pickler")):
            patch.setattr(module, name, refuse)
        dcp.save(state, storage_writer=QCodecStorageWriter(tmp_path))
    no_pickles(tmp_path)


def no_pickles(folder) -> None:
    for name in os.listdir(folder):
        data = (pathlib.Path(folder) / name).read_bytes()
        assert b"PK\x03\x04" not in data and not zipfile.is_zipfile(io.BytesIO(data))
        if name == INDEX:
            json.loads(data)
        else:
            assert name.endswith(".qckpt")
            with qcodec.open(pathlib.Path(folder) / name) as checkpoint:
                checkpoint.verify()


def test_other_values_are_refused_by_name(tmp_path):
    for value in (object(), lambda: 0, torch.optim.lr_scheduler.LRScheduler):
        error = failure(dcp.save, {"app": {"thing": value}}, storage_writer=QCodecStorageWriter(tmp_path))
        assert isinstance(error, TypeError) and "app.thing" in str(error)
    # In a list nothing calls its state_dict.
    error = failure(dcp.save, {"list": [make(0)[1]]}, storage_writer=QCodecStorageWriter(tmp_path))
    assert isinstance(error, TypeError) and "list" in str(error)
    error = failure(
        dcp.save, {"s": torch.eye(3).to_sparse()}, storage_writer=QCodecStorageWriter(tmp_path))
    assert isinstance(error, TypeError) and str(error).startswith("s:")
    assert os.listdir(tmp_path) == []


def test_sets_come_back(tmp_path):
    dcp.save({"app": {"thing": {1, 2}}}, storage_writer=QCodecStorageWriter(tmp_path))
    state = {"app": {"thing": None}}
    dcp.load(state, storage_reader=QCodecStorageReader(tmp_path))
    assert state == {"app": {"thing": {1, 2}}}


def test_states_without_memory_of_their_own_are_refused_by_name(tmp_path):
    torchao = pytest.importorskip("torchao.optim.subclass_8bit")
    state = {"optim": {"w": {"exp_avg": torchao.OptimState8bit.zeros((64, 64))}}}
    error = failure(dcp.save, state, storage_writer=QCodecStorageWriter(tmp_path))
    assert isinstance(error, TypeError) and "optim.w.exp_avg" in str(error) and "OptimState8bit" in str(error)


def test_what_a_scheme_cannot_hold_leaves_the_former_checkpoint(tmp_path):
    dcp.save(small_state(), storage_writer=QCodecStorageWriter(tmp_path))
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    state = small_state()
    state["optim"]["state"]["w"]["exp_avg"][3, 4] = float("nan")
    error = failure(dcp.save, state, storage_writer=QCodecStorageWriter(tmp_path))
    assert isinstance(error, qcodec.EncodeError) and error.tensor == "optim.state.w.exp_avg"
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before
    dcp.save(state, storage_writer=QCodecStorageWriter(tmp_path, nonfinite="lossless"))
    target = zeros_like(state)
    dcp.load(target, storage_reader=QCodecStorageReader(tmp_path))
    assert torch.isnan(target["optim"]["state"]["w"]["exp_avg"][3, 4])


def test_overwriting(tmp_path):
    dcp.save(small_state(), storage_writer=QCodecStorageWriter(tmp_path, overwrite=False))
    error = failure(dcp.save, small_state(2), storage_writer=QCodecStorageWriter(tmp_path, overwrite=False))
    assert isinstance(error, FileExistsError) and str(tmp_path) in str(error)
    first = shards_of(tmp_path)
    dcp.save(small_state(2), storage_writer=QCodecStorageWriter(tmp_path))
    (second,) = shards_of(tmp_path)
    assert second not in first and sorted(os.listdir(tmp_path)) == sorted([INDEX, second])
    target = zeros_like(small_state())
    dcp.load(target, storage_reader=QCodecStorageReader(tmp_path))
    assert torch.equal(target["model"]["w"], small_state(2)["model"]["w"])


def test_shards_in_other_folders_are_noticed(tmp_path, monkeypatch):
    dcp.save(small_state(), storage_writer=QCodecStorageWriter(tmp_path))
    before = (tmp_path / INDEX).read_bytes()
    commit = distributed._writer.Writer.commit

    def commit_and_lose(writer):
        written = commit(writer)
        (lost,) = set(tmp_path.glob("*.qckpt")) - {tmp_path / name for name in shards_of(tmp_path)}
        lost.unlink()
        return written

    monkeypatch.setattr(distributed._writer.Writer, "commit", commit_and_lose)
    error = failure(dcp.save, small_state(2), storage_writer=QCodecStorageWriter(tmp_path))
    assert isinstance(error, qcodec.StorageError) and str(tmp_path) in str(error)
    assert (tmp_path / INDEX).read_bytes() == before
    dcp.load(zeros_like(small_state()), storage_reader=QCodecStorageReader(tmp_path))


def test_dropped_tensors_are_not_in_the_checkpoint(tmp_path):
    policy = {"name": "mine", "extends": "adam8", "drop": ["model.*"]}
    dcp.save(small_state(), storage_writer=QCodecStorageWriter(tmp_path, policy))
    assert "model.w" not in QCodecStorageReader(tmp_path).read_metadata().state_dict_metadata
    target = zeros_like(small_state())
    with pytest.raises(CheckpointException, match="model.w"):
        dcp.load(target, storage_reader=QCodecStorageReader(tmp_path))
    dcp.load(target, storage_reader=QCodecStorageReader(tmp_path), planner=DefaultLoadPlanner(allow_partial_load=True))
    assert target["epoch"] == 7


def test_plan_caching(tmp_path):
    try:
        for scale in (1.0, 2.0, 3.0):
            planner = DefaultSavePlanner(enable_plan_caching=True)
            dcp.save(small_state(scale), storage_writer=QCodecStorageWriter(tmp_path), planner=planner)
            target = zeros_like(small_state())
            dcp.load(target, storage_reader=QCodecStorageReader(tmp_path))
            assert torch.equal(target["model"]["w"], small_state(scale)["model"]["w"])
            assert len(os.listdir(tmp_path)) == 2
    finally:
        for cache in vars(SavePlanner).values():
            if isinstance(cache, dict):
                cache.clear()


def test_planners_and_modes_that_hide_values_are_refused(tmp_path):
    class Opaque(DefaultSavePlanner):
        lookup_object = None

        def resolve_data(self, write_item):
            return io.BytesIO(pickle.dumps(1))

    error = failure(dcp.save, {"x": 1}, storage_writer=QCodecStorageWriter(tmp_path), planner=Opaque())
    assert isinstance(error, TypeError) and "x" in str(error) and "Opaque" in str(error)
    with pytest.raises(qcodec.ArgumentError, match="use_collectives"):
        dcp.save({"x": 1}, storage_writer=QCodecStorageWriter(tmp_path), use_collectives=False)


# Damage


def changed(change):
    """A damage of an index whose checksum is right."""
    def damage(folder):
        document = json.loads((folder / INDEX).read_text())
        del document["sha256"]
        change(document)
        distributed._index.write_index(str(folder), document)

    return damage


def rewritten(function):
    def damage(folder):
        (folder / INDEX).write_bytes(function((folder / INDEX).read_bytes()))

    return damage


def entry(document):
    return document["tensors"]["model.w"]


DAMAGES = {
    "empty": rewritten(lambda data: b""),
    "cut": rewritten(lambda data: data[: len(data) // 2]),
    "binary": rewritten(lambda data: b"\x80\x02" + data),
    "deep": rewritten(lambda data: b"[" * 100_000),
    "digit": rewritten(lambda data: data.replace(b'"size":[64,96]', b'"size":[64,97]', 1)),
    "nan": rewritten(lambda data: data.replace(b'"bytes":', b'"bytes":NaN,"b":', 1)),
    "other": rewritten(lambda data: b'{"a": 1}'),
    "list": rewritten(lambda data: b"[]"),
    "version": changed(lambda document: document.update(version=2)),
    "path": changed(lambda document: document["files"][0].update(name="../x.qckpt")),
    "file": changed(lambda document: entry(document)["chunks"][0].__setitem__(2, 5)),
    "negative file": changed(lambda document: entry(document)["chunks"][0].__setitem__(2, -1)),
    "outside": changed(lambda document: entry(document)["chunks"][0].__setitem__(0, [1, 0])),
    "axes": changed(lambda document: entry(document)["chunks"][0].__setitem__(1, [64])),
    "boolean": changed(lambda document: entry(document).update(size=[True, 96])),
    "huge": changed(lambda document: entry(document).update(size=[2**80, 96])),
    "type": changed(lambda document: entry(document).update(dtype="float12")),
    "twice": changed(lambda document: entry(document)["chunks"].append(entry(document)["chunks"][0])),
    "no tensors": changed(lambda document: document.pop("tensors")),
    "tensors": changed(lambda document: document.update(tensors=[1])),
    "both": changed(lambda document: document["values"].update({"model.w": 0})),
    "paths": changed(lambda document: document["paths"].update(epoch=[1.5])),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_index(tmp_path, kind):
    dcp.save(small_state(), storage_writer=QCodecStorageWriter(tmp_path))
    DAMAGES[kind](tmp_path)
    with pytest.raises(qcodec.FormatError, match=INDEX) as caught:
        QCodecStorageReader(tmp_path).read_metadata()
    assert str(tmp_path) in str(caught.value)
    error = failure(dcp.load, zeros_like(small_state()), storage_reader=QCodecStorageReader(tmp_path))
    assert isinstance(error, qcodec.FormatError) and str(tmp_path / INDEX) in str(error)
    # What cannot be read is no reason to delete shards before there are others.
    assert len([name for name in os.listdir(tmp_path) if name.endswith(".qckpt")]) == 1
    dcp.save(small_state(), storage_writer=QCodecStorageWriter(tmp_path))
    dcp.load(zeros_like(small_state()), storage_reader=QCodecStorageReader(tmp_path))
    assert len(os.listdir(tmp_path)) == 2


def test_damaged_shards(tmp_path):
    dcp.save(small_state(), storage_writer=QCodecStorageWriter(tmp_path))
    (name,) = shards_of(tmp_path)
    shard = tmp_path / name
    data = shard.read_bytes()

    def load():
        error = failure(dcp.load, zeros_like(small_state()), storage_reader=QCodecStorageReader(tmp_path))
        assert isinstance(error, qcodec.FormatError) and str(error).startswith(str(shard)), error
        return str(error)

    for place in range(0, len(data), 1499):
        broken = bytearray(data)
        broken[place] ^= 0x10
        shard.write_bytes(broken)
        load()
    shard.write_bytes(data[:-1])
    assert "bytes" in load()
    shard.unlink()
    assert "missing" in load()
    shard.write_bytes(data)
    changed(lambda document: document["values"].update(more=0))(tmp_path)
    error = failure(dcp.load, {"more": None}, storage_reader=QCodecStorageReader(tmp_path))
    assert isinstance(error, qcodec.FormatError) and "more" in str(error) and str(shard) in str(error)
    # A sound file of other tensors.
    qcodec.save(shard, {"x": np.zeros(4, np.float32)})
    changed(lambda document: document["files"][0].update(bytes=shard.stat().st_size))(tmp_path)
    load()
    # The right names, but other shapes or types.
    for array in (np.zeros((64, 95), np.float32), np.zeros((64, 96), np.float64)):
        qcodec.save(shard, {"tensors": 0})
        with qcodec.Writer(shard) as writer:
            writer.add({"model.w": array})
        changed(lambda document: document["files"][0].update(bytes=shard.stat().st_size))(tmp_path)
        error = failure(dcp.load, {"model": {"w": torch.zeros(64, 96)}}, storage_reader=QCodecStorageReader(tmp_path))
        assert isinstance(error, qcodec.FormatError) and "model.w" in str(error)


def test_folders_without_a_checkpoint(tmp_path):
    target = zeros_like(small_state())
    for folder in (tmp_path / "none", tmp_path):
        error = failure(dcp.load, target, storage_reader=QCodecStorageReader(folder))
        assert isinstance(error, FileNotFoundError) and str(folder / INDEX) in str(error)
        with pytest.raises(FileNotFoundError):
            QCodecStorageReader(folder).read_metadata()
    dcp.save(small_state(), checkpoint_id=tmp_path)
    before = set(os.listdir(tmp_path))
    error = failure(dcp.load, target, storage_reader=QCodecStorageReader(tmp_path))
    assert isinstance(error, qcodec.FormatError) and str(tmp_path) in str(error) and "pickled" in str(error)
    # Nothing of others is deleted.
    (tmp_path / "__0_mine.qckpt").write_bytes(b"")
    dcp.save(small_state(), storage_writer=QCodecStorageWriter(tmp_path))
    assert before | {"__0_mine.qckpt", INDEX} <= set(os.listdir(tmp_path))


# Many processes


def save_sharded(rank, world, folder):
    net, optimizer = make(world)
    train(net, optimizer, 0, 6)
    state = state_of(net, optimizer) | {"epoch": 6}
    dcp.save(state, storage_writer=QCodecStorageWriter(os.path.join(folder, "adam8"), threads=1))
    dcp.save(state, storage_writer=QCodecStorageWriter(os.path.join(folder, "lossless"), "lossless", threads=1))
    return flat(state), train(net, optimizer, 6, 6)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with checkpoints of four ranks, the state they hold, and the losses of training that went on."""
    folder = str(tmp_path_factory.mktemp("sharded"))
    state, losses = run(4, save_sharded, folder)[0]
    return folder, state, losses


def load_sharded(rank, world, path):
    net, optimizer, epoch = load_into(path, world)
    return flat(state_of(net, optimizer)), epoch


def loaded_by(world: int, path: str):
    if world == 0:
        return load_sharded(0, 0, path)
    first, *others = run(world, load_sharded, path)
    for other in others:
        assert all(np.array_equal(first[0][name], other[0][name]) for name in first[0])
    return first


def test_lossless_shards_are_exact_for_other_numbers_of_ranks(saved):
    folder, state, _ = saved
    for world in (0, 1, 2):
        loaded, epoch = loaded_by(world, os.path.join(folder, "lossless"))
        assert epoch == 6 and loaded.keys() == state.keys()
        for name, array in state.items():
            assert np.array_equal(array, loaded[name]), name


def test_quantized_shards_are_within_their_bounds_and_equal_for_every_number_of_ranks(saved):
    folder, state, _ = saved
    path = os.path.join(folder, "adam8")
    whole, _ = loaded_by(0, path)
    for world in (2, 3):
        loaded, epoch = loaded_by(world, path)
        assert epoch == 6
        assert all(np.array_equal(whole[name], loaded[name]) for name in state), world
    changed_names = {name for name, array in state.items() if not np.array_equal(array, whole[name])}
    assert changed_names == {
        f"optim.state.{layer}.weight.{moment}" for layer in ("first", "second") for moment in ("exp_avg", "exp_avg_sq")}
    metadata = QCodecStorageReader(path).read_metadata()
    for index, stored in metadata.storage_data.items():
        if stored.tensor is None:
            continue
        part = tuple(slice(first, first + count) for first, count in zip(index.offset, stored.sizes))
        with qcodec.open(os.path.join(path, stored.file)) as checkpoint:
            view = checkpoint[stored.tensor]
            difference = np.abs(state[index.fqn][part].astype(np.float64) - whole[index.fqn][part])
            assert view.shape == stored.sizes and difference.max(initial=0) <= (view.guaranteed_max_abs_error or 0)
    no_pickles(path)


def test_shards_hold_moments_in_the_update_domain(saved):
    folder, state, _ = saved
    path = os.path.join(folder, "adam8")
    metadata = QCodecStorageReader(path).read_metadata()
    shards = shards_of(path)
    assert sorted(int(name.split("_")[2]) for name in shards) == [0, 1, 2, 3]
    quantized = 0
    for name in shards:
        originals = {}
        for index, stored in metadata.storage_data.items():
            if stored.file == name and stored.tensor is not None:
                part = tuple(slice(first, first + count) for first, count in zip(index.offset, stored.sizes))
                originals[stored.tensor] = state[index.fqn][part].copy()
        qcodec.verify(os.path.join(path, name), originals, max_update_error=0.02)
        for tensor in qcodec.inspect(os.path.join(path, name)).tensors:
            last = tensor.name.split("[")[0].split(".")[-1]
            role = {"exp_avg": "first_moment", "exp_avg_sq": "second_moment"}.get(last)
            assert role is None or tensor.role == role
            if role == "first_moment" and np.prod(tensor.shape) >= 4096:
                quantized += 1
                assert tensor.encoding == "quantized" and tensor.domain == "update" and tensor.bits == 8
                assert tensor.second_moment == tensor.name.replace("exp_avg", "exp_avg_sq")
    # 256 × 96 and 130 × 256 over four ranks, all of more than 4,096 elements.
    assert quantized == 8


def resume(rank, world, path):
    net, optimizer, epoch = load_into(path, world)
    return train(net, optimizer, epoch, 6)


@pytest.mark.parametrize("policy, tolerance", [("lossless", 1e-4), ("adam8", 2e-2)])
def test_training_goes_on_after_resharding(saved, policy, tolerance):
    folder, _, losses = saved
    (resumed, other) = run(2, resume, os.path.join(folder, policy))
    assert resumed == other
    np.testing.assert_allclose(resumed, losses, rtol=tolerance)
    assert losses[-1] < losses[0]


MESH_CASES = {
    "replicated": (Replicate(), Replicate()),
    "hybrid": (Replicate(), Shard(0)),
    "rows": (Shard(0), Shard(0)),
    "blocks": (Shard(0), Shard(1)),
    "columns": (Replicate(), Shard(1)),
}


def mesh_state(mesh, placements, seed):
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name in placements:
        first, second = torch.randn(202, 190, generator=generator), torch.rand(202, 190, generator=generator) + 0.5
        for key, whole in (("exp_avg", first), ("exp_avg_sq", second)):
            state.setdefault(name, {})[key] = distribute_tensor(whole, mesh, placements[name])
    # Plain tensors, which every rank has.
    state["plain"] = {"exp_avg": first.clone(), "exp_avg_sq": second.clone()}
    state["alone"] = {"m": first * 2, "v": second * 2}
    return state


def save_mesh(rank, world, path):
    state = mesh_state(init_device_mesh("cpu", (2, 2)), MESH_CASES, 0)
    state[f"rng{rank}"] = {"exp_avg": torch.full((70, 70), float(rank)), "rank": rank}
    dcp.save(state, storage_writer=QCodecStorageWriter(path, threads=1))
    return flat({key: value for key, value in state.items() if not key.startswith("rng")})


def load_mesh(rank, world, path):
    cases = {name: (Shard(number % 2),) for number, name in enumerate(MESH_CASES)}
    state = mesh_state(init_device_mesh("cpu", (2,)), cases, 1)
    state["rng3"] = {"exp_avg": torch.zeros(70, 70), "rank": None}
    dcp.load(state, storage_reader=QCodecStorageReader(path, threads=1))
    assert state["rng3"]["rank"] == 3 and torch.equal(state["rng3"]["exp_avg"], torch.full((70, 70), 3.0))
    return flat({key: value for key, value in state.items() if not key.startswith("rng")})


def test_placements_of_two_axes_and_replicas(tmp_path):
    original = run(4, save_mesh, str(tmp_path))[0]
    loaded = run(2, load_mesh, str(tmp_path))
    whole = {name: torch.zeros(array.shape) for name, array in original.items()}
    dcp.load(whole, storage_reader=QCodecStorageReader(tmp_path))
    for name, array in original.items():
        assert np.array_equal(loaded[0][name], loaded[1][name])
        assert np.array_equal(loaded[0][name], whole[name].numpy())
        assert np.linalg.norm(array - whole[name].numpy()) <= 0.02 * np.linalg.norm(array), name
    # Wherever replicas were dealt, pairs are in one file, and each part is stored once.
    first = [tensor for name in shards_of(tmp_path) for tensor in qcodec.inspect(tmp_path / name).tensors
             if tensor.role == "first_moment" and not tensor.name.startswith("rng")]
    assert {tensor.domain for tensor in first} == {"update"}
    assert len(first) == len({tensor.name for tensor in first}) == 1 + 2 + 4 + 4 + 2 + 1 + 1
    with_pairs = [name for name in shards_of(tmp_path)
                  if any(tensor.role == "first_moment" for tensor in qcodec.inspect(tmp_path / name).tensors)]
    assert len(with_pairs) == 4


def save_two_dimensional(rank, world, path):
    torch.manual_seed(0)
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
    net = parallelize_module(
        Net().bfloat16(), mesh["tensor"], {"first": ColwiseParallel(), "second": RowwiseParallel()})
    fully_shard(net, mesh=mesh["data"])
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    for seed in range(2):
        net(torch.randn(8, 96, generator=torch.Generator().manual_seed(seed)).bfloat16()).square().mean().backward()
        optimizer.step()
    state = state_of(net, optimizer) | {"epoch": 1}
    dcp.save(state, storage_writer=QCodecStorageWriter(path, "lossless", threads=1))
    return flat(cast(state))


def cast(tree):
    """NumPy has no bfloat16."""
    if isinstance(tree, torch.Tensor):
        return tree.float()
    return {key: cast(value) for key, value in tree.items()} if isinstance(tree, dict) else tree


def test_tensor_parallel_and_sharded_at_once(tmp_path):
    original = run(4, save_two_dimensional, str(tmp_path))[0]
    net = Net().bfloat16()
    optimizer = torch.optim.AdamW(net.parameters())
    state = state_of(net, optimizer)
    dcp.load(state, storage_reader=QCodecStorageReader(tmp_path))
    loaded = flat(cast(state))
    assert loaded.keys() == original.keys() and state["model"]["first.weight"].dtype == torch.bfloat16
    for name, array in original.items():
        assert np.array_equal(array, loaded[name]), name


def save_async(rank, world, folder):
    net, optimizer = make(world)
    train(net, optimizer, 0, 2)
    before = flat(state_of(net, optimizer))
    state = state_of(net, optimizer) | {"epoch": 2}
    path = os.path.join(folder, "thread")
    # Training goes on over the default group, so saving has its own.
    future = dcp.async_save(
        state, storage_writer=QCodecStorageWriter(path, "lossless"), process_group=dist.new_group(backend="gloo"))
    # What changes after staging is not saved.
    train(net, optimizer, 2, 2)
    future.result()
    return before


def test_async_save(tmp_path):
    before = run(2, save_async, str(tmp_path))[0]
    loaded, epoch = load_sharded(0, 0, str(tmp_path / "thread"))
    assert epoch == 2
    assert all(np.array_equal(array, loaded[name]) for name, array in before.items())


def save_async_process(rank, world, path):
    state = small_state() | {"epoch": 4}
    future = dcp.async_save(
        state, storage_writer=QCodecStorageWriter(path), async_checkpointer_type=AsyncCheckpointerType.PROCESS)
    future.result()


def test_async_save_by_a_process_of_its_own(tmp_path):
    run(1, save_async_process, str(tmp_path))
    target = zeros_like(small_state())
    dcp.load(target, storage_reader=QCodecStorageReader(tmp_path))
    assert target["epoch"] == 4 and torch.equal(target["model"]["w"], small_state()["model"]["w"])


def save_and_die(rank, world, path, place):
    state = mesh_state(init_device_mesh("cpu", (2,)), {"rows": (Shard(0),)}, 2)

    def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    if place == "shard" and rank == 1:
        # All of the shard is written, but not put in place.
        distributed._writer.Writer.commit = die
    if place == "index" and rank == 0:
        distributed._index.os.replace = die
    dcp.save(state, storage_writer=QCodecStorageWriter(path, threads=1))


def save_rows(rank, world, path):
    state = mesh_state(init_device_mesh("cpu", (2,)), {"rows": (Shard(0),)}, 1)
    dcp.save(state, storage_writer=QCodecStorageWriter(path, "lossless", threads=1))
    return flat(state)


@pytest.mark.parametrize("place", ["shard", "index"])
def test_a_killed_rank_leaves_the_former_checkpoint(tmp_path, place):
    before = run(2, save_rows, str(tmp_path))[0]
    shards = shards_of(tmp_path)
    assert run(2, save_and_die, str(tmp_path), place, survivors=True) == [None, None]
    assert shards_of(tmp_path) == shards
    leftovers = set(os.listdir(tmp_path)) - {INDEX, *shards}
    assert leftovers and all((tmp_path / name).exists() for name in shards)

    def load():
        target = {name: torch.zeros(array.shape) for name, array in before.items()}
        dcp.load(target, storage_reader=QCodecStorageReader(tmp_path))
        return target

    assert all(np.array_equal(array, load()[name].numpy()) for name, array in before.items())
    # A save that fails too has deleted what the killed one left, and nothing else.
    failure(dcp.save, {"x": object()}, storage_writer=QCodecStorageWriter(tmp_path))
    assert set(os.listdir(tmp_path)) == {INDEX, *shards}
    again = run(2, save_rows, str(tmp_path))[0]
    assert set(os.listdir(tmp_path)) == {INDEX, *shards_of(tmp_path)} and shards_of(tmp_path) != shards
    assert all(np.array_equal(array, load()[name].numpy()) for name, array in again.items())


def fail_on_one(rank, world, path):
    state = {"x": torch.ones(3), f"mine{rank}": object() if rank == 1 else 1}
    try:
        dcp.save(state, storage_writer=QCodecStorageWriter(path))
    except CheckpointException as error:
        return {rank: (type(value).__name__, str(value)) for rank, (value, _) in error.failures.items()}


def test_one_ranks_error_is_raised_on_all(tmp_path):
    for failures in run(2, fail_on_one, str(tmp_path)):
        assert list(failures) == [1] and failures[1][0] == "TypeError" and "mine1" in failures[1][1]
    assert not (tmp_path / INDEX).exists()
