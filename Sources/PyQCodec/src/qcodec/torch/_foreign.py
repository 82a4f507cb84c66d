"""What bitsandbytes, torchao and lpmm quantized, as they keep it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from .._checkpoint import Checkpoint
from .._imports import block_size, holds, rank1_is_itself, scheme_of, swap_nibbles
from .._schemes import Scheme
from .._writer import Writer
from ._streams import are_streams, decoded

# What bitsandbytes' states are in torch.optim, and where it has kept them since 2026.
PLAIN = {"state1": "exp_avg", "state2": "exp_avg_sq"}
_WRAPPED = "__bnb_optimizer_quant_state__"
TORCHAO = ("OptimState8bit", "OptimState4bit", "OptimStateFp8")


def host(tensor: torch.Tensor) -> np.ndarray:
    """A tensor as an array in host memory, in C order; bfloat16 widened, for NumPy has none."""
    tensor = tensor.detach().cpu().contiguous()
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()


def is_bitsandbytes(value: Mapping, key: str) -> bool:
    names = [name + key[-1] for name in ("state", "qmap", "absmax")]
    if not all(isinstance(value.get(name), torch.Tensor) for name in names):
        return False
    state, table, scales = (value[name] for name in names)
    # The table, where it is full; block sizes follow from the number of scales.
    return state.dtype is torch.uint8 and table.dtype is torch.float32 and scales.dtype is torch.float32 \
        and table.numel() == 256 and state.numel() > 0


def lpmm_parts(packed: torch.Tensor, described: Mapping):
    """Shape, scheme, scales, codes and what is packed after them; None for what is no 4-bit state of blocks or rank-1."""
    overhead, table = described.get("overhead"), described.get("qmap")
    if not isinstance(overhead, Mapping) or not isinstance(table, torch.Tensor) or table.numel() != 16:
        return None
    if packed.dtype not in (torch.int8, torch.uint8) or packed.dim() != 1 or "scaled_shape" not in overhead:
        return None
    shape = tuple(int(length) for length in overhead["scaled_shape"])
    elements = int(np.prod(shape, dtype=np.int64))
    data = host(packed).view(np.uint8)
    # Groups of 2,048 elements, and a byte more.
    if elements == 0 or elements % 2 or data.size < elements // 2:
        return None
    table = host(table.float())
    signed = bool((table < 0).any())
    if isinstance(overhead.get("max1"), torch.Tensor):
        scales = host(overhead["max1"])
        # Groups lie one after another: (groups, size).
        if len(shape) != 2 or scales.size != shape[0] or shape[1] not in [1 << k for k in range(5, 17)]:
            return None
        scheme = scheme_of(table, signed, "block", shape[1])
        shape = (elements,)
    else:
        maxima = overhead.get("max_dims")
        if not isinstance(maxima, (list, tuple)) or not rank1_is_itself(shape):
            return None
        if [maximum.numel() for maximum in maxima] != list(shape):
            return None
        scales = np.concatenate([host(maximum).reshape(-1) for maximum in maxima])
        scheme = scheme_of(table, signed, "rank1", None)
    codes, tail = swap_nibbles(data[: elements // 2]), data[elements // 2 :]
    # Scales in half precision come back as they were from the dictionary; the stream has them exactly.
    scales = scales.reshape(-1).astype(np.float32)
    return (shape, scheme, scales, codes, tail) if scheme and holds(scheme, scales, codes) else None


def dequantized(value: Mapping) -> dict | None:
    """A parameter's state of bitsandbytes or lpmm as torch.optim has it; None for what is none of theirs."""
    if isinstance(value.get(_WRAPPED), Mapping):
        rest = {key: child for key, child in value.items() if key != _WRAPPED}
        return rest | (dequantized(value[_WRAPPED]) or dict(value[_WRAPPED]))
    schemes = value.get("schemes")
    if isinstance(schemes, Mapping) and isinstance(value.get("shape"), torch.Size):
        rest = {key: child for key, child in value.items() if key not in ("schemes", "shape")}
        return rest | decoded(value, value["shape"]) if are_streams(value, schemes) else rest
    result: dict[Any, Any] = {}
    left_out: set[str] = set()
    for key, child in value.items():
        if key in PLAIN and is_bitsandbytes(value, key):
            number = key[-1]
            codes, table, scales = (value[name + number].detach().cpu() for name in ("state", "qmap", "absmax"))
            block = block_size(codes.numel(), scales.numel())
            if block is None:
                return None
            each = scales.reshape(-1).repeat_interleave(block)[: codes.numel()].reshape(codes.shape)
            # As the format decodes: -0 becomes 0.
            result[PLAIN[key]] = table[codes.long()] * each + 0
            left_out |= {f"qmap{number}", f"absmax{number}"}
        elif key in PLAIN and isinstance(child, torch.Tensor) and child.is_floating_point():
            # A small parameter, whose state was never quantized.
            result[PLAIN[key]] = child
            left_out.add(key)
        elif isinstance(described := value.get(f"{key}_qstate"), Mapping) and isinstance(child, torch.Tensor):
            if (found := lpmm_parts(child, described)) is None:
                return None
            result[key] = torch.from_numpy(_values(*found[:4]))
            left_out.add(f"{key}_qstate")
        elif key not in left_out:
            result[key] = child
    return {key: child for key, child in result.items() if key not in left_out} if left_out else None


def _values(shape: tuple[int, ...], scheme: Scheme, scales: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """What codes and scales decode to."""
    file = io.BytesIO()
    with Writer(file, compression="none") as writer:
        writer.add_codes("values", shape, scheme, scales, codes)
    with Checkpoint(file) as checkpoint:
        return checkpoint["values"].numpy()
