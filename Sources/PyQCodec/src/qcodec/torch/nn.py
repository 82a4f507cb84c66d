"""Modules for training with 8- and 4-bit optimizers."""

from __future__ import annotations

from typing import Any

import torch

from .optim import keep_32bit

__all__ = ["StableEmbedding"]


class StableEmbedding(torch.nn.Embedding):
    """The embedding layer of *8-bit Optimizers via Block-wise Quantization* (arXiv:2110.02861, section 2.3).

    Its weight is initialised Xavier-uniformly, what is looked up is normalised (a LayerNorm) before positions are added, and the
    optimizers of `qcodec.torch.optim` keep 32-bit state for the weight, whatever bits they have. Arguments are those of
    torch.nn.Embedding.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, *args: Any,
        device: Any = None, dtype: Any = None, **options: Any,
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx, *args, device=device, dtype=dtype, **options)
        self.norm = torch.nn.LayerNorm(embedding_dim, device=device, dtype=dtype)
        keep_32bit(self)

    def reset_parameters(self) -> None:
        torch.nn.init.xavier_uniform_(self.weight)
        self._fill_padding_idx_with_zero()

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The normalised rows of indices: their shape, and embedding_dim last."""
        return self.norm(super().forward(input))
