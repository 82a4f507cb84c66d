"""The training that resume_demo.py interrupts: a character-level GPT on Python sources, deterministic in every step."""

from __future__ import annotations

import copy
import hashlib
import math
import pathlib
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

# Folders of PyTorch's package that are its own work under its own licence; others bring files of third parties.
FOLDERS = ("distributions", "nn", "optim")
SOURCE = "Python sources of PyTorch, torch/{" + ",".join(FOLDERS) + "}/**/*.py"
LICENCE = "BSD-3-Clause"
VALIDATION = 0.1


@dataclass(frozen=True)
class Settings:
    """Model, data order and schedule."""

    layers: int = 4
    width: int = 256
    heads: int = 8
    context: int = 128
    batch: int = 16
    before: int = 300
    after: int = 150
    warm_up: int = 50
    # Steps over which the cosine falls: more than are taken, so that resuming meets a rate that still moves things.
    horizon: int = 600
    rate: float = 1e-3
    least_rate: float = 1e-4
    decay: float = 0.1
    clip: float = 1.0
    seed: int = 1


SMOKE = Settings(layers=2, width=32, heads=2, context=32, batch=4, before=20, after=10, warm_up=5, horizon=40)


class Corpus:
    """The text as codes: one for each character that is not rare, and one for all that are."""

    LEAST = 50  # times that a character occurs, to have a code of its own

    def __init__(self, text: str):
        self.sha256 = hashlib.sha256(text.encode()).hexdigest()
        points = torch.frombuffer(bytearray(text.encode("utf-32-le")), dtype=torch.int32).long()
        kinds, places, counts = points.unique(return_inverse=True, return_counts=True)
        frequent = counts >= self.LEAST
        numbers = torch.where(frequent, frequent.cumsum(0), 0)
        self.codes, self.vocabulary = numbers[places], int(frequent.sum()) + 1
        end = int(len(self.codes) * (1 - VALIDATION))
        self.training, self.validation = self.codes[:end], self.codes[end:]

    @staticmethod
    def installed() -> tuple[str, int]:
        """The text, from the installed package of torch, and the number of files: the same for every machine."""
        root = pathlib.Path(torch.__file__).parent
        files = sorted((file.relative_to(root).as_posix(), file) for folder in FOLDERS
                       for file in (root / folder).rglob("*.py"))
        return "".join(file.read_bytes().decode() for _, file in files), len(files)


def batch(codes: torch.Tensor, step: int, settings: Settings) -> tuple[torch.Tensor, torch.Tensor]:
    """What a step is given and is to predict: a function of its number and the seed."""
    generator = torch.Generator().manual_seed(1_000_003 * settings.seed + step)
    starts = torch.randint(len(codes) - settings.context, (settings.batch,), generator=generator)
    windows = codes[starts[:, None] + torch.arange(settings.context + 1)]
    return windows[:, :-1], windows[:, 1:]


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.attention_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = (*x.shape[:2], self.heads, x.shape[2] // self.heads)
        query, key, value = (
            part.view(size).transpose(1, 2) for part in self.attention(self.attention_norm(x)).chunk(3, dim=-1))
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.projection(mixed.transpose(1, 2).reshape(x.shape))
        return x + self.down(functional.gelu(self.up(self.norm(x))))


class GPT(nn.Module):
    """GPT-2 in small."""

    def __init__(self, vocabulary: int, settings: Settings):
        super().__init__()
        width = settings.width
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(settings.context, width)
        self.blocks = nn.Sequential(*(Block(width, settings.heads) for _ in range(settings.layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                # As GPT-2 does: what is added to the residual stream shrinks with the number of layers.
                added = name.endswith(("projection.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * settings.layers) if added else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        x = self.tokens(codes) + self.places.weight[:codes.shape[1]]
        return self.head(self.norm(self.blocks(x)))

    def loss(self, given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(self(given).flatten(0, 1), wanted.flatten())


class Training:
    """Model, optimizer and the number of steps that were taken."""

    def __init__(self, corpus: Corpus, settings: Settings):
        torch.manual_seed(settings.seed)
        self.corpus, self.settings, self.step = corpus, settings, 0
        self.model = GPT(corpus.vocabulary, settings)
        parameters = list(self.model.parameters())
        self.optimizer = torch.optim.AdamW(
            [{"params": [p for p in parameters if p.dim() == 2], "weight_decay": settings.decay},
             {"params": [p for p in parameters if p.dim() != 2], "weight_decay": 0.0}],
            lr=settings.rate, betas=(0.9, 0.95))

    def rate(self) -> float:
        """Of the step that comes."""
        s = self.settings
        if self.step < s.warm_up:
            return s.rate * (self.step + 1) / s.warm_up
        part = min(1.0, (self.step - s.warm_up) / (s.horizon - s.warm_up))
        return s.least_rate + (s.rate - s.least_rate) * (1 + math.cos(math.pi * part)) / 2

    def run(self, steps: int) -> list[float]:
        """The loss of each of the next steps, before the step."""
        losses = []
        for _ in range(steps):
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate()
            loss = self.model.loss(*batch(self.corpus.training, self.step, self.settings))
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
            self.optimizer.step()
            self.step += 1
            losses.append(loss.item())
        return losses

    @torch.no_grad()
    def validation_loss(self, batches: int = 16) -> float:
        losses = [self.model.loss(*batch(self.corpus.validation, number, self.settings)) for number in range(batches)]
        return sum(loss.item() for loss in losses) / batches

    def parameters(self) -> list[torch.Tensor]:
        return [p.detach().clone() for p in self.model.parameters()]

    def snapshot(self) -> dict:
        """What it takes to go on from here, copied: optimizers change their state in place."""
        return copy.deepcopy({
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step})

    @classmethod
    def resumed(cls, snapshot: dict, state: dict | None, corpus: Corpus, settings: Settings) -> Training:
        """From the parameters and the step of a snapshot, and an optimizer state; without one, with a fresh one."""
        training = cls(corpus, settings)
        training.model.load_state_dict(snapshot["model"])
        training.step = snapshot["step"]
        if state is not None:
            training.optimizer.load_state_dict(copy.deepcopy(state))
        return training


def drift(ended: list[torch.Tensor], exact: list[torch.Tensor], start: list[torch.Tensor]) -> float:
    """How far parameters ended from those of the exact run, over the distance that the exact run went."""
    def distance(a: list[torch.Tensor], b: list[torch.Tensor]) -> float:
        return math.sqrt(sum((x.double() - y.double()).square().sum().item() for x, y in zip(a, b, strict=True)))

    return distance(ended, exact) / distance(exact, start)
