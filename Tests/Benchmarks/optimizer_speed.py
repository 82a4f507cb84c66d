"""Seconds that a step of AdamW takes on the CPU, with float32 state and with coded state, side by side.

    python optimizer_speed.py [--sizes 24 26] [--threads 1 2] [--rounds N] [--json FILE] [--readme FILE] [--smoke]

Every optimizer steps on one tensor of 2^size float32 parameters; a round is a step of each in turn, and the first two do not
count. The roofline is the time in which the bytes that a step must move would be read and written by a copy of the same run:
4 of parameters each way, 4 of gradients, and each byte of state twice.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import time
import warnings

import torch

import qcodec.torch.optim as coded
from report import renewed, versions

warnings.simplefilter("ignore")
MARKS = ("<!-- Steps: written by make optimizer-bench. -->", "<!-- End of steps. -->")
FLOAT32 = "torch.optim.AdamW(fused=True)"


def bitsandbytes():
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit


def torchao(bits: int):
    from torchao import optim

    return {8: optim.AdamW8bit, 4: optim.AdamW4bit}[bits]


def ways(threads: int, missing: list[str]) -> dict:
    result = {
        FLOAT32: lambda p: torch.optim.AdamW(p, fused=True),
        "torch.optim.AdamW(foreach=True)": lambda p: torch.optim.AdamW(p, foreach=True),
        "qcodec AdamW8bit": lambda p: coded.AdamW8bit(p, threads=threads),
        "qcodec AdamW8bit(check=False)": lambda p: coded.AdamW8bit(p, check=False, threads=threads),
        "qcodec AdamW4bit": lambda p: coded.AdamW4bit(p, threads=threads),
        "qcodec AdamW4bit(check=False)": lambda p: coded.AdamW4bit(p, check=False, threads=threads),
        "qcodec AdamW8bit(bits=32)": lambda p: coded.AdamW8bit(p, bits=32, threads=threads),
    }
    for name, find in (("bitsandbytes AdamW8bit", bitsandbytes), ("torchao AdamW8bit", lambda: torchao(8)),
                       ("torchao AdamW4bit", lambda: torchao(4))):
        try:
            result[name] = find()
        except ImportError:
            missing.append(name)
    return result


def state_bytes(optimizer) -> int:
    """Of all tensors that an optimizer keeps; of subclasses what they consist of."""
    total = 0
    for state in optimizer.state.values():
        for value in state.values():
            if isinstance(value, torch.Tensor):
                parts = [value] if not hasattr(value, "__tensor_flatten__") else [
                    getattr(value, name) for name in value.__tensor_flatten__()[0]]
                total += sum(part.numel() * part.element_size() for part in parts)
    return total


def measure(size: int, threads: int, rounds: int, missing: list[str]) -> list[dict]:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    count = 1 << size
    gradient, start = torch.randn(count) * 1e-3, torch.randn(count) * 0.02
    optimizers = {}
    for name, make in ways(threads, missing).items():
        parameter = torch.nn.Parameter(start.clone())
        parameter.grad = gradient
        optimizers[name] = make([parameter])
        for _ in range(2):
            optimizers[name].step()
    source, target = torch.empty(count), torch.empty(count)
    seconds: dict[str, list[float]] = {name: [] for name in optimizers}
    copies = []
    for _ in range(rounds):
        begin = time.perf_counter()
        target.copy_(source)
        copies.append(time.perf_counter() - begin)
        for name, optimizer in optimizers.items():
            begin = time.perf_counter()
            optimizer.step()
            seconds[name].append(time.perf_counter() - begin)
    bandwidth = 8 * count / statistics.median(copies)
    results = []
    for name, optimizer in optimizers.items():
        own = state_bytes(optimizer) / count
        median = statistics.median(seconds[name])
        results.append({
            "way": name, "size": size, "threads": threads, "seconds": median, "fastest": min(seconds[name]),
            "state_bytes": own, "roofline": (12 + 2 * own) * count / bandwidth / median, "bandwidth": bandwidth})
    return results


def table(results: list[dict]) -> str:
    settings = sorted({(r["size"], r["threads"]) for r in results})
    lines = ["| a step of AdamW | state, bytes a parameter | " + " | ".join(
        f"2^{size}, {threads} thread{'s' if threads > 1 else ''}" for size, threads in settings) + " |",
        "|---|---|" + "---|" * len(settings)]
    exact = {(r["size"], r["threads"]): r["seconds"] for r in results if r["way"] == FLOAT32}
    for way in dict.fromkeys(r["way"] for r in results):
        own = {(r["size"], r["threads"]): r for r in results if r["way"] == way}
        first = next(iter(own.values()))
        cells = [
            f"{own[s]['seconds'] * 1000:.1f} ms, {exact[s] / own[s]['seconds']:.2f}; {own[s]['roofline']:.2f}"
            if s in own else "–" for s in settings]
        lines.append(f"| {way} | {first['state_bytes']:.2f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 26])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--readme", type=pathlib.Path, help="a file whose table of steps is to be renewed")
    parser.add_argument("--smoke", action="store_true", help="everything tiny: shows that it works, not what it is for")
    options = parser.parse_args()
    if options.smoke:
        options.sizes, options.threads, options.rounds = [14], [1], 1
    missing: list[str] = []
    results = [
        result for size in options.sizes for threads in options.threads
        for result in measure(size, threads, options.rounds, missing)]
    print(table(results))
    for name in dict.fromkeys(missing):
        print(f"not installed: {name}")
    if options.json:
        found = versions(["qcodec", "torch", "bitsandbytes", "torchao"])
        options.json.write_text(json.dumps({"versions": found, "results": results}, indent=2) + "\n")
    if options.readme:
        options.readme.write_text(renewed(options.readme.read_text(), table(results), MARKS))


if __name__ == "__main__":
    main()
