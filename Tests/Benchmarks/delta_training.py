"""The two runs whose consecutive checkpoints delta.py measures, each a function of its settings.

`gpt`: the character-level GPT of resume_demo.py under AdamW, in which every parameter moves with every step. `embeddings`:
skip-gram with negative sampling (word2vec) over the words of the same sources, then on those of one folder alone, under
SparseAdam, which leaves rows that no batch touches as they are.
"""

from __future__ import annotations

import pathlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from resume_training import FOLDERS, SMOKE, Corpus, Settings, Training

MOMENTS = ("exp_avg", "exp_avg_sq")


def flattened(named: list[tuple[str, nn.Parameter]], optimizer: torch.optim.Optimizer, step: int) -> dict:
    """Parameters and moments by name, copied."""
    tensors = {"step": torch.tensor(step)}
    for name, parameter in named:
        tensors[f"params.{name}"] = parameter.detach().clone()
        for moment in MOMENTS:
            tensors[f"{moment}.{name}"] = optimizer.state[parameter][moment].detach().clone()
    return tensors


def gpt(start: int, steps: list[int], smoke: bool) -> Iterator[tuple[int, dict]]:
    """(step, state) at the start and so many steps after it."""
    training = Training(Corpus(Corpus.installed()[0]), SMOKE if smoke else Settings())
    named = list(training.model.named_parameters())
    for step in [start, *(start + step for step in steps)]:
        training.run(step - training.step)
        yield step, flattened(named, training.optimizer, step)


@dataclass(frozen=True)
class Words:
    """Text as the numbers of its words, the most frequent first."""

    everything: torch.Tensor
    part: torch.Tensor
    count: int

    LEAST = 3  # times that a word occurs, to have a row of its own

    @classmethod
    def installed(cls) -> Words:
        root = pathlib.Path(torch.__file__).parent
        texts = {folder: "".join(file.read_text() for file in sorted((root / folder).rglob("*.py"))) for folder in FOLDERS}
        words = {folder: re.findall(r"\w+", text) for folder, text in texts.items()}
        counts = Counter(word for list_ in words.values() for word in list_)
        order = sorted((word for word, count in counts.items() if count >= cls.LEAST), key=lambda w: (-counts[w], w))
        numbers = {word: number for number, word in enumerate(order)}

        def coded(list_: list[str]) -> torch.Tensor:
            return torch.tensor([numbers[word] for word in list_ if word in numbers])

        return cls(torch.cat([coded(list_) for list_ in words.values()]), coded(words[FOLDERS[0]]), len(order))


class SkipGram(nn.Module):
    """A word's row predicts the words beside it, against words drawn at random."""

    def __init__(self, words: int, width: int):
        super().__init__()
        self.words, self.contexts = (nn.Embedding(words, width, sparse=True) for _ in range(2))
        for table in (self.words, self.contexts):
            nn.init.normal_(table.weight, std=0.1)

    def loss(self, centre: torch.Tensor, beside: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        row = self.words(centre)
        near = (row * self.contexts(beside)).sum(-1)
        far = (row[:, None] * self.contexts(others)).sum(-1)
        return -(functional.logsigmoid(near).mean() + functional.logsigmoid(-far).mean())


def embeddings(start: int, steps: list[int], smoke: bool) -> Iterator[tuple[int, dict]]:
    """(step, state): up to the start on all sources, then on one folder's."""
    torch.manual_seed(1)
    words = Words.installed()
    model = SkipGram(words.count, 16 if smoke else 128)
    optimizer = torch.optim.SparseAdam(list(model.parameters()), lr=1e-3)
    named, done = list(model.named_parameters()), 0
    for step in [start, *(start + step for step in steps)]:
        for number in range(done, step):
            text = words.everything if number < start else words.part
            generator = torch.Generator().manual_seed(number)
            places = torch.randint(4, len(text) - 4, (256,), generator=generator)
            shifts = torch.randint(1, 5, (256,), generator=generator)
            # Negatives of the text itself: frequent words are drawn as often as they stand there.
            others = text[torch.randint(len(text), (256, 4), generator=generator)]
            optimizer.zero_grad()
            model.loss(text[places], text[places - shifts], others).backward()
            optimizer.step()
        done = step
        yield step, flattened(named, optimizer, step)


RUNS = {"gpt": gpt, "embeddings": embeddings}
