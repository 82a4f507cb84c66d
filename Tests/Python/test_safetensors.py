"""The safetensors package and the command read what the other writes, every dtype that torch has included."""

import subprocess
import sys

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch

import tensorfile

FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
INTEGERS = [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64]


def tensors_of_torch():
    """Every dtype; no elements, one, many; values that a conversion would lose."""
    torch.manual_seed(3)
    result = {"scalar": torch.tensor(0.1), "empty": torch.zeros(3, 0, 2), "bool": torch.rand(5, 7) > 0.5}
    for dtype in FLOATS:
        result[f"{dtype}"] = torch.randn(17, 9, dtype=torch.float64).to(dtype)
    for dtype in INTEGERS:
        result[f"{dtype}"] = torch.randint(0, 256, (4, 3, 8), dtype=torch.uint8).view(dtype)
    result["special"] = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 1e-45, 3.4e38])
    # A NaN with a payload stays what it is.
    result["payload"] = torch.tensor([0x7F80_0001, -0x0040_0001], dtype=torch.int32).view(torch.float32)
    return result


def same(ours, theirs):
    return (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape) and torch.equal(
        ours.contiguous().view(torch.uint8) if ours.ndim else ours, theirs.view(torch.uint8) if theirs.ndim else theirs)


def test_a_file_of_torch_comes_back_bit_for_bit(qcodec, tmp_path):
    source, target, back = (tmp_path / name for name in ("in.safetensors", "out.qckpt", "out.safetensors"))
    tensors, metadata = tensors_of_torch(), {"format": "pt", "größe": "1 ≤ 2"}
    safetensors.torch.save_file(tensors, source, metadata)
    for compression in ("none", "lz4", "zstd"):
        qcodec("encode", source, "-o", target, "--policy", "lossless", "--compression", compression)
        qcodec("verify", target, "--against", source)
        qcodec("decode", target, "-o", back)
        loaded = safetensors.torch.load_file(back)
        assert set(loaded) == set(tensors)
        assert [name for name in tensors if not same(tensors[name], loaded[name])] == []
        with safetensors.safe_open(back, "pt") as file:
            assert file.metadata() == metadata
        assert tensorfile.load(back.read_bytes()) == tensorfile.load(source.read_bytes())


def test_bfloat16_and_float16_moments_of_torch(reader, qcodec, tmp_path):
    source, target, back = (tmp_path / name for name in ("in.safetensors", "out.qckpt", "out.safetensors"))
    torch.manual_seed(5)
    tensors = {}
    for dtype in (torch.bfloat16, torch.float16):
        tensors[f"{dtype}.exp_avg"] = torch.randn(64, 129).to(dtype)
        tensors[f"{dtype}.exp_avg_sq"] = torch.randn(64, 129).square().to(dtype)
    safetensors.torch.save_file(tensors, source)
    for policy in ("paper8", "paper4"):
        qcodec("encode", source, "-o", target, "--policy", policy)
        qcodec("verify", target, "--against", source)
        qcodec("decode", target, "-o", back)
        loaded = safetensors.torch.load_file(back)
        checkpoint = reader.Checkpoint(target.read_bytes())
        assert all(t.quantized for t in checkpoint.tensors)
        for name, original in tensors.items():
            t = checkpoint.find(name)
            assert (loaded[name].dtype, loaded[name].shape) == (original.dtype, original.shape)
            # torch's own conversion of the reference reader's float32 values.
            values = torch.from_numpy(checkpoint.decode(t)[0].copy()).reshape(t.shape)
            assert same(values.to(original.dtype), loaded[name]), name
            error = (original.double() - loaded[name].double()).abs().max().item()
            assert 0 < error == t.max_abs <= t.guaranteed, name


def test_the_package_opens_decoded_real_states(qcodec, states, tmp_path):
    target, back = tmp_path / "out.qckpt", tmp_path / "out.safetensors"
    for source in states:
        originals = safetensors.numpy.load_file(source)
        for policy in ("lossless", "paper8", "paper4"):
            qcodec("encode", source, "-o", target, "--policy", policy)
            qcodec("decode", target, "-o", back)
            loaded = safetensors.numpy.load_file(back)
            assert set(loaded) == set(originals)
            for name, original in originals.items():
                moment = name.startswith("exp_avg") and original.size >= 4096 and policy != "lossless"
                assert (loaded[name].dtype, loaded[name].shape) == (original.dtype, original.shape), name
                assert np.array_equal(loaded[name], original) != moment, name


def test_the_safetensors_package_refuses_what_the_command_refuses(root, qcodec, tmp_path):
    """Fixtures/inputs; but for two tensors of one name, of which the package gives the last without a word."""
    names = sorted(path.name for path in (root / "Fixtures" / "inputs").glob("*.safetensors"))
    assert len(names) == 15
    for name in names:
        path = root / "Fixtures" / "inputs" / name
        qcodec("encode", path, "-o", tmp_path / "out.qckpt", status=3)
        if name != "duplicate.safetensors":
            with pytest.raises(safetensors.SafetensorError):
                safetensors.numpy.load_file(path)


def test_the_generator_reproduces_the_inputs(root):
    command = [sys.executable, root / "Fixtures" / "make_inputs.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
