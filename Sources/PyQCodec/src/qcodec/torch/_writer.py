"""Trees of PyTorch on their way into a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from .._arrays import NUMPY
from .._imports import Coded, Import, block_size, float8_e4m3_table, holds, named_role, scheme_of
from .._schemes import Scheme
from .._trees import PathKey, TreeWriter
from ._foreign import PLAIN, TORCHAO, dequantized, host, is_bitsandbytes, lpmm_parts
from ._streams import are_streams
from ._tensors import TORCH


def is_stateful(value: Any) -> bool:
    return callable(getattr(value, "state_dict", None)) and not isinstance(value, (torch.Tensor, Mapping))


class TorchWriter(TreeWriter):
    """Trees with modules, optimizers, tensors, and states that other systems quantized."""

    def __init__(self, obj: Any, model: torch.nn.Module | None, dequantize: bool) -> None:
        self._names_by_path: dict[PathKey, str] = {}
        super().__init__([TORCH, NUMPY], self._names_by_path.get)
        self._dequantize = dequantize
        self._parameters = parameter_names(obj, model)
        self.imports: list[Import | Coded] = []

    def finish(self, writer) -> None:
        for found in self.imports:
            found.add_to(writer)

    def special(self, value: Any, path: PathKey, shown: PathKey) -> Any:
        if is_stateful(value):
            names = optimizer_names(value, self._parameters) if hasattr(value, "param_groups") else None
            return self._state_dict(value.state_dict(), names, path, shown)
        if isinstance(value, Mapping) and set(value) == {"state", "param_groups"}:
            return self._state_dict(value, None, path, shown)
        if isinstance(value, torch.dtype):
            return {"torch.dtype": str(value).removeprefix("torch.")}
        if isinstance(value, torch.device):
            return {"torch.device": str(value)}
        if isinstance(value, torch.Size):
            return {"torch.Size": list(value)}
        if isinstance(value, torch.Tensor):
            return self._tensor(value, path, shown)
        if isinstance(value, Mapping):
            if self._dequantize and (plain := dequantized(value)) is not None:
                return self.node(plain, path, shown)
            return (
                self._coded(value, path, shown) or self._bitsandbytes(value, path, shown) or self._lpmm(value, path, shown))
        return None

    def _tensor(self, value: torch.Tensor, path: PathKey, shown: PathKey) -> dict[str, Any]:
        if type(value).__name__ in TORCHAO and type(value).__module__.startswith("torchao."):
            if self._dequantize:
                # As the format decodes: -0 becomes 0.
                value = value.dequantize() + 0
            elif node := self._torchao(value, path, shown):
                return node
        node = self.array(value, TORCH, path, shown)
        if value.device.type != "cpu":
            node["device"] = str(value.device)
        if isinstance(value, torch.nn.Parameter):
            node["requires_grad"] = value.requires_grad
        return node

    def _state_dict(self, value: Mapping, names: list[str] | None, path: PathKey, shown: PathKey) -> Any:
        """A state_dict; with the names of an optimizer's parameters, which its groups may have too."""
        groups = value.get("param_groups") if isinstance(value, Mapping) else None
        if isinstance(groups, list) and all(isinstance(group, Mapping) for group in groups):
            indices = [index for group in groups for index in group.get("params", ())]
            known = [name for group in groups for name in group.get("param_names", ())]
            for index, name in zip(indices, names or known if len(names or known) == len(indices) else ()):
                self._names_by_path[(*path, "state", str(index))] = str(name)
        return self._mapping(value, path, shown)

    # States of other systems

    def _add_import(
        self, shown: PathKey, shape: tuple[int, ...], scheme, scales: np.ndarray, codes: np.ndarray, role: str
    ) -> str:
        name = self.unused_name(shown)
        self.imports.append(Import(name, shape, scheme, scales, codes, role))
        return name

    def _coded(self, value: Mapping, path: PathKey, shown: PathKey) -> Any:
        """A parameter's state of qcodec.torch.optim: its streams are tensors of their schemes."""
        schemes, shape = value.get("schemes"), value.get("shape")
        if not isinstance(schemes, Mapping) or not isinstance(shape, torch.Size) or not are_streams(value, schemes):
            return None
        found = {}
        for key, document in schemes.items():
            scheme = Scheme(**json.loads(document))
            name = self.unused_name((*shown, key))
            role = "first_moment" if key == "exp_avg" else "momentum" if scheme.signed else "second_moment"
            found[key] = (name, scheme, host(value[key]), role)
        left = dict(found)
        for key, moment in found.items():
            if moment[1].domain == "update":
                second = next(other for other in left if left[other][1].signed is False)
                self.imports.append(Coded(tuple(shape), left.pop(key), left.pop(second)))
        self.imports += [Coded(tuple(shape), moment) for moment in left.values()]
        items = []
        for key, child in value.items():
            node = {"stream": found[key][0]} if key in found else self.node(child, (*path, str(key)), (*shown, str(key)))
            items.append([key, node])
        return {"dict": items}

    def _bitsandbytes(self, value: Mapping, path: PathKey, shown: PathKey) -> Any:
        """A parameter's state with state1, qmap1, absmax1 (and so on): the three become the parts of one stream."""
        states = [key for key in PLAIN if is_bitsandbytes(value, key)]
        if not states:
            return None
        parts: dict[str, Any] = {}
        for key in states:
            number = key[-1]
            codes, table, scales = (host(value[name + number]) for name in ("state", "qmap", "absmax"))
            scheme = None
            if (block := block_size(codes.size, scales.size)) is not None:
                scheme = scheme_of(table, bool((table < 0).any()), "block", block)
            # AdEMAMix keeps two states in one array, each with blocks of its own.
            aligned = scales.ndim == 1 or (codes.size // len(scales)) % (block or 1) == 0
            if scheme is None or not aligned or not holds(scheme, scales, codes.reshape(-1)):
                continue
            name = self._add_import(
                (*shown, key), codes.shape, scheme, scales.reshape(-1), codes, named_role(key, len(states) > 1))
            parts[key] = {"codes": name}
            parts[f"qmap{number}"] = {"table": name}
            parts[f"absmax{number}"] = {"scales": name, "shape": list(scales.shape)}
        items = []
        for key, child in value.items():
            items.append([key, parts[key] if key in parts else self.node(child, (*path, str(key)), (*shown, str(key)))])
        return {"dict": items} if parts else None

    def _torchao(self, value: torch.Tensor, path: PathKey, shown: PathKey) -> Any:
        kind = type(value).__name__
        codes, scales = value.codes, host(value.scale)
        codes = host(codes.view(torch.uint8)).reshape(-1)
        elements = codes.size * 2 if kind == "OptimState4bit" else codes.size
        table = float8_e4m3_table() if kind == "OptimStateFp8" else host(value.qmap)
        signed = True if kind == "OptimStateFp8" else value.signed
        block = block_size(elements, scales.size)
        scheme = scheme_of(table, signed, "block", block) if block else None
        if scheme is None or scales.dtype != np.float32 or not holds(scheme, scales, codes):
            return None
        role = named_role(path[-1] if path else "", True)
        name = self._add_import(shown, tuple(value.shape), scheme, scales, codes, role)
        node = {"torchao": kind, "of": name, "signed": signed, "dtype": str(value.dtype).removeprefix("torch.")}
        if value.device.type != "cpu":
            node["device"] = str(value.device)
        return node

    def _lpmm(self, value: Mapping, path: PathKey, shown: PathKey) -> Any:
        """A parameter's state with exp_avg and exp_avg_qstate (and so on)."""
        parts: dict[str, Any] = {}
        for key in value:
            described = value.get(f"{key}_qstate") if isinstance(key, str) else None
            if not isinstance(described, Mapping) or not isinstance(value[key], torch.Tensor):
                continue
            found = lpmm_parts(value[key], described)
            if found is None:
                continue
            shape, scheme, scales, codes, tail = found
            name = self._add_import((*shown, key), shape, scheme, scales, codes, named_role(key, True))
            parts[key] = {"lpmm": name, "tail": tail.tobytes().hex(), "dtype": str(value[key].dtype).removeprefix("torch.")}
        if not parts:
            return None
        return {
            "dict": [
                [key, parts[key] if key in parts else self.node(child, (*path, str(key)), (*shown, str(key)))]
                for key, child in value.items()
            ]
        }


# Names of parameters


def parameter_names(obj: Any, model: torch.nn.Module | None) -> dict[int, str]:
    """Names by parameters' identities, of the model or of the modules in a tree."""
    modules: list[torch.nn.Module] = [model] if model is not None else []

    def look(value: Any) -> None:
        if isinstance(value, torch.nn.Module):
            modules.append(value)
        elif isinstance(value, Mapping):
            for child in value.values():
                look(child)
        elif isinstance(value, (list, tuple)):
            for child in value:
                look(child)

    if model is None:
        look(obj)
    return {id(parameter): name for module in modules for name, parameter in module.named_parameters()}


def optimizer_names(optimizer: Any, parameters: dict[int, str]) -> list[str] | None:
    """Names in the order in which a state_dict numbers parameters; None where one is unknown."""
    found = [parameters.get(id(parameter)) for group in optimizer.param_groups for parameter in group["params"]]
    names = [name for name in found if name is not None]
    return names if names and len(names) == len(found) else None
