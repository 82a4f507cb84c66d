"""Codes and streams of bitsandbytes and torchao, whose files qcodec is to hold."""

import importlib
from fractions import Fraction

import numpy as np
import pytest
import torch

import tensorfile

F32 = np.float32
# bitsandbytes clamps a block's absmax to this before it takes the reciprocal; torchao to the other before it divides.
BITSANDBYTES_CLAMP, TORCHAO_CLAMP = F32(1e-38), F32(1e-12)


# bitsandbytes


def dynamic_map(signed):
    return importlib.import_module("bitsandbytes.functional").create_dynamic_map(signed=signed)


def torch_backend(values, signed, block=256):
    """(codes, absmax) of bitsandbytes' own torch code, which its native kernel hides on the CPU."""
    kernel = dynamic_map(signed)
    operator = torch.ops.bitsandbytes.quantize_blockwise.default
    codes, absmax = operator._op_dk(
        torch._C.DispatchKey.CompositeExplicitAutograd, torch.from_numpy(values), kernel, block)
    return codes.numpy().ravel(), absmax.numpy()


def native_backend(values, signed, block=256):
    """(codes, absmax) of what bitsandbytes runs on the CPU."""
    functional = importlib.import_module("bitsandbytes.functional")
    codes, state = functional.quantize_blockwise(torch.from_numpy(values), dynamic_map(signed), blocksize=block)
    return codes.numpy().ravel(), state.absmax.numpy()


def test_the_backends_are_what_they_are_taken_for():
    values = np.zeros(512, F32)
    values[0] = 1
    # The native kernel looks codes up in a table of 65,536 cells and makes a non-zero of an exact zero.
    assert torch_backend(values, True)[0][:2].tolist() == [255, 127]
    assert native_backend(values, True)[0][:2].tolist() == [255, 131]


def own_codes(reader, qcodec, path, target):
    """{name: codes} of `paper8 --scale absmax`, for the tensors that it quantizes."""
    qcodec("encode", path, "-o", target, "--policy", "paper8", "--scale", "absmax")
    checkpoint = reader.Checkpoint(target.read_bytes())
    quantized = [t for t in checkpoint.tensors if t.quantized]
    assert {(t.map, t.bits, t.block, t.rule, t.rounding) for t in quantized} == {
        ("dynamic", 8, 256, "absmax", "nearest")}
    return {t.name: (t.signed, *checkpoint.decode(t)[1:]) for t in quantized}


def rounded(value):
    """The float32 nearest to an exact fraction, ties to even."""
    guess = F32(float(value))
    near = [np.nextafter(guess, F32(-np.inf)), guess, np.nextafter(guess, F32(np.inf))]
    return min((f for f in near if np.isfinite(f)),
               key=lambda f: (abs(Fraction(float(f)) - value), int(f.view(np.uint32)) & 1))


def explain(limits, x, absmax, own, theirs):
    """Why two codes of an element differ: "clamp" or "reciprocal"; fails where it is neither.

    Exact arithmetic: y is the float32 quotient x / absmax, z what bitsandbytes has in its place, x times the float32
    reciprocal of the clamped absmax. Each code has to be the number of thresholds below its own of the two.
    """
    exact = Fraction(float(x)) / Fraction(float(absmax))
    y = rounded(exact)
    reciprocal = rounded(1 / Fraction(float(max(absmax, BITSANDBYTES_CLAMP))))
    z = min(max(rounded(Fraction(float(x)) * Fraction(float(reciprocal))), F32(-1)), F32(1))
    assert own == np.sum(limits < y) and theirs == np.sum(limits < z), (x, absmax, own, theirs, y, z)
    if absmax < BITSANDBYTES_CLAMP:
        return "clamp"
    # Two roundings of half a unit instead of one: the threshold lies within two units of the exact quotient.
    crossed = limits[min(own, theirs)]
    assert abs(Fraction(float(crossed)) - exact) <= abs(exact) * Fraction(1, 1 << 22), (x, absmax, own, theirs)
    return "reciprocal"


def compare(reader, qcodec, path, target):
    """{"elements", "reciprocal", "clamp"}: how many codes of a safetensors file's moments differ, and why."""
    originals, _ = tensorfile.load(path.read_bytes())
    counts = {"elements": 0, "reciprocal": 0, "clamp": 0}
    for name, (signed, own, scales) in own_codes(reader, qcodec, path, target).items():
        x = np.frombuffer(originals[name].data, "<f4")
        theirs, absmax = torch_backend(x.copy(), signed)
        whole = len(x) // 256 * 256
        assert np.array_equal(absmax[:whole // 256], scales[:whole:256]), name
        limits = reader.thresholds(reader.NAMED["dynamic", 8, signed])
        # The elements after the last whole block it divides by the clamped absmax: no reciprocal, but the clamp.
        assert whole == len(x) or scales[-1] >= BITSANDBYTES_CLAMP, name
        assert np.array_equal(own[whole:], theirs[whole:]), name
        counts["elements"] += len(x)
        for i in np.flatnonzero(own != theirs):
            counts[explain(limits, x[i], scales[i], own[i], theirs[i])] += 1
    return counts


def test_codes_of_real_moments_are_those_of_bitsandbytes(reader, qcodec, states, tmp_path):
    for path in states:
        counts = compare(reader, qcodec, path, tmp_path / "own.qckpt")
        assert counts["elements"] > 400_000
        assert counts["clamp"] == 0


def moments_on_thresholds(reader):
    """Moments whose quotients lie on and beside every threshold; blocks below the clamp; a block that is not whole."""
    random, tensors = np.random.default_rng(7), {}
    for name, signed in (("exp_avg", True), ("exp_avg_sq", False)):
        limits = reader.thresholds(reader.NAMED["dynamic", 8, signed])
        blocks = []
        for exponent in np.linspace(-146, 100, 400):
            absmax = F32((1 + random.random()) * 2.0**exponent)
            with np.errstate(over="raise"):
                values = (limits * absmax).astype(F32)
            values = np.nextafter(values, F32(0) if random.random() < 0.5 else values)
            blocks.append(np.append(values, absmax))
        tail = random.standard_normal(100)
        values = np.concatenate([*blocks, tail if signed else np.abs(tail)]).astype("<f4")
        tensors[f"{name}/w"] = tensorfile.Entry("F32", (len(values),), values.tobytes())
    return tensorfile.dump(tensors)


def test_every_differing_code_on_the_thresholds_is_explained(reader, qcodec, tmp_path):
    path = tmp_path / "thresholds.safetensors"
    path.write_bytes(moments_on_thresholds(reader))
    counts = compare(reader, qcodec, path, tmp_path / "own.qckpt")
    # Both reasons do occur, so that the explanations are put to the test.
    assert counts["reciprocal"] > 1000 and counts["clamp"] > 1000, counts


# Streams of peers


@pytest.fixture
def decoded(writer, qcodec, monkeypatch, tmp_path):
    """Decodes codes and scales of a peer: put into a checkpoint as they are, with unknown rounding."""
    def encode_given(t):
        return t.given if hasattr(t, "given") else original(t)

    original = writer.encode
    monkeypatch.setattr(writer, "encode", encode_given)

    def run(map_, bits, signed, block, dtype, packed, scales, count):
        how = writer.scheme(map_, bits, signed, block=block, rounding="unknown", rule="absmax")
        width = {"F32": 4, "BF16": 2, "F16": 2}[dtype]
        record = writer.Record("state", dtype, (count,), bytes(width * count), how, role=1 if signed else 2)
        record.given, size = [], writer.spec.CHUNK_ELEMENTS
        for start in range(0, count, size):
            own_scales = scales[start // block:(start + size) // block]
            codes = packed[start * bits // 8:(start + size) * bits // 8]
            record.given.append((writer.spec.CODES, own_scales.astype("<f4").tobytes() + codes.tobytes()))
        record.guaranteed = float("nan")
        source, target = tmp_path / "peer.qckpt", tmp_path / "peer.safetensors"
        source.write_bytes(writer.build([record], {}))
        qcodec("verify", source)
        (tensor,) = qcodec("inspect", source, json_output=True)["tensors"]
        assert (tensor["rounding"], tensor["guaranteed_max_abs_error"]) == ("unknown", None)
        qcodec("decode", source, "-o", target)
        return tensorfile.load(target.read_bytes())[0]["state"].data

    return run


def canonical(values, exact):
    """The bytes of a peer's values with +0 where their float32 is −0, for `map · scale + 0` is; and how many there are.

    A negative float32 that a narrower dtype rounds to zero stays −0 here as there.
    """
    bits = values.view(torch.int32 if values.dtype == torch.float32 else torch.int16).numpy()
    zero = exact.numpy() == 0
    return np.where(zero, 0, bits).astype(bits.dtype).tobytes(), int(np.sum(zero & (bits != 0)))


def peer_moments(states, whole=1):
    """(signed, values) of every real moment, and of one with blocks of zeros and of subnormals, over two chunks."""
    for path in states:
        tensors, _ = tensorfile.load(path.read_bytes())
        for name, entry in tensors.items():
            if name.startswith("exp_avg") and len(entry.data) >= 4 * 4096:
                yield name.startswith("exp_avg/"), np.frombuffer(entry.data, "<f4").copy()
    random = np.random.default_rng(11)
    mixed = random.standard_normal(262_144 + 4096 + (0 if whole > 1 else 77)).astype(F32)
    mixed[:4096] = 0
    mixed[4096:8192] *= F32(1e-40)
    yield True, mixed
    yield False, np.square(mixed)


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
@pytest.mark.parametrize("block", [256, 2048])
@pytest.mark.parametrize("backend", [native_backend, torch_backend])
def test_streams_of_bitsandbytes_decode_as_it_decodes_them(decoded, states, backend, block, dtype):
    functional = importlib.import_module("bitsandbytes.functional")
    torch_dtype = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}[dtype]
    zeros = 0
    for signed, x in peer_moments(states):
        codes, absmax = backend(x, signed, block)
        values = [
            functional.dequantize_blockwise(torch.from_numpy(codes), functional.QuantState(
                torch.from_numpy(absmax), code=dynamic_map(signed), blocksize=block, dtype=wanted))
            for wanted in (torch_dtype, torch.float32)]
        expected, negative = canonical(*values)
        assert decoded("dynamic", 8, signed, block, dtype, codes, absmax, len(x)) == expected
        zeros += negative
    # Its native kernel gives a block of 4,096 zeros code 0, the most negative entry; elsewhere one product underflows.
    assert zeros == (4096 if backend is native_backend else 1)


@pytest.mark.parametrize("bits", [8, 4])
def test_streams_of_torchao_decode_as_it_decodes_them(decoded, states, bits):
    block = 256 if bits == 8 else 128
    made = importlib.import_module(f"torchao.optim.subclass_{bits}bit")
    kind = made.OptimState8bit if bits == 8 else made.OptimState4bit
    for signed, x in peer_moments(states, whole=block):
        map_ = "dynamic" if signed or bits == 8 else "linear-nozero"
        state = kind.zeros((len(x),), signed=signed, block_size=block)
        # A fresh state is code 0 with scale 0, which torchao decodes to −0 where entry 0 is negative.
        for _ in range(2):
            values = state.dequantize()
            expected, _ = canonical(values, values)
            packed, scales = state.codes.numpy(), state.scale.numpy()
            assert decoded(map_, bits, signed, block, "F32", packed, scales, len(x)) == expected
            state.copy_(torch.from_numpy(x))


@pytest.mark.parametrize("bits", [8, 4])
def test_codes_of_torchao_differ_only_by_its_clamp_and_at_midpoints(reader, writer, states, bits):
    utilities = importlib.import_module("torchao.optim.quant_utils")
    block, choose = (256, utilities.quantize_8bit_with_qmap) if bits == 8 else (128, utilities.quantize_4bit_with_qmap)
    for signed, x in peer_moments(states, whole=block):
        map_ = "dynamic" if signed or bits == 8 else "linear-nozero"
        table = reader.NAMED[map_, bits, signed]
        scaled, clamped = utilities.scale_tensor(torch.from_numpy(x), block)
        theirs = choose(scaled, torch.from_numpy(table.copy())).numpy()
        absmax = np.repeat(np.max(np.abs(x.reshape(-1, block)), axis=1), block)
        how = writer.scheme(map_, bits, signed, rule="absmax")
        own = writer.choose(writer.Record("x", "F32", x.shape, x.tobytes(), how), x, absmax, 0)
        for i in np.flatnonzero((own != theirs) & (absmax >= TORCHAO_CLAMP)):
            low = min(own[i], theirs[i])
            assert abs(int(own[i]) - int(theirs[i])) == 1
            y, below, above = (Fraction(float(v)) for v in (x[i] / absmax[i], table[low], table[low + 1]))
            middle = rounded((below + above) / 2)
            assert (own[i] > low) == (y > Fraction(float(middle))), (x[i], absmax[i])
            assert (theirs[i] > low) == (rounded(y - below) >= rounded(above - below) / 2), (x[i], absmax[i])
            assert abs(y - (below + above) / 2) <= Fraction(float(np.spacing(abs(middle)))), (x[i], absmax[i])
