"""`qcodec.torch` and `python -m qcodec convert` with the real PyTorch, bitsandbytes and torchao."""

import collections
import io
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

import qcodec
import qcodec.torch as qt


def same(left, right, path=""):
    """Whether two trees are equal in values and types, tensors bit for bit."""
    assert type(left) is type(right), (path, type(left), type(right))
    if isinstance(left, dict):
        assert list(left) == list(right), path
        for key in left:
            same(left[key], right[key], f"{path}/{key}")
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right), path
        for index, (a, b) in enumerate(zip(left, right)):
            same(a, b, f"{path}/{index}")
    elif hasattr(left, "codes") and isinstance(left, torch.Tensor):
        assert left.shape == right.shape and left.dtype == right.dtype, path
        for part in left.tensor_attrs:
            a, b = getattr(left, part), getattr(right, part)
            assert a.dtype == b.dtype and torch.equal(a.view(torch.uint8), b.view(torch.uint8)), (path, part)
    elif isinstance(left, torch.Tensor):
        assert left.dtype == right.dtype and left.shape == right.shape, path
        assert left.detach().contiguous().view(-1).view(torch.uint8).equal(
            right.detach().contiguous().view(-1).view(torch.uint8)) if left.numel() else True, path
    elif isinstance(left, np.ndarray):
        assert left.dtype == right.dtype and left.tobytes() == right.tobytes(), path
    else:
        assert left == right, path


def trained(optimizer_class, **options):
    """A model and an optimizer after some steps."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 96), torch.nn.ReLU(), torch.nn.Linear(96, 64))
    optimizer = optimizer_class(model.parameters(), **options)
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(16, 64)).pow(2).mean().backward()
        optimizer.step()
    return model, optimizer


OPTIMIZERS = [
    (torch.optim.Adam, {"amsgrad": True}), (torch.optim.AdamW, {"weight_decay": 0.1}), (torch.optim.AdamW, {"foreach": True}),
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}), (torch.optim.RMSprop, {"centered": True, "momentum": 0.5}),
    (torch.optim.Adagrad, {}), (torch.optim.Adamax, {}), (torch.optim.NAdam, {}), (torch.optim.RAdam, {}),
    (torch.optim.Adafactor, {}), (torch.optim.Adadelta, {}), (torch.optim.Rprop, {}), (torch.optim.ASGD, {}),
    (torch.optim.Adam, {"lr": torch.tensor(1e-3), "capturable": False}),
]


class TestOptimizers:
    @pytest.mark.parametrize(("kind", "options"), OPTIMIZERS, ids=lambda value: getattr(value, "__name__", str(value)))
    def test_state_dicts_come_back(self, tmp_path, kind, options):
        model, optimizer = trained(kind, **options)
        state = optimizer.state_dict()
        path = tmp_path / "o.qckpt"
        qt.save(state, path, policy="lossless")
        same(state, qt.load(path))
        qt.save(optimizer, path)
        loaded = qt.load(path)
        same(state["param_groups"], loaded["param_groups"])
        # Keys, types, shapes, and what is no moment bit for bit.
        for index, own in state["state"].items():
            assert list(own) == list(loaded["state"][index])
            for key, value in own.items():
                other = loaded["state"][index][key]
                assert type(value) is type(other)
                if isinstance(value, torch.Tensor):
                    assert value.dtype == other.dtype and value.shape == other.shape
                    if value.numel() < 4096:
                        assert torch.equal(value, other), key
                    else:
                        assert (value - other).norm() <= 0.02 * value.norm(), key
        optimizer.load_state_dict(loaded)
        optimizer.step()
        qcodec.verify(path)

    def test_moments_are_named_after_their_parameters(self, tmp_path):
        model, optimizer = trained(torch.optim.AdamW)
        path = tmp_path / "o.qckpt"
        names = {"optimizer/state/0.weight/exp_avg", "optimizer/state/2.bias/exp_avg_sq", "model/0.weight"}
        qt.save({"model": model, "optimizer": optimizer}, path)
        assert names <= set(qcodec.open(path))
        qt.save({"optimizer": optimizer}, path, model=model)
        assert "optimizer/state/0.weight/exp_avg" in qcodec.open(path)
        named = torch.optim.AdamW(model.named_parameters())
        model(torch.randn(2, 64)).sum().backward()
        named.step()
        qt.save(named.state_dict(), path)
        assert "state/0.weight/exp_avg" in qcodec.open(path)
        assert qt.load(path)["state"].keys() == {0, 1, 2, 3}
        qt.save(optimizer.state_dict(), path)
        assert "state/0/exp_avg" in qcodec.open(path)

    def test_groups_number_parameters_in_their_order(self, tmp_path):
        model, _ = trained(torch.optim.AdamW)
        optimizer = torch.optim.AdamW([{"params": [model[2].weight]}, {"params": [model[0].weight], "lr": 0.1}])
        model(torch.randn(2, 64)).sum().backward()
        optimizer.step()
        qt.save({"m": model, "o": optimizer}, tmp_path / "o.qckpt", policy="lossless")
        found = qcodec.open(tmp_path / "o.qckpt")["o/state/2.weight/exp_avg"].numpy()
        assert np.array_equal(found, optimizer.state[model[2].weight]["exp_avg"].numpy())

    def test_a_whole_training_state(self, tmp_path):
        model, optimizer = trained(torch.optim.AdamW)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
        scaler = torch.amp.GradScaler("cpu")
        tree = {
            "model": model, "optimizer": optimizer, "scheduler": scheduler, "scaler": scaler, "epoch": 3, "best": 0.1,
            "torch": torch.get_rng_state(), "python": random.getstate(), "numpy": np.random.get_state(),
            "dtype": torch.bfloat16, "device": torch.device("cpu"), "size": torch.Size([2, 3]), "none": None,
        }
        expected = {key: value.state_dict() if hasattr(value, "state_dict") else value for key, value in tree.items()}
        path = tmp_path / "t.qckpt"
        qt.save(tree, path, policy="lossless")
        loaded = qt.load(path)
        same({k: v for k, v in expected.items() if k != "scheduler"}, {k: v for k, v in loaded.items() if k != "scheduler"})
        qt.save(tree, path)
        loaded = qt.load(path)
        # Parameters are lossless whatever happens to moments.
        same(dict(model.state_dict()), dict(loaded["model"]))
        model.load_state_dict(loaded["model"])
        scheduler.load_state_dict(loaded["scheduler"])
        scaler.load_state_dict(loaded["scaler"])
        torch.set_rng_state(loaded["torch"])
        random.setstate(loaded["python"])
        np.random.set_state(loaded["numpy"])

    def test_resumed_training_follows_the_uninterrupted(self, tmp_path):
        def step(model, optimizer, number):
            generator = torch.Generator().manual_seed(number)
            optimizer.zero_grad()
            loss = model(torch.randn(16, 64, generator=generator)).pow(2).mean()
            loss.backward()
            optimizer.step()
            return loss.item()

        def losses(policy):
            model, optimizer = trained(torch.optim.AdamW)
            for number in range(20):
                step(model, optimizer, number)
            if policy:
                qt.save({"model": model, "optimizer": optimizer}, tmp_path / "t.qckpt", policy=policy)
                state = qt.load(tmp_path / "t.qckpt")
                model, optimizer = trained(torch.optim.AdamW)
                model.load_state_dict(state["model"])
                optimizer.load_state_dict(state["optimizer"])
            return [step(model, optimizer, number) for number in range(20, 40)]

        exact = losses(None)
        assert losses("lossless") == exact
        # An update is off by under a hundredth (adam8) or a seventh (adam4) of itself, the first ones most.
        assert max(abs(a - b) for a, b in zip(losses("adam8"), exact)) < 1e-4 * exact[0]
        assert max(abs(a - b) for a, b in zip(losses("adam4"), exact)) < 2e-3 * exact[0]


class TestTensors:
    def test_every_type_and_layout(self, tmp_path):
        base = torch.arange(-12, 12)
        tensors = {str(dtype): base.to(torch.float32).to(dtype).reshape(4, 6) for dtype in qt.DTYPES.values()
                   if dtype not in (torch.uint16, torch.uint32, torch.uint64, torch.float8_e8m0fnu)}
        tensors |= {"u16": torch.arange(9).to(torch.uint16), "e8m0": torch.arange(9).to(torch.uint8).view(torch.float8_e8m0fnu)}
        tensors |= {
            "transposed": torch.randn(3, 5).T, "strided": torch.randn(20)[::3], "conj": torch.randn(3, dtype=torch.complex64).conj(),
            "scalar": torch.tensor(1.5), "empty": torch.empty(0, 3), "channels": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
            "parameter": torch.nn.Parameter(torch.randn(3)), "frozen": torch.nn.Parameter(torch.randn(3), requires_grad=False),
        }
        qt.save(tensors, tmp_path / "t.qckpt", policy="lossless")
        loaded = qt.load(tmp_path / "t.qckpt")
        same(tensors | {"conj": tensors["conj"].resolve_conj()}, loaded)
        assert loaded["parameter"].requires_grad and not loaded["frozen"].requires_grad
        assert not loaded["scalar"].requires_grad

    def test_shared_tensors_stay_shared(self, tmp_path):
        model = torch.nn.Linear(300, 300)
        qt.save({"a": model.weight.detach(), "b": model.weight.detach(), "c": torch.zeros(300, 300)}, tmp_path / "t.qckpt")
        loaded = qt.load(tmp_path / "t.qckpt")
        assert loaded["a"] is loaded["b"] and loaded["a"].data_ptr() != loaded["c"].data_ptr()

    def test_bfloat16_moments(self, tmp_path):
        m = torch.randn(64, 128, dtype=torch.bfloat16)
        qt.save({"exp_avg": m, "exp_avg_sq": m * m}, tmp_path / "t.qckpt")
        loaded = qt.load(tmp_path / "t.qckpt")
        assert loaded["exp_avg"].dtype is torch.bfloat16 and qcodec.open(tmp_path / "t.qckpt")["exp_avg"].is_quantized
        assert (loaded["exp_avg"] - m).float().norm() < 0.02 * m.float().norm()

    def test_map_location(self, tmp_path):
        path = tmp_path / "t.qckpt"
        qt.save({"a": torch.ones(2)}, path)
        assert qt.load(path, map_location="cpu")["a"].device.type == "cpu"
        assert qt.load(path, "meta")["a"].device.type == "meta"
        assert qt.load(path, torch.device("meta"))["a"].device.type == "meta"
        assert qt.load(path, {"cpu": "meta"})["a"].device.type == "meta"
        seen = []
        assert qt.load(path, lambda tensor, device: seen.append(device))["a"].tolist() == [1, 1] and seen == ["cpu"]
        assert qt.load(path, lambda tensor, device: tensor + 1)["a"].tolist() == [2, 2]

    def test_distributed_tensors_are_stored_whole(self, tmp_path):
        import torch.distributed as dist
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.tensor import Shard, distribute_tensor

        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        try:
            whole = torch.randn(64, 100)
            sharded = distribute_tensor(whole, init_device_mesh("cpu", (1,)), [Shard(0)])
            qt.save({"exp_avg": sharded, "exp_avg_sq": sharded * sharded}, tmp_path / "t.qckpt", policy="lossless")
        finally:
            dist.destroy_process_group()
        assert torch.equal(qt.load(tmp_path / "t.qckpt")["exp_avg"], whole)

    @pytest.mark.parametrize("value", [torch.ones(2).to_sparse(), torch.empty(2, device="meta"), object()])
    def test_what_cannot_be_stored_is_named(self, tmp_path, value):
        with pytest.raises(TypeError, match="^a/0: "):
            qt.save({"a": [value]}, tmp_path / "t.qckpt")

    def test_like_and_remap(self, tmp_path):
        model, optimizer = trained(torch.optim.AdamW)
        path = tmp_path / "t.qckpt"
        qt.save({"model": model, "optimizer": optimizer}, path)
        other = torch.nn.Sequential(torch.nn.Linear(64, 96), torch.nn.ReLU(), torch.nn.Linear(96, 65))
        with pytest.raises(qcodec.MismatchError) as caught:
            qt.load(path, like={"model": other, "optimizer": optimizer})
        assert [d.split(":")[0] for d in caught.value.differences] == ["model/2.weight", "model/2.bias"]
        renamed = {f"net.{k}": v for k, v in model.state_dict().items()}
        qt.load(path, like={"model": renamed, "optimizer": optimizer}, remap=lambda p: p.replace("model/", "model/net."))

    def test_a_tree_of_torch_is_read_without_torch_as_numpy(self, tmp_path):
        state = bitsandbytes_state()
        qt.save({"a": torch.arange(4), "t": torch.float16, "b": state, "s": torch.Size([2])}, tmp_path / "t.qckpt")
        program = (
            "import qcodec, sys, numpy as np\n"
            "tree = qcodec.load('t.qckpt')\n"
            "assert tree['a'].tolist() == [0, 1, 2, 3] and tree['t'] == 'float16' and tree['s'] == (2,)\n"
            "own = tree['b']['state'][0]['__bnb_optimizer_quant_state__']\n"
            "assert own['state1'].shape == (300, 40) and own['absmax1'].dtype == np.float32 and own['qmap1'].size == 256\n"
            "assert 'torch' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)


# States of other systems


def bitsandbytes_state(elements=300 * 40, block=256, wrapped=True):
    """A state_dict as bitsandbytes writes it, from its own functions."""
    functional = pytest.importorskip("bitsandbytes").functional if not os.environ.get("CI") else __import__(
        "bitsandbytes").functional
    state = {}
    for index, n in enumerate([elements, 100]):
        m = torch.randn(n) * 1e-3
        v = torch.rand(n) * 1e-6
        if n < 4096:
            state[index] = {"step": 7, "state1": m, "state2": v}
            continue
        own = {}
        for number, (values, signed) in enumerate([(m, True), (v, False)], 1):
            table = functional.create_dynamic_map(signed)
            codes, description = functional.quantize_blockwise(values, code=table, blocksize=block)
            own |= {f"state{number}": codes.reshape(-1, 40), f"qmap{number}": table, f"absmax{number}": description.absmax}
        state[index] = {"step": 7, "__bnb_optimizer_quant_state__": own} if wrapped else {"step": 7} | own
    return {"state": state, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0, 1]}]}


class TestImports:
    @pytest.mark.parametrize("block", [256, 2048])
    @pytest.mark.parametrize("wrapped", [True, False])
    def test_bitsandbytes_keeps_its_codes(self, tmp_path, wrapped, block):
        state = bitsandbytes_state(block=block, wrapped=wrapped)
        path = tmp_path / "b.qckpt"
        qt.save(state, path)
        same(state, qt.load(path))
        (first, second) = [t for t in qcodec.inspect(path).tensors if t.encoding == "quantized"]
        assert (first.map, first.bits, first.block, first.role) == ("dynamic", 8, block, "first_moment")
        assert (second.signed, second.role, second.rounding) == (False, "second_moment", "unknown")
        assert qcodec.verify(path).ok

    def test_bitsandbytes_decodes_to_what_torch_optim_keeps(self, tmp_path):
        functional = __import__("bitsandbytes").functional
        state = bitsandbytes_state()
        own = state["state"][0]["__bnb_optimizer_quant_state__"]
        path = tmp_path / "b.qckpt"
        for save, load in [({}, {"dequantize": True}), ({"dequantize": True, "policy": "lossless"}, {})]:
            qt.save(state, path, **save)
            loaded = qt.load(path, **load)["state"]
            assert list(loaded[0]) == list(loaded[1]) == ["step", "exp_avg", "exp_avg_sq"]
            for key, number in (("exp_avg", 1), ("exp_avg_sq", 2)):
                expected = functional.dequantize_blockwise(
                    own[f"state{number}"].reshape(-1), absmax=own[f"absmax{number}"], code=own[f"qmap{number}"], blocksize=256)
                assert torch.equal(loaded[0][key].reshape(-1), expected + 0)

    def test_scales_that_no_stream_holds_are_kept_all_the_same(self, tmp_path):
        state = bitsandbytes_state()
        state["state"][0]["__bnb_optimizer_quant_state__"]["absmax1"][3] = float("nan")
        qt.save(state, tmp_path / "b.qckpt")
        same(state, qt.load(tmp_path / "b.qckpt"))

    @pytest.mark.parametrize("kind", ["AdamW8bit", "AdamW4bit", "AdamWFp8"])
    def test_torchao_comes_back_as_its_own_objects(self, tmp_path, kind):
        optim = __import__("torchao.optim", fromlist=["optim"])
        from torchao.optim import subclass_4bit, subclass_8bit, subclass_fp8

        torch.manual_seed(0)
        m, v = torch.randn(64, 128) * 1e-3, torch.rand(64, 128) * 1e-6
        if kind == "AdamW8bit":
            make = lambda x, signed: subclass_8bit.OptimState8bit.zeros(x.shape, signed).copy_(x)
        elif kind == "AdamW4bit":
            make = lambda x, signed: subclass_4bit.OptimState4bit.zeros(x.shape, signed).copy_(x)
        else:
            make = lambda x, signed: subclass_fp8.OptimStateFp8.zeros(x.shape).copy_(x)
        state = {
            "state": {0: {"step": torch.tensor(3.0), "exp_avg": make(m, True), "exp_avg_sq": make(v, False)}},
            "param_groups": [{"lr": torch.tensor(1e-3), "params": [0]}],
        }
        path = tmp_path / "a.qckpt"
        qt.save(state, path)
        same(state, qt.load(path))
        decoded = qt.load(path, dequantize=True)["state"][0]
        for key in ("exp_avg", "exp_avg_sq"):
            assert type(decoded[key]) is torch.Tensor
            assert torch.equal(decoded[key], state["state"][0][key].dequantize() + 0)
        qt.save(state, path, policy="lossless", dequantize=True)
        same(decoded, qt.load(path)["state"][0])
        assert getattr(optim, kind)

    @pytest.mark.parametrize("name", [
        "bnb-adam8bit", "bnb-adamw8bit-min1", "bnb-lion8bit", "torchao-adamw8bit", "torchao-adamw4bit", "torchao-adamwfp8"])
    def test_states_that_real_optimizers_wrote(self, tmp_path, root, name):
        __import__("torchao.optim")
        state = torch.load(root / "Fixtures" / "peers" / f"{name}.optimizer.pt", weights_only=True)
        path = tmp_path / "s.qckpt"
        qt.save(state, path)
        same(state, qt.load(path))
        stored = [t for t in qcodec.inspect(path).tensors if t.encoding == "quantized"]
        assert stored and all(t.rounding == "unknown" for t in stored) and qcodec.verify(path).ok
        decoded = qt.load(path, dequantize=True)["state"]
        assert all(key in ("step", "exp_avg", "exp_avg_sq") for own in decoded.values() for key in own)
        assert all(own["exp_avg"].dtype is torch.float32 for own in decoded.values())

    def test_bitsandbytes_goes_on_with_what_was_loaded(self, tmp_path):
        optim = __import__("bitsandbytes").optim

        def run(steps, interrupted):
            torch.manual_seed(0)
            model = torch.nn.Linear(128, 128)
            optimizer = optim.Adam8bit(model.parameters(), lr=1e-2)
            for number in range(steps):
                if number == interrupted:
                    qt.save({"model": model, "optimizer": optimizer}, tmp_path / "b.qckpt")
                    state = qt.load(tmp_path / "b.qckpt")
                    model = torch.nn.Linear(128, 128)
                    model.load_state_dict(state["model"])
                    optimizer = optim.Adam8bit(model.parameters(), lr=1e-2)
                    optimizer.load_state_dict(state["optimizer"])
                torch.manual_seed(number)
                optimizer.zero_grad()
                model(torch.randn(8, 128)).pow(2).mean().backward()
                optimizer.step()
            return model.weight.detach()

        # Nothing is rounded anew: bit for bit.
        assert torch.equal(run(10, None), run(10, 5))

    def test_lpmm_packs_its_codes_otherwise(self, tmp_path):
        torch.manual_seed(0)
        signed = qcodec.open(_stream(tmp_path, "dynamic", True))["x"].table()
        groups, shape = 40, (64, 64)
        state = {
            "step": 3,
            "exp_avg": torch.randint(-128, 127, (3 * 1024 + 1,), dtype=torch.int8),
            "exp_avg_qstate": {
                "enable": True, "qmap": torch.from_numpy(signed),
                "overhead": {"dtype": torch.float32, "stride": (1,), "max1": torch.rand(groups, 1),
                             "scaled_shape": torch.Size((groups, 128))},
            },
            "exp_avg_sq": torch.randint(-128, 127, (2 * 1024 + 1,), dtype=torch.int8),
            "exp_avg_sq_qstate": {
                "enable": True, "qmap": (torch.arange(16) + 1) / 16,
                "overhead": {"dtype": torch.float32, "stride": (64, 1), "dim": 2, "max1": None,
                             "max_dims": [torch.rand(64, 1), torch.rand(1, 64)], "scaled_shape": torch.Size(shape)},
            },
        }
        tree = {"state": {0: state}, "param_groups": [{"params": [0]}]}
        path = tmp_path / "l.qckpt"
        qt.save(tree, path)
        same(tree, qt.load(path))
        first, second = (t for t in qcodec.inspect(path).tensors if t.encoding == "quantized")
        assert (first.map, first.bits, first.block) == ("dynamic", 4, 128)
        assert (second.map, second.scaling, second.shape) == ("linear-nozero", "rank1", shape)
        decoded = qt.load(path, dequantize=True)["state"][0]
        assert list(decoded) == ["step", "exp_avg", "exp_avg_sq"]
        overhead = state["exp_avg_sq_qstate"]["overhead"]
        packed = state["exp_avg_sq"].view(torch.uint8)[:2048]
        codes = torch.stack([packed & 15, packed >> 4], 1).reshape(shape).long()
        expected = state["exp_avg_sq_qstate"]["qmap"][codes] * torch.minimum(*overhead["max_dims"])
        assert torch.equal(decoded["exp_avg_sq"], expected)

    def test_an_lpmm_shape_without_rank1_scales_is_kept_as_it_is(self, tmp_path):
        state = {
            "exp_avg_sq": torch.randint(-128, 127, (1025,), dtype=torch.int8),
            "exp_avg_sq_qstate": {
                "enable": True, "qmap": (torch.arange(16) + 1) / 16,
                "overhead": {"max1": None, "max_dims": [torch.rand(1000, 1), torch.rand(1, 2)],
                             "scaled_shape": torch.Size((1000, 2))},
            },
        }
        qt.save(state, tmp_path / "l.qckpt")
        same(state, qt.load(tmp_path / "l.qckpt"))


def _stream(folder, map_, signed):
    path = folder / "stream.qckpt"
    with qcodec.Writer(path) as writer:
        writer.add_encoded("x", np.ones(4, np.float32), qcodec.Scheme(map_, 4, signed))
    return path


# The converter


def convert(folder, *arguments, status=0):
    """Runs `python -m qcodec convert`; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "qcodec", "convert", *map(str, arguments)], capture_output=True, text=True, cwd=folder)
    assert done.returncode == status, (done.returncode, done.stderr)
    return done.stdout if status == 0 else done.stderr


class Unknown:
    """A class that no file may name."""


class TestConvert:
    def test_there_and_back(self, tmp_path):
        _, optimizer = trained(torch.optim.AdamW)
        state = optimizer.state_dict()
        torch.save(state, tmp_path / "optimizer.pt")
        printed = convert(tmp_path, "optimizer.pt", "optimizer.qckpt", "--policy", "lossless")
        assert "becomes" in printed and "optimizer.qckpt: written" in printed
        convert(tmp_path, "optimizer.qckpt", "back.pt")
        same(state, torch.load(tmp_path / "back.pt", weights_only=True))
        assert (tmp_path / "back.pt").stat().st_mode & 0o777 == 0o666 & ~_umask()

    def test_the_saving_is_told_and_nothing_written_on_a_dry_run(self, tmp_path):
        _, optimizer = trained(torch.optim.AdamW)
        torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
        printed = convert(tmp_path, "optimizer.pt", "--dry-run", "--policy", "adam4")
        assert "times smaller" in printed and os.listdir(tmp_path) == ["optimizer.pt"]
        convert(tmp_path, "optimizer.pt", "o.qckpt", "--policy", "adam4")
        convert(tmp_path, "o.qckpt", "--dry-run")

    def test_legacy_files_and_those_of_other_trainers(self, tmp_path):
        model, optimizer = trained(torch.optim.AdamW)
        lightning = {
            "epoch": 1, "global_step": 4, "pytorch-lightning_version": "2.6", "state_dict": model.state_dict(),
            "optimizer_states": [optimizer.state_dict()], "lr_schedulers": [{"last_epoch": 3}], "loops": {"fit": {"a": None}},
        }
        partition = torch.randn(40_000)
        deepspeed = {
            "optimizer_state_dict": {
                "base_optimizer_state": {"state": {0: {"exp_avg": partition, "exp_avg_sq": partition**2}}, "param_groups": []},
                "single_partition_of_fp32_groups": [partition], "zero_stage": 2, "ds_version": "0.17",
            },
        }
        for name, tree, options in [
            ("legacy.pt", optimizer.state_dict(), {"_use_new_zipfile_serialization": False}), ("last.ckpt", lightning, {}),
            ("zero_optim_states.pt", deepspeed, {}),
        ]:
            torch.save(tree, tmp_path / name, **options)
            convert(tmp_path, name, "o.qckpt")
            assert qcodec.verify(tmp_path / "o.qckpt").ok
            loaded = qt.load(tmp_path / "o.qckpt")
            assert list(loaded) == list(tree)

    def test_a_file_that_needs_code_is_refused_with_what_it_asked_for(self, tmp_path):
        torch.save({"a": Unknown()}, tmp_path / "bad.pt")
        message = convert(tmp_path, "bad.pt", "o.qckpt", status=3)
        assert message.startswith("qcodec: bad.pt: it needs ") and "Unknown" in message and message.count("\n") == 1
        assert not (tmp_path / "o.qckpt").exists()

    def test_errors_have_the_commands_statuses(self, tmp_path):
        torch.save({"exp_avg": torch.full((5000,), float("nan"))}, tmp_path / "nan.pt")
        (tmp_path / "text.pt").write_text("hello")
        assert "it is no file of torch.save" in convert(tmp_path, "text.pt", "o.qckpt", status=3)
        assert "No such file" in convert(tmp_path, "nothing.pt", "o.qckpt", status=4)
        assert "policies are" in convert(tmp_path, "nan.pt", "o.qckpt", "--policy", "nope", status=2)
        assert "element 0" in convert(tmp_path, "nan.pt", "o.qckpt", status=3)
        assert "choose another output" in convert(tmp_path, "nan.pt", "nan.pt", status=2)
        convert(tmp_path, "nan.pt", status=2)
        convert(tmp_path, "nan.pt", "o.qckpt", "--nonfinite", "lossless")

    def test_the_command_names_the_converter(self, tmp_path, request):
        run = request.getfixturevalue("qcodec")
        torch.save({"a": torch.ones(3)}, tmp_path / "a.pt")
        torch.save({"a": torch.ones(3)}, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
        for name in ("a.pt", "b.pt"):
            for arguments in (["inspect", tmp_path / name], ["encode", tmp_path / name, "-o", tmp_path / "o"]):
                assert b"python -m qcodec convert" in run(*arguments, status=3).stderr

    def test_load_refuses_a_pickle_by_name(self, tmp_path):
        torch.save({"a": torch.ones(3)}, tmp_path / "a.pt")
        for load in (qcodec.load, qt.load, qcodec.open):
            with pytest.raises(qcodec.FormatError, match="torch.save"):
                load(tmp_path / "a.pt")


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_file_objects_serve_as_with_torch_save():
    file = io.BytesIO()
    qt.save({"a": torch.ones(3), "o": collections.OrderedDict(b=1)}, file)
    assert isinstance(qt.load(file)["o"], collections.OrderedDict)
