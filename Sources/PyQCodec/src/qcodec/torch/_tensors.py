"""Tensors of PyTorch as the package has arrays."""

from __future__ import annotations

from typing import Any

import torch

from .._arrays import TYPES, Memory

_NAMES = {
    1: "float32", 2: "float64", 3: "float16", 4: "bfloat16", 5: "int8", 6: "int16", 7: "int32", 8: "int64", 9: "uint8",
    10: "uint16", 11: "uint32", 12: "uint64", 13: "bool", 14: "float8_e4m3fn", 15: "float8_e5m2", 16: "float8_e8m0fnu",
    17: "float8_e4m3fnuz", 18: "float8_e5m2fnuz", 19: "complex64", 20: "complex128",
}
DTYPES = {number: getattr(torch, name) for number, name in _NAMES.items() if hasattr(torch, name)}
"""PyTorch's types by the numbers that files store."""
_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}


class Torch:
    """Tensors of PyTorch, by host copies where they lie on a device or are distributed."""

    name = "torch"

    def owns(self, value: Any) -> bool:
        return isinstance(value, torch.Tensor)

    def memory(self, value: torch.Tensor) -> Memory:
        tensor = value.detach()
        if hasattr(tensor, "full_tensor"):
            tensor = tensor.full_tensor()
        if tensor.layout is not torch.strided or tensor.is_quantized:
            raise TypeError(f"tensors of layout {tensor.layout} and type {tensor.dtype} cannot be stored")
        if tensor.device.type == "meta":
            raise TypeError("tensors on the meta device have no values")
        number = _NUMBERS.get(tensor.dtype)
        if number is None:
            raise TypeError(f"tensors of {tensor.dtype} cannot be stored")
        tensor = tensor.cpu().resolve_conj().resolve_neg().contiguous()
        if tensor.numel() and not tensor.data_ptr():
            # Wrappers of several tensors, quantized ones for instance, have no memory of their own.
            raise TypeError(f"tensors of the type {type(value).__name__} cannot be stored")
        return Memory(number, tuple(tensor.shape), tensor.data_ptr(), tensor.numel() * tensor.element_size(), tensor)

    def empty(self, dtype: int, shape: tuple[int, ...]) -> tuple[torch.Tensor, Memory]:
        if dtype not in DTYPES:
            raise TypeError(f"PyTorch has no type for {TYPES[dtype][0]}")
        tensor = torch.empty(shape, dtype=DTYPES[dtype])
        return tensor, self.memory(tensor)


TORCH = Torch()
