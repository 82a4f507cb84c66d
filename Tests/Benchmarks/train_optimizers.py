"""Whether training with coded optimizer state learns as with float32: whole runs, several seeds, side by side.

    python train_optimizers.py [--steps N] [--seeds N] [--threads N] [--only WAY ...] [--json FILE] [--results FILE] [--smoke]

Two models on real data: the character-level GPT of resume_demo.py (3.2M parameters, Python sources) and a small convolutional
network (handwritten digits that come with scikit-learn), the latter also under SGD with momentum. Every way trains from the
same parameters with the same data in the same order, a seed each; moments are coded anew in every step. What is reported is
the mean loss of the last steps, and its distance from float32 of the same seed beside the spread of float32 over seeds. Runs
that the file of --json has already are not repeated.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import sys
import time
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional

import qcodec
import qcodec.torch.optim
from resume_training import GPT, SMOKE, Corpus, Settings, batch

BETAS = (0.9, 0.999)
LAST = 50


def scheme(map_: str, bits: int, signed: bool, block: int | None = None, **options) -> qcodec.Scheme:
    return qcodec.Scheme(map_, bits=bits, signed=signed, block=block, **options)


def coded(first: qcodec.Scheme, second: qcodec.Scheme | None, **options):
    def make(groups, rate, threads):
        schemes = first, second
        return qcodec.torch.optim.AdamW8bit(groups, lr=rate, betas=BETAS, schemes=schemes, threads=threads, **options)

    return make


def momentum(first: qcodec.Scheme):
    def make(groups, rate, threads):
        return qcodec.torch.optim.SGD8bit(groups, lr=rate, momentum=0.9, schemes=(first, None), threads=threads)

    return make


def exact(groups, rate, threads):
    return torch.optim.AdamW(groups, lr=rate, betas=BETAS)


def exact_momentum(groups, rate, threads):
    return torch.optim.SGD(groups, lr=rate, momentum=0.9)


UPDATE8 = scheme("cubic", 8, True, 256, domain="update")
UPDATE4 = scheme("cubic", 4, True, 128, domain="update")
LOG8, LOG4 = scheme("log", 8, False, 512), scheme("log", 4, False, 256)
DYNAMIC8, DYNAMIC4 = scheme("dynamic", 8, True, 256), scheme("dynamic", 4, True, 128)
STOCHASTIC8 = scheme("dynamic", 8, True, 256, rounding="stochastic", seed=1)
STOCHASTIC4 = scheme("dynamic", 4, True, 128, rounding="stochastic", seed=1)
ADAM = {
    "float32": exact,
    "update8 + log8 (adam8)": coded(UPDATE8, LOG8),
    "dynamic8 + log8 (live8)": coded(DYNAMIC8, LOG8),
    "linear8 + log8": coded(scheme("linear", 8, True, 256), LOG8),
    "dynamic8 + dynamic8 (bitsandbytes' scheme)": coded(DYNAMIC8, scheme("dynamic", 8, False, 256)),
    "update4 + log4 (adam4)": coded(UPDATE4, LOG4),
    "dynamic4 + log4 (live4)": coded(DYNAMIC4, LOG4),
    "update4 + log4, stochastic": coded(
        scheme("cubic", 4, True, 128, domain="update", rounding="stochastic", seed=1),
        scheme("log", 4, False, 256, rounding="stochastic", seed=2)),
    "dynamic4 + linear-nozero4 rank1 (lpmm's scheme)": coded(
        DYNAMIC4, scheme("linear-nozero", 4, False, scaling="rank1")),
    "dynamic4 + factors (4-bit Factor)": coded(DYNAMIC4, LOG4, factored=True),
}
SGD = {
    "float32": exact_momentum,
    "dynamic8 (live8)": momentum(DYNAMIC8),
    "dynamic8, stochastic": momentum(STOCHASTIC8),
    "dynamic4 (live4)": momentum(DYNAMIC4),
    "dynamic4, stochastic": momentum(STOCHASTIC4),
}


class Text:
    """The GPT and its data."""

    name, rate, decay, ways = "GPT", 1e-3, 0.1, ADAM

    def __init__(self, smoke: bool) -> None:
        self.settings = SMOKE if smoke else Settings(context=64, batch=8)
        self.corpus = Corpus(Corpus.installed()[0])

    def model(self) -> nn.Module:
        return GPT(self.corpus.vocabulary, self.settings)

    def loss(self, model: nn.Module, seed: int, step: int) -> torch.Tensor:
        return model.loss(*batch(self.corpus.training, step, replace(self.settings, seed=seed)))


class Digits:
    """A convolutional network of 142,890 parameters on 8-by-8 images of digits."""

    name, rate, decay, ways = "convnet", 3e-3, 0.1, ADAM

    def __init__(self, smoke: bool) -> None:
        from sklearn.datasets import load_digits

        digits = load_digits()
        self.images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
        self.labels = torch.tensor(digits.target)

    def model(self) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 96), nn.ReLU(),
            nn.Linear(96, 10))

    def loss(self, model: nn.Module, seed: int, step: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1_000_003 * seed + step)
        chosen = torch.randint(len(self.images), (64,), generator=generator)
        # Noise, so that there is something left to learn after a few passes over the images.
        noise = torch.randn((64, 1, 8, 8), generator=generator) * 0.5
        return functional.cross_entropy(model(self.images[chosen] + noise), self.labels[chosen])


class MomentumDigits(Digits):
    """The same under SGD with momentum."""

    name, rate, decay, ways = "convnet under SGD", 3e-2, 1e-4, SGD


TASKS = (Digits, MomentumDigits, Text)


def run(task, make, seed: int, steps: int, threads: int) -> dict:
    torch.manual_seed(seed)
    model = task.model()
    parameters = list(model.parameters())
    optimizer = make(
        [{"params": [p for p in parameters if p.dim() >= 2], "weight_decay": task.decay},
         {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0}], task.rate, threads)
    warm_up = max(1, min(100, steps // 10))
    losses, start = [], time.perf_counter()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = task.rate * min(1.0, (step + 1) / warm_up) * (1 - 0.9 * step / steps)
        loss = task.loss(model, seed, step)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(loss.item())
    return {"losses": losses, "seconds": time.perf_counter() - start, "parameters": sum(p.numel() for p in parameters)}


def report(results: list[dict], steps: int) -> str:
    lines = []
    for task in dict.fromkeys(result["task"] for result in results):
        own = [result for result in results if result["task"] == task]
        last = {(r["way"], r["seed"]): statistics.mean(r["losses"][-LAST:]) for r in own}
        exact_losses = [value for (way, _), value in last.items() if way == "float32"]
        spread = f"{statistics.stdev(exact_losses):.4f}" if len(exact_losses) > 1 else "unknown, of one seed"
        lines += [f"## {task}, {own[0]['parameters']:,} parameters, {steps} steps", "",
                  f"The losses of float32 differ over seeds by a standard deviation of {spread}.", "",
                  "| moments | seeds | mean loss of the last steps | mean distance from float32 | largest distance |",
                  "|---|---|---|---|---|"]
        for way in dict.fromkeys(result["way"] for result in own):
            seeds = sorted(seed for other, seed in last if other == way)
            gaps = [last[way, seed] - last["float32", seed] for seed in seeds if ("float32", seed) in last]
            mean = statistics.mean(last[way, seed] for seed in seeds)
            gap = f"{statistics.mean(gaps):+.4f} | {max(gaps, key=abs):+.4f}" if gaps else "– | –"
            lines.append(f"| {way} | {len(seeds)} | {mean:.4f} | {gap} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=[*ADAM, *SGD], metavar="WAY")
    parser.add_argument("--tasks", nargs="*", choices=[task.name for task in TASKS], default=[task.name for task in TASKS])
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--results", type=pathlib.Path)
    parser.add_argument("--smoke", action="store_true", help="everything tiny: shows that it works, not what it is for")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    tasks = [kind(options.smoke) for kind in TASKS if kind.name in options.tasks]
    results: list[dict] = []
    if options.json and options.json.exists():
        results = json.loads(options.json.read_text())
    done = {(result["task"], result["way"], result["seed"]) for result in results if len(result["losses"]) == options.steps}
    for seed in range(1, options.seeds + 1):
        for task in tasks:
            for way, make in task.ways.items():
                if (options.only and way not in options.only) or (task.name, way, seed) in done:
                    continue
                result = run(task, make, seed, options.steps, options.threads)
                results.append({"task": task.name, "way": way, "seed": seed, **result})
                print(f"{task.name} {way} seed {seed}: {statistics.mean(result['losses'][-LAST:]):.4f} in "
                      f"{result['seconds']:.0f} s", file=sys.stderr, flush=True)
                if options.json:
                    options.json.write_text(json.dumps(results))
    order = [(task.name, way) for task in TASKS for way in task.ways]
    results = [result for result in results if len(result["losses"]) == options.steps and result["seed"] <= options.seeds]
    results.sort(key=lambda result: (order.index((result["task"], result["way"])), result["seed"]))
    text = report(results, options.steps)
    print(text)
    if options.results:
        options.results.write_text(text)


if __name__ == "__main__":
    main()
