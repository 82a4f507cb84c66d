"""What schemes for Adam moments do to the update m/(√v + ε), on a state of your own, at their real sizes.

    python update_error.py state.safetensors [--least 4096] [--eps 1e-8] [--qcodec PATH]

The state holds pairs of float32 tensors whose names differ in `exp_avg` and `exp_avg_sq` alone. Bits a parameter count the
codes and scales of both moments; lossless compression is off and what is no moment is left out. The relative L2 error is
that of all updates together, the maximum that of the worst one, where about 1 is normal; "v zeroed" counts the non-zero
second moments that decode to zero.
"""

import argparse
import json
import logging
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch

# torchao and bitsandbytes say at length which kernels they do not find.
logging.disable(logging.WARNING)

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests" / "Python"))
import tensorfile  # noqa: E402

KEEP_NONZERO = {
    "rules": [
        {"match": {"role": [role], "min_elements": 4096}, "action": "quantize", "scheme": {
            "map": "dynamic", "bits": 8, "signed": signed, "block": 256, "rounding": rounding}}
        for role, signed, rounding in (("first_moment", True, "nearest"), ("second_moment", False, "nearest-keep-nonzero"))
    ]
}


def moment_pairs(path, least):
    """[(name, m, v)] of the float32 pairs of `least` elements and more."""
    tensors, _ = tensorfile.load(pathlib.Path(path).read_bytes())
    pairs = []
    for name, first in tensors.items():
        if "exp_avg" not in name or "exp_avg_sq" in name:
            continue
        second = tensors.get(name.replace("exp_avg", "exp_avg_sq"))
        if second is None or first.dtype != "F32" or second.dtype != "F32":
            continue
        m, v = (np.frombuffer(e.data, np.float32).reshape(e.shape).copy() for e in (first, second))
        if m.shape == v.shape and m.size >= least:
            pairs.append((name, m, v))
    return pairs


class Measure:
    """Sums over pairs of what a scheme does to the update, in float64 from float32 values."""

    def __init__(self, eps):
        self.eps, self.squared, self.source, self.largest, self.zeroed = eps, 0.0, 0.0, 0.0, 0
        self.bits, self.elements = 0, 0

    def update(self, m, v):
        with np.errstate(invalid="ignore"):
            u = m.astype(np.float64) / (np.sqrt(v.astype(np.float64)) + self.eps)
        return np.where((m == 0) & np.isnan(u), 0, u)

    def add(self, m, v, coded_m, coded_v, bits):
        u = self.update(m, v)
        error = np.abs(u - self.update(coded_m, coded_v))
        self.squared += float(np.sum(error * error))
        self.source += float(np.sum(u * u))
        self.largest = max(self.largest, float(error.max()))
        self.zeroed += int(np.count_nonzero((v != 0) & (coded_v == 0)))
        self.bits += bits
        self.elements += m.size

    def row(self):
        return self.bits / self.elements, (self.squared / self.source) ** 0.5, self.largest, self.zeroed


# bitsandbytes: dynamic maps, float32 absmax a block


def bitsandbytes_codec(native, block):
    """encode-and-decode by bitsandbytes' torch code (nearest), or by what it runs on this machine's CPU."""
    from bitsandbytes import functional

    operator = torch.ops.bitsandbytes.quantize_blockwise.default
    key = torch._C.DispatchKey.CompositeExplicitAutograd

    def code(x, signed):
        table, x = functional.create_dynamic_map(signed=signed), torch.from_numpy(x)
        if native:
            codes, state = functional.quantize_blockwise(x, table, blocksize=block)
            absmax = state.absmax
        else:
            codes, absmax = operator._op_dk(key, x, table, block)
        scales = absmax.float().repeat_interleave(block)[:x.numel()].reshape(x.shape)
        return (table[codes.long().reshape(x.shape)] * scales).numpy(), 8 * x.numel() + 32 * absmax.numel()

    return code


def native_is_a_lookup():
    """Whether bitsandbytes' CPU path is its native kernel, whose table of 65,536 cells has no exact zero."""
    from bitsandbytes import functional

    x = torch.zeros(512)
    x[0] = 1
    return functional.quantize_blockwise(x, functional.create_dynamic_map(), blocksize=256)[0].flatten()[1].item() != 127


# torchao: the maps of its optimizers, float32 absmax a block


def torchao_codec(bits):
    from torchao.optim import quant_utils, subclass_4bit, subclass_8bit

    maps = subclass_8bit if bits == 8 else subclass_4bit
    quantize = quant_utils.quantize_8bit_with_qmap if bits == 8 else quant_utils.quantize_4bit_with_qmap
    block = 256 if bits == 8 else 128

    def code(x, signed):
        if x.size < 4096 or x.size % block:  # its optimizers keep these in float32
            return x, 32 * x.size
        table = torch.tensor(maps.get_qmap_signed() if signed else maps.get_qmap_unsigned())
        scaled, scale = quant_utils.scale_tensor(torch.from_numpy(x).flatten(), block)
        decoded = quant_utils.dequant_with_qmap(quantize(scaled, table), table, scale)
        return decoded.reshape(x.shape).numpy(), bits * x.size + 32 * scale.numel()

    return code


# lpmm: our implementation of its rule; the package itself needs CUDA


def lpmm_codec():
    from torchao.optim import quant_utils

    signed_table = np.array(quant_utils.create_dynamic_map(True, 3, 4), np.float32)
    unsigned_table = (np.arange(1, 17) / 16).astype(np.float32)

    def blocks_of_128(x):
        padded = np.zeros(-(-x.size // 128) * 128, np.float32)
        padded[:x.size] = np.abs(x).ravel()
        maxima = padded.reshape(-1, 128).max(1)
        return np.repeat(maxima, 128)[:x.size].reshape(x.shape), len(maxima)

    def rank1(x):
        maxima = [x.max(axis=tuple(a for a in range(x.ndim) if a != axis), keepdims=True) for axis in range(x.ndim)]
        scales = maxima[0]
        for other in maxima[1:]:
            scales = np.minimum(scales, other)
        return np.broadcast_to(scales, x.shape), sum(m.size for m in maxima)

    def code(x, signed):
        if x.size <= 4096:  # its threshold: these stay float32
            return x, 32 * x.size
        table = signed_table if signed else unsigned_table
        scales, count = rank1(x) if x.ndim > 1 and not signed else blocks_of_128(x)
        y = np.divide(x, scales, out=np.zeros_like(x), where=scales != 0)
        codes = np.searchsorted((table[:-1] + table[1:]) / 2, y, "left")  # ties to the lower code
        return table[codes] * scales, 4 * x.size + 32 * count

    return code


def bf16_codec(x, signed):
    return torch.from_numpy(x).bfloat16().float().numpy(), 16 * x.size


def peers():
    """(scheme, rule, codec)"""
    rule = "dynamic, both moments; nearest (its torch code, run as it is)"
    yield "bitsandbytes 8-bit, block 256", rule, bitsandbytes_codec(False, 256)
    yield "bitsandbytes 8-bit, block 2048", rule, bitsandbytes_codec(False, 2048)
    if native_is_a_lookup():
        yield ("bitsandbytes 8-bit, block 256, on a CPU", "dynamic; its native table of 65,536 cells, which never gives 0",
               bitsandbytes_codec(True, 256))
    else:
        print("bitsandbytes has no native CPU kernel here: that row is left out", file=sys.stderr)
    yield "torchao 8-bit, block 256", "dynamic, both moments (its own functions)", torchao_codec(8)
    yield "torchao 4-bit, block 128", "dynamic; linear without zero (its own functions)", torchao_codec(4)
    yield "lpmm 4-bit", "dynamic 128; linear without zero, rank-1 (our implementation of its rule)", lpmm_codec()
    yield "bf16 moments", "to nearest even", bf16_codec


def qcodec_row(qcodec, state, policy, eps, folder):
    """The row of a policy, by the command itself: encode, then verify against the original."""
    target = folder / "coded.qckpt"

    def run(*arguments):
        return json.loads(subprocess.run([qcodec, *map(str, arguments), "--json"], capture_output=True, check=True).stdout)

    run("encode", state, "-o", target, "--policy", policy, "--compression", "none")
    verified = run("verify", target, "--against", state, "--eps", repr(eps))
    assert verified["ok"], verified["first_violation"]
    tensors = run("inspect", target)["tensors"]
    elements = sum(int(np.prod(t["shape"], dtype=object)) for t in tensors)
    error = verified["update_error"]
    return (2 * 8 * sum(t["stored_bytes"] for t in tensors) / elements, error["rel_l2"], error["max_abs"],
            error["v_zeroed"])


OWN = [
    ("**qcodec `adam8`**", "adam8", "update domain, cubic 256; log 512; nearest"),
    ("qcodec `paper8`", "paper8", "dynamic, both moments, block 256; nearest"),
    ("qcodec `paper8`, keep-nonzero", KEEP_NONZERO,
     "dynamic, both moments, block 256; nearest, but a non-zero v never takes the zero code"),
    ("**qcodec `adam4`**", "adam4", "update domain, cubic 128; log 256; nearest"),
    ("qcodec `paper4`", "paper4", "dynamic 128; linear without zero, rank-1; nearest"),
]


def rows(path, least, eps, qcodec):
    """(scheme, rule, bits, relative L2, maximum, zeroed)"""
    pairs = moment_pairs(path, least)
    if not pairs:
        sys.exit(f"{path}: no float32 pairs exp_avg, exp_avg_sq of {least} elements and more")
    print(f"{path}: {len(pairs)} pairs, {sum(m.size for _, m, _ in pairs):,} parameters, ε = {eps:g}\n")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        state = folder / "moments.safetensors"
        entries = {}
        for name, m, v in pairs:
            entries[name] = tensorfile.Entry("F32", m.shape, m.tobytes())
            entries[name.replace("exp_avg", "exp_avg_sq")] = tensorfile.Entry("F32", v.shape, v.tobytes())
        state.write_bytes(tensorfile.dump(entries))
        for scheme, policy, rule in OWN:
            if not isinstance(policy, str):
                file = folder / "policy.json"
                file.write_text(json.dumps(policy))
                policy = file
            yield (scheme, rule, *qcodec_row(qcodec, state, policy, eps, folder))
    for scheme, rule, code in peers():
        measure = Measure(eps)
        for _, m, v in pairs:
            (coded_m, bits_m), (coded_v, bits_v) = code(m, True), code(v, False)
            measure.add(m, v, coded_m, coded_v, bits_m + bits_v)
        yield (scheme, rule, *measure.row())


def figure(value):
    """Three significant digits."""
    return f"{value:#.3g}".rstrip(".")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("state", help="a safetensors file")
    parser.add_argument("--least", type=int, default=4096, help="elements from which a tensor counts")
    parser.add_argument("--eps", type=float, default=1e-8)
    parser.add_argument("--qcodec", default=str(ROOT / ".build" / "release" / "qcodec"))
    options = parser.parse_args()
    found = sorted(
        rows(options.state, options.least, options.eps, options.qcodec), key=lambda row: (-(row[2] // 8), row[3]))
    print("| scheme | rule | bits (m + v) | relative L2 | maximum | v zeroed |\n|---|---|---|---|---|---|")
    for scheme, rule, bits, relative, largest, zeroed in found:
        print(f"| {scheme} | {rule} | {bits:.2f} | {figure(relative)} | {figure(largest)} | {zeroed:,} |")


if __name__ == "__main__":
    main()
