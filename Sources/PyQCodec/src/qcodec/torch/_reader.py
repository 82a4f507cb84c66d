"""Trees of PyTorch on their way out of a checkpoint."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from .._arrays import NUMPY
from .._errors import FormatError
from .._checkpoint import Checkpoint
from .._imports import swap_nibbles
from .._tree_reader import TreeReader
from ._foreign import dequantized
from ._tensors import TORCH


class TorchReader(TreeReader):
    def __init__(self, checkpoint: Checkpoint, map_location: Any, dequantize: bool) -> None:
        super().__init__(checkpoint, [TORCH, NUMPY])
        self._place = _placer(map_location)
        self._dequantize = dequantize
        self._moved: dict[int, torch.Tensor] = {}

    def finish(self, array: Any, node: dict) -> Any:
        if not isinstance(array, torch.Tensor):
            return array
        # What was one tensor stays one.
        if id(array) not in self._moved:
            moved = self._place(array, node.get("device", "cpu"))
            if "requires_grad" in node:
                moved = torch.nn.Parameter(moved, requires_grad=bool(node["requires_grad"]))
            self._moved[id(array)] = moved
        return self._moved[id(array)]

    def _value(self, node: dict) -> Any:
        value = super()._value(node)
        return (dequantized(value) or value) if self._dequantize and type(value) is dict else value

    def special_value(self, node: dict) -> Any:
        if "torch.dtype" in node:
            dtype = getattr(torch, node["torch.dtype"], None)
            if not isinstance(dtype, torch.dtype):
                raise FormatError(f"PyTorch has no type {node['torch.dtype']!r}", 37)
            return dtype
        if "torch.device" in node:
            return torch.device(node["torch.device"])
        if "torch.Size" in node:
            return torch.Size(node["torch.Size"])
        if "stream" in node:
            view = self._checkpoint[node["stream"]]
            if self._dequantize:
                return self._values(node["stream"], node)
            return torch.from_numpy(view.stream())
        if "torchao" in node:
            return self._torchao(node)
        if "lpmm" in node:
            return self._lpmm(node)
        value = super().special_value(node)
        return self._tensor(value, node) if isinstance(value, np.ndarray) else value

    def _tensor(self, array: np.ndarray, node: dict) -> torch.Tensor:
        return self._place(torch.from_numpy(np.array(array)), node.get("device", "cpu"))

    def _values(self, name: str, node: dict) -> torch.Tensor:
        return self._place(self._checkpoint[name].read(TORCH), node.get("device", "cpu"))

    def _torchao(self, node: dict) -> torch.Tensor:
        if self._dequantize:
            return self._values(node["of"], node)
        try:
            from torchao.optim import subclass_4bit, subclass_8bit, subclass_fp8
        except ImportError:
            raise ImportError("this state is torchao's: pip install torchao, or load it with dequantize=True") from None
        view = self._checkpoint[node["of"]]
        scales, codes, table = (self._tensor(part, node) for part in self.part(node["of"]))
        dtype, signed = getattr(torch, node["dtype"]), bool(node["signed"])
        if node["torchao"] == "OptimState8bit":
            return subclass_8bit.OptimState8bit(codes.view(view.shape), scales, table, signed, dtype)
        if node["torchao"] == "OptimState4bit":
            return subclass_4bit.OptimState4bit(codes, scales, table, signed, torch.Size(view.shape), dtype)
        return subclass_fp8.OptimStateFp8(codes.view(torch.float8_e4m3fn).view(view.shape), scales, dtype)

    def _lpmm(self, node: dict) -> torch.Tensor:
        _, codes, _ = self.part(node["lpmm"])
        packed = np.concatenate([swap_nibbles(codes), np.frombuffer(bytes.fromhex(node["tail"]), np.uint8)])
        return self._tensor(packed, node).view(getattr(torch, node["dtype"]))


def _placer(map_location: Any) -> Callable[[torch.Tensor, str], torch.Tensor]:
    """Where a tensor goes, as torch.load decides it."""
    if map_location is None:
        return lambda tensor, device: tensor if device == "cpu" else _moved(tensor, device)
    if isinstance(map_location, (str, torch.device)):
        return lambda tensor, _: tensor.to(map_location)
    if isinstance(map_location, Mapping):
        return lambda tensor, device: tensor.to(map_location.get(device, device))
    return functools.partial(_placed_by, map_location)


def _placed_by(function: Callable, tensor: torch.Tensor, device: str) -> torch.Tensor:
    placed = function(tensor, device)
    return _moved(tensor, device) if placed is None else placed


def _moved(tensor: torch.Tensor, device: str) -> torch.Tensor:
    try:
        return tensor.to(device)
    except (RuntimeError, AssertionError) as error:
        raise RuntimeError(
            f"a tensor was saved from {device}, which is not here; load with map_location='cpu' ({error})"
        ) from None
