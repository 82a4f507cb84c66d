"""Optimizers whose moments are streams: as PyTorch's own, coded, resumed, and used as torch users use them."""

import copy
import io

import numpy as np
import pytest
import torch

import qcodec
import qcodec.torch
from qcodec.torch import optim
from qcodec.torch.nn import StableEmbedding

PEERS = [
    (torch.optim.AdamW, optim.AdamW8bit, {}),
    (torch.optim.AdamW, optim.AdamW8bit, {"amsgrad": True, "betas": (0.8, 0.9), "eps": 1e-4, "weight_decay": 0.3}),
    (torch.optim.AdamW, optim.AdamW8bit, {"maximize": True}),
    (torch.optim.Adam, optim.Adam8bit, {"weight_decay": 0.1}),
    (torch.optim.SGD, optim.SGD8bit, {"lr": 0.1}),
    (torch.optim.SGD, optim.SGD8bit, {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.01}),
    (torch.optim.SGD, optim.SGD8bit, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (torch.optim.Adagrad, optim.Adagrad8bit, {"lr_decay": 0.1, "weight_decay": 0.01}),
    (torch.optim.RMSprop, optim.RMSprop8bit, {"lr": 1e-3, "weight_decay": 0.01}),
    (torch.optim.RMSprop, optim.RMSprop8bit, {"lr": 1e-3, "momentum": 0.5}),
]
ALL = [
    (optim.AdamW8bit, {}), (optim.AdamW8bit, {"amsgrad": True}), (optim.AdamW4bit, {}), (optim.Adam8bit, {}), (optim.Adam4bit, {}),
    (optim.SGD8bit, {"momentum": 0.9}), (optim.SGD4bit, {"momentum": 0.9, "nesterov": True}), (optim.Lion8bit, {}),
    (optim.Lion4bit, {}), (optim.Adagrad8bit, {}), (optim.RMSprop8bit, {"lr": 1e-3, "momentum": 0.5}), (optim.LAMB8bit, {}),
    (optim.LARS8bit, {}), (optim.AdamW8bit, {"factored": True}), (optim.AdamW4bit, {"factored": True}),
]


def network(seed=1, dtype=torch.float32):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)).to(dtype)


def data(step):
    generator = torch.Generator().manual_seed(step)
    return torch.randn(32, 64, generator=generator), torch.randint(0, 10, (32,), generator=generator)


def train(net, optimizer, steps, first=0):
    for step in range(first, first + steps):
        x, y = data(step)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x.to(next(net.parameters()).dtype)).float(), y)
        loss.backward()
        optimizer.step()
    return loss.item()


def parameters(net):
    return torch.cat([p.detach().flatten().float() for p in net.parameters()])


class TestAgainstTorch:
    @pytest.mark.parametrize(("theirs", "ours", "options"), PEERS)
    def test_float32_state_gives_the_same_parameters(self, theirs, ours, options):
        exact, own = network(), network()
        train(exact, theirs(exact.parameters(), **options), 30)
        train(own, ours(own.parameters(), bits=32, **options), 30)
        assert (parameters(own) - parameters(exact)).norm() < 1e-3 * parameters(exact).norm()

    @pytest.mark.parametrize(("theirs", "ours", "options"), PEERS)
    def test_eight_bits_learn_alike(self, theirs, ours, options):
        exact, own = network(), network()
        expected = train(exact, theirs(exact.parameters(), **options), 40)
        assert train(own, ours(own.parameters(), **options), 40) == pytest.approx(expected, rel=0.02, abs=0.02)

    def test_state_is_small(self):
        net = torch.nn.Linear(512, 512, bias=False)
        for kind, most in ((optim.AdamW8bit, 2.05), (optim.AdamW4bit, 1.1), (optim.Lion8bit, 1.02)):
            optimizer = kind(net.parameters())
            net(torch.ones(1, 512)).sum().backward()
            optimizer.step()
            state = optimizer.state[net.weight]
            size = sum(v.numel() * v.element_size() for v in state.values() if isinstance(v, torch.Tensor))
            assert size / net.weight.numel() < most


class TestResume:
    @pytest.mark.parametrize(("kind", "options"), ALL)
    @pytest.mark.parametrize("way", ["torch", "qcodec", "memory"])
    def test_200_steps_are_100_and_100_to_the_bit(self, kind, options, way, tmp_path):
        straight = network()
        train(straight, kind(straight.parameters(), threads=1, **options), 200)
        first = network()
        optimizer = kind(first.parameters(), threads=2, **options)
        train(first, optimizer, 100)
        state = {"model": first.state_dict(), "optimizer": optimizer.state_dict()}
        if way == "torch":
            torch.save(state, tmp_path / "s.pt")
            state = torch.load(tmp_path / "s.pt", weights_only=True)
        elif way == "qcodec":
            qcodec.torch.save(state, tmp_path / "s.qckpt")
            state = qcodec.torch.load(tmp_path / "s.qckpt")
        second = network(seed=2)
        second.load_state_dict(state["model"])
        resumed = kind(second.parameters(), lr=123.0)
        resumed.load_state_dict(state["optimizer"])
        assert resumed.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
        train(second, resumed, 100, first=100)
        assert torch.equal(parameters(second), parameters(straight))

    def test_bfloat16_parameters_keep_streams(self):
        net = network(dtype=torch.bfloat16)
        optimizer = optim.AdamW8bit(net.parameters())
        train(net, optimizer, 3)
        again = optim.AdamW8bit(net.parameters())
        again.load_state_dict(optimizer.state_dict())
        for parameter in net.parameters():
            for key, value in optimizer.state[parameter].items():
                other = again.state[parameter][key]
                if isinstance(value, torch.Tensor):
                    assert other.dtype == value.dtype and torch.equal(other, value)
                    assert key == "step" or other.data_ptr() != value.data_ptr()
                else:
                    assert other == value

    def test_loading_leaves_the_dict_as_it_was(self):
        net = network()
        optimizer = optim.AdamW8bit(net.parameters())
        train(net, optimizer, 2)
        state = optimizer.state_dict()
        before = copy.deepcopy(state)
        optim.AdamW8bit(net.parameters()).load_state_dict(state)
        assert str(state) == str(before)

    def test_copies_and_pickles(self):
        net = network()
        optimizer = optim.AdamW4bit(net.parameters())
        train(net, optimizer, 2)
        buffer = io.BytesIO()
        torch.save(optimizer, buffer)
        buffer.seek(0)
        again = torch.load(buffer, weights_only=False)
        assert str(again.state_dict()) == str(optimizer.state_dict())
        again.load_state_dict(optimizer.state_dict())
        assert str(again.state_dict()) == str(optimizer.state_dict())
        copy.deepcopy(optimizer).load_state_dict(optimizer.state_dict())


class TestFiles:
    @pytest.mark.parametrize(("kind", "options"), ALL)
    def test_streams_are_tensors_of_their_schemes(self, kind, options, tmp_path):
        net = network()
        optimizer = kind(net.named_parameters(), **options)
        train(net, optimizer, 3)
        qcodec.torch.save({"optimizer": optimizer}, tmp_path / "s.qckpt")
        qcodec.verify(tmp_path / "s.qckpt")
        state = optimizer.state[net[0].weight]
        moments = optimizer.decoded_state(net[0].weight)
        with qcodec.Checkpoint(tmp_path / "s.qckpt") as checkpoint:
            for key, document in state["schemes"].items():
                view = checkpoint[f"optimizer/state/0.weight/{key}"]
                assert view.scheme.map in document and view.shape == (128, 64)
                assert np.array_equal(view.stream(), state[key].numpy())
                assert np.array_equal(view.numpy(), moments[key].numpy())
        loaded = qcodec.torch.load(tmp_path / "s.qckpt")["optimizer"]
        assert str(loaded) == str(optimizer.state_dict())
        again = kind(network().named_parameters())
        again.load_state_dict(loaded)
        assert str(again.state_dict()) == str(optimizer.state_dict())

    def test_stochastic_streams_are_stored_as_they_are(self, tmp_path):
        net = network()
        schemes = (qcodec.Scheme("dynamic", bits=4, signed=True, rounding="stochastic", seed=3),
                   qcodec.Scheme("log", bits=4, signed=False, rounding="stochastic", seed=4))
        optimizer = optim.AdamW4bit(net.parameters(), schemes=schemes)
        train(net, optimizer, 5)
        qcodec.torch.save(optimizer, tmp_path / "s.qckpt")
        assert str(qcodec.torch.load(tmp_path / "s.qckpt")) == str(optimizer.state_dict())

    @pytest.mark.parametrize("early", [True, False])
    def test_dequantized_for_torch(self, early, tmp_path):
        net, other = network(), network()
        optimizer = optim.AdamW8bit(net.parameters())
        train(net, optimizer, 3)
        qcodec.torch.save(optimizer, tmp_path / "s.qckpt", dequantize=early, policy="lossless")
        state = qcodec.torch.load(tmp_path / "s.qckpt", dequantize=not early)
        own = torch.optim.AdamW(other.parameters())
        own.load_state_dict({"state": state["state"], "param_groups": own.state_dict()["param_groups"]})
        for mine, theirs in zip(net.parameters(), other.parameters()):
            for key, value in optimizer.decoded_state(mine).items():
                assert torch.equal(own.state[theirs][key], value)
        train(other, own, 1)


class TestAsTorchHasIt:
    def test_groups_schedulers_closures_and_hooks(self):
        net = network()
        seen = []
        optimizer = optim.AdamW8bit([{"params": net[0].parameters(), "lr": 1e-2}, {"params": net[2].parameters(), "bits": 32}])
        optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
        optimizer.register_step_post_hook(lambda *_: seen.append("after"))
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        x, y = data(0)

        def closure():
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(x), y)
            loss.backward()
            return loss

        losses = [optimizer.step(closure).item() for _ in range(5)]
        scheduler.step()
        assert losses[-1] < losses[0] and seen == ["before", "after"] * 5
        assert [group["lr"] for group in optimizer.param_groups] == [5e-3, 5e-4]
        assert optimizer.state[net[0].weight]["exp_avg"].dtype == torch.uint8
        assert optimizer.state[net[2].weight]["exp_avg"].dtype == torch.float32

    def test_grad_scaler(self):
        net = network()
        optimizer = optim.AdamW8bit(net.parameters())
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
        before = parameters(net)
        for value in (float("inf"), 1.0):
            x, y = data(0)
            optimizer.zero_grad()
            scaler.scale(torch.nn.functional.cross_entropy(net(x), y)).backward()
            net[0].weight.grad[0, 0] *= value
            scaler.step(optimizer)
            scaler.update()
            assert torch.equal(parameters(net), before) == (value != 1.0)

    def test_parameters_without_gradients_and_added_groups(self):
        net = network()
        optimizer = optim.AdamW8bit(net[0].parameters())
        net[0].bias.requires_grad_(False)
        optimizer.add_param_group({"params": net[2].parameters(), "lr": 0.0})
        before = net[2].weight.detach().clone()
        train(net, optimizer, 3)
        assert torch.equal(net[2].weight * 1.0, before) and net[0].bias not in optimizer.state

    def test_strided_parameters_and_gradients(self):
        one = torch.nn.Parameter(torch.randn(128, 64).t())
        other = torch.nn.Parameter(one.detach().contiguous())
        gradient = torch.randn(128, 64).t()
        for p in (one, other):
            p.grad = gradient if p is one else gradient.contiguous()
            optim.AdamW8bit([p]).step()
        assert torch.equal(one, other) and not one.is_contiguous()

    def test_scalars_and_empty_parameters(self):
        scalar, empty = torch.nn.Parameter(torch.tensor(1.0)), torch.nn.Parameter(torch.zeros(0, 5))
        scalar.grad, empty.grad = torch.tensor(0.5), torch.zeros(0, 5)
        optimizer = optim.AdamW8bit([scalar, empty], lr=0.1, weight_decay=0.0)
        optimizer.step()
        assert scalar.item() == pytest.approx(0.9, rel=1e-5)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision(self, dtype):
        net = network(dtype=dtype)
        first = train(net, optim.AdamW8bit(net.parameters()), 1)
        assert train(net, optim.AdamW8bit(net.parameters()), 60) < first


class TestStability:
    def test_small_tensors_and_embeddings_keep_32_bits(self):
        class Model(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.wte = torch.nn.Embedding(100, 64)
                self.marked = torch.nn.Embedding(100, 64)
                self.stable = StableEmbedding(100, 64)
                self.head = torch.nn.Linear(64, 100)

            def forward(self, x):
                return self.head(self.wte(x) + self.marked(x) + self.stable(x))

        model = Model()
        optim.keep_32bit(model.marked)
        optimizer = optim.AdamW8bit(model.named_parameters())
        model(torch.arange(100)).square().sum().backward()
        optimizer.step()
        coded = {name for name, p in model.named_parameters() if optimizer.state[p]["exp_avg"].dtype == torch.uint8}
        assert coded == {"head.weight"}

    def test_factored_second_moments(self):
        layer = torch.nn.Conv2d(64, 32, 3)
        optimizer = optim.AdamW4bit(layer.parameters(), factored=True)
        r, c = torch.zeros(32), torch.zeros(576)
        for step in range(3):
            torch.manual_seed(step)
            layer.weight.grad, layer.bias.grad = torch.randn_like(layer.weight), torch.randn_like(layer.bias)
            squares = layer.weight.grad.view(32, 576).square()
            r, c = 0.999 * r + 0.001 * squares.mean(1), 0.999 * c + 0.001 * squares.mean(0)
            optimizer.step()
        state = optimizer.state[layer.weight]
        assert torch.allclose(state["exp_avg_sq_factors"], torch.cat([r, c]), rtol=1e-5)
        assert torch.allclose(
            optimizer.decoded_state(layer.weight)["exp_avg_sq"].view(32, 576), torch.outer(r, c / r.mean()), rtol=1e-5)
        assert state["exp_avg"].numel() == 32 * 576 // 2 + 4 * 32 * 576 // 128
        # A vector has nothing to factor, and small state stays what it is.
        assert optimizer.state[layer.bias]["exp_avg_sq"].shape == (32,)
        for options in ({"amsgrad": True},):
            with pytest.raises(ValueError, match="factored"):
                optim.AdamW8bit(layer.parameters(), factored=True, **options)
        with pytest.raises(ValueError, match="factored"):
            optim.LAMB8bit(layer.parameters(), factored=True)

    def test_stable_embedding(self):
        torch.manual_seed(0)
        layer = StableEmbedding(1000, 64, padding_idx=3)
        limit = (6 / 1064) ** 0.5
        weight = layer.weight.detach()
        assert weight.abs().max() <= limit and weight.std() == pytest.approx(limit / 3**0.5, rel=0.05)
        assert not weight[3].any()
        rows = layer(torch.tensor([[5, 6]]))
        assert rows.shape == (1, 2, 64)
        assert torch.allclose(rows.mean(-1), torch.zeros(1, 2), atol=1e-5)
        assert torch.allclose(rows.var(-1, unbiased=False), torch.ones(1, 2), atol=1e-2)

    def test_greatest_norm(self):
        net, clipped = network(), network()
        optimizer = optim.AdamW8bit(clipped.parameters(), bits=32, max_grad_norm=0.1)
        own = torch.optim.AdamW(net.parameters())
        for step in range(5):
            for model, each in ((net, own), (clipped, optimizer)):
                x, y = data(step)
                each.zero_grad()
                torch.nn.functional.cross_entropy(model(x), y).backward()
                if each is own:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
                each.step()
        assert torch.allclose(parameters(net), parameters(clipped), rtol=1e-4, atol=1e-6)

    def test_percentile_clipping(self):
        p = torch.nn.Parameter(torch.zeros(10))
        optimizer = optim.SGD8bit([p], lr=1.0, percentile_clipping=50)
        moved = []
        for length in [1.0] * 20 + [100.0]:
            before = p.detach().clone()
            p.grad = torch.full((10,), length)
            optimizer.step()
            moved.append((before - p.detach())[0].item())
        # The last is shortened to the median of those before it.
        assert moved[:-1] == [1.0] * 20 and moved[-1] == pytest.approx(1.0, rel=1e-6)

    def test_any_schemes(self):
        net = network()
        schemes = (qcodec.Scheme("linear", bits=8, signed=True, scaling="row"),
                   qcodec.Scheme("linear-nozero", bits=4, signed=False, scaling="rank1"))
        optimizer = optim.AdamW8bit(net.parameters(), schemes=schemes)
        assert train(net, optimizer, 20) < 2.5
        decoded = optimizer.decoded_state(net[0].weight)
        assert decoded["exp_avg"].shape == net[0].weight.shape and (decoded["exp_avg_sq"] >= 0).all()

    @pytest.mark.parametrize(("kind", "options"), ALL)
    def test_decoded_state_is_near_that_of_float32(self, kind, options):
        coded, exact = network(), network()
        coded_optimizer = kind(coded.parameters(), **options)
        exact_optimizer = kind(exact.parameters(), bits=32, **options)
        for net, optimizer in ((coded, coded_optimizer), (exact, exact_optimizer)):
            train(net, optimizer, 1)
        for key, value in coded_optimizer.decoded_state(coded[0].weight).items():
            wanted = exact_optimizer.state[exact[0].weight][key]
            if "factored" in options and key == "exp_avg_sq":
                wanted = torch.outer(wanted.mean(1), wanted.mean(0)) / wanted.mean()
            assert (value - wanted).norm() < (0.5 if "4" in kind.__name__ else 0.2) * wanted.norm(), key


class TestRefusals:
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_gradient_that_is_not_finite_moves_nothing(self, value):
        net = network()
        optimizer = optim.AdamW8bit(net.named_parameters())
        train(net, optimizer, 1)
        before, state = parameters(net), copy.deepcopy(optimizer.state_dict())
        net[2].weight.grad[3, 3] = value
        with pytest.raises(qcodec.EncodeError, match=r"2\.weight") as caught:
            optimizer.step()
        assert caught.value.element == 3 * 128 + 3
        assert torch.equal(parameters(net), before) and str(optimizer.state_dict()) == str(state)

    def test_another_group_s_gradient_moves_nothing_either(self):
        net = network()
        optimizer = optim.AdamW8bit(
            [{"params": net[0].parameters()}, {"params": net[2].parameters(), "lr": 1e-2}], percentile_clipping=50,
            max_grad_norm=1.0)
        train(net, optimizer, 2)
        before, state = parameters(net), copy.deepcopy(optimizer.state_dict())
        net[2].weight.grad[3, 3] = np.nan
        with pytest.raises(qcodec.EncodeError):
            optimizer.step()
        assert torch.equal(parameters(net), before) and str(optimizer.state_dict()) == str(state)
        net[2].weight.grad[3, 3] = 0
        optimizer.step()
        assert not torch.equal(parameters(net), before)

    def test_without_a_check_it_is_found_on_the_way(self):
        net = network()
        optimizer = optim.AdamW8bit(net.parameters(), check=False)
        train(net, optimizer, 2)
        net[0].weight.grad[5, 5] = float("nan")
        with pytest.raises(qcodec.QCodecError, match="not finite"):
            optimizer.step()

    @pytest.mark.parametrize(
        "options", [{"bits": 5}, {"percentile_clipping": 0}, {"max_grad_norm": 0}, {"betas": (0.9, 1.0)}, {"lr": -1.0}])
    def test_bad_options(self, options):
        net = network()
        with pytest.raises((ValueError, qcodec.ArgumentError)):
            train(net, optim.AdamW8bit(net.parameters(), **options), 1)

    def test_what_no_optimizer_computes_with(self):
        for parameter in (torch.nn.Parameter(torch.zeros(3, dtype=torch.float64)),
                          torch.nn.Parameter(torch.zeros(3, dtype=torch.complex64))):
            parameter.grad = torch.ones_like(parameter)
            with pytest.raises(TypeError, match="parameters of"):
                optim.AdamW8bit([parameter]).step()
        embedding = torch.nn.Embedding(5, 3, sparse=True)
        embedding(torch.tensor([1])).sum().backward()
        with pytest.raises(RuntimeError, match="sparse"):
            optim.AdamW8bit(embedding.parameters()).step()
