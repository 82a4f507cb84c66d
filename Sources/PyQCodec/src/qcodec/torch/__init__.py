"""Training state of PyTorch: drop-in for torch.save and torch.load, 4 to 8 times smaller, without pickle.

    import qcodec.torch

    qcodec.torch.save({"model": model, "optimizer": optimizer, "epoch": 3}, "state.qckpt")
    state = qcodec.torch.load("state.qckpt")
    optimizer.load_state_dict(state["optimizer"])
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from .. import _save
from .._arrays import NUMPY, TYPES, Memory
from .._errors import FormatError
from .._files import Checkpoint, Path, Writer, Written
from .._imports import (
    Coded, Import, block_size, float8_e4m3_table, holds, named_role, rank1_is_itself, scheme_of, swap_nibbles,
)
from .._schemes import Policy, Scheme
from .._trees import PathKey, Remap, TreeReader, TreeWriter, match, rename_keys
from ._streams import decoded

__all__ = ["load", "save", "DTYPES", "TORCH"]

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


def save(
    obj: Any,
    path: Path,
    policy: Policy = "adam8",
    *,
    model: torch.nn.Module | None = None,
    metadata: Mapping[str, str] | None = None,
    dequantize: bool = False,
    compression: str = "lz4",
    threads: int = 0,
    nonfinite: str = "error",
    measure_epsilon: float | None = None,
) -> Written:
    """Saves training state: a state_dict, an optimizer, or a tree of modules, optimizers, schedulers and plain values.

    Whatever has a `state_dict` is saved as that. Parameters, step counters and everything else that `policy` does not
    quantize are stored bit for bit. With a `model`, or one in `obj`, or named parameters in an optimizer, moments are named
    after their parameters ("optimizer/state/layers.0.weight/exp_avg").

    States that bitsandbytes, torchao or lpmm quantized keep their codes and scales as they are and come back as the same
    objects; `dequantize=True` decodes them instead, and `policy` says how they are stored.

    Tensors on devices and distributed ones are copied to the host; of the latter every rank makes the call, and one should
    be told apart by its path. Raises TypeError for what cannot be stored, with its path.
    """
    writer = _TorchWriter(obj, model, dequantize)
    options = {
        "compression": compression, "threads": threads, "nonfinite": nonfinite, "measure_epsilon": measure_epsilon,
    }
    return _save(path, writer, writer.document(obj), policy, metadata, options, writer.finish)


def load(
    path: Path,
    map_location: Any = None,
    *,
    like: Any = None,
    remap: Remap | None = None,
    dequantize: bool = False,
    threads: int = 0,
) -> Any:
    """Loads what `save` saved; of a file of another writer the tensors by their names.

    `map_location`: as torch.load has it: a device, a mapping of devices, or a function of a tensor and the device it was
    saved from; None puts tensors where they were. `like`, `remap`: as `qcodec.load` has them. `dequantize=True` gives
    float32 tensors for states that other systems quantized.
    """
    with Checkpoint(path, threads=threads) as checkpoint:
        tree = _TorchReader(checkpoint, map_location, dequantize).tree()
    if like is not None:
        return match(tree, _plain(like), remap, _kind)
    return tree if remap is None else rename_keys(tree, remap)


def _kind(value: Any) -> tuple[str, tuple[int, ...]] | None:
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape)
    return (value.dtype.name, value.shape) if isinstance(value, (np.ndarray, np.generic)) else None


def _is_stateful(value: Any) -> bool:
    return callable(getattr(value, "state_dict", None)) and not isinstance(value, (torch.Tensor, Mapping))


def _plain(value: Any) -> Any:
    """State dicts in the place of what has them."""
    if _is_stateful(value):
        return value.state_dict()
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items()}
    return value


class _TorchWriter(TreeWriter):
    """Trees with modules, optimizers, tensors, and states that other systems quantized."""

    def __init__(self, obj: Any, model: torch.nn.Module | None, dequantize: bool) -> None:
        self._names_by_path: dict[PathKey, str] = {}
        super().__init__([TORCH, NUMPY], self._names_by_path.get)
        self._dequantize = dequantize
        self._parameters = _parameter_names(obj, model)
        self.imports: list[Import | Coded] = []

    def finish(self, writer) -> None:
        for found in self.imports:
            found.add_to(writer)

    def special(self, value: Any, path: PathKey, shown: PathKey) -> Any:
        if _is_stateful(value):
            names = _optimizer_names(value, self._parameters) if hasattr(value, "param_groups") else None
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
            if self._dequantize and (plain := _dequantized(value)) is not None:
                return self.node(plain, path, shown)
            return (
                self._coded(value, path, shown) or self._bitsandbytes(value, path, shown) or self._lpmm(value, path, shown))
        return None

    def _tensor(self, value: torch.Tensor, path: PathKey, shown: PathKey) -> dict[str, Any]:
        if type(value).__name__ in _TORCHAO and type(value).__module__.startswith("torchao."):
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
        if not isinstance(schemes, Mapping) or not isinstance(shape, torch.Size) or not _are_streams(value, schemes):
            return None
        found = {}
        for key, document in schemes.items():
            scheme = Scheme(**json.loads(document))
            name = self.unused_name((*shown, key))
            role = "first_moment" if key == "exp_avg" else "momentum" if scheme.signed else "second_moment"
            found[key] = (name, scheme, _host(value[key]), role)
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
        states = [key for key in _PLAIN if _is_bitsandbytes(value, key)]
        if not states:
            return None
        parts: dict[str, Any] = {}
        for key in states:
            number = key[-1]
            codes, table, scales = (_host(value[name + number]) for name in ("state", "qmap", "absmax"))
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
        codes, scales = value.codes, _host(value.scale)
        codes = _host(codes.view(torch.uint8)).reshape(-1)
        elements = codes.size * 2 if kind == "OptimState4bit" else codes.size
        table = float8_e4m3_table() if kind == "OptimStateFp8" else _host(value.qmap)
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
            found = _lpmm_parts(value[key], described)
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


# What bitsandbytes' states are in torch.optim, and where it has kept them since 2026.
_PLAIN = {"state1": "exp_avg", "state2": "exp_avg_sq"}
_WRAPPED = "__bnb_optimizer_quant_state__"
_TORCHAO = ("OptimState8bit", "OptimState4bit", "OptimStateFp8")


def _are_streams(value: Mapping, schemes: Mapping) -> bool:
    return bool(schemes) and all(
        isinstance(value.get(key), torch.Tensor) and value[key].dtype == torch.uint8 and value[key].dim() == 1
        for key in schemes)


def _host(tensor: torch.Tensor) -> np.ndarray:
    """A tensor as an array in host memory, in C order; bfloat16 widened, for NumPy has none."""
    tensor = tensor.detach().cpu().contiguous()
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()


def _is_bitsandbytes(value: Mapping, key: str) -> bool:
    names = [name + key[-1] for name in ("state", "qmap", "absmax")]
    if not all(isinstance(value.get(name), torch.Tensor) for name in names):
        return False
    state, table, scales = (value[name] for name in names)
    # The table, where it is full; block sizes follow from the number of scales.
    return state.dtype is torch.uint8 and table.dtype is torch.float32 and scales.dtype is torch.float32 \
        and table.numel() == 256 and state.numel() > 0


def _lpmm_parts(packed: torch.Tensor, described: Mapping):
    """Shape, scheme, scales, codes and what is packed after them; None for what is no 4-bit state of blocks or rank-1."""
    overhead, table = described.get("overhead"), described.get("qmap")
    if not isinstance(overhead, Mapping) or not isinstance(table, torch.Tensor) or table.numel() != 16:
        return None
    if packed.dtype not in (torch.int8, torch.uint8) or packed.dim() != 1 or "scaled_shape" not in overhead:
        return None
    shape = tuple(int(length) for length in overhead["scaled_shape"])
    elements = int(np.prod(shape, dtype=np.int64))
    data = _host(packed).view(np.uint8)
    # Groups of 2,048 elements, and a byte more.
    if elements == 0 or elements % 2 or data.size < elements // 2:
        return None
    table = _host(table.float())
    signed = bool((table < 0).any())
    if isinstance(overhead.get("max1"), torch.Tensor):
        scales = _host(overhead["max1"])
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
        scales = np.concatenate([_host(maximum).reshape(-1) for maximum in maxima])
        scheme = scheme_of(table, signed, "rank1", None)
    codes, tail = swap_nibbles(data[: elements // 2]), data[elements // 2 :]
    # Scales in half precision come back as they were from the dictionary; the stream has them exactly.
    scales = scales.reshape(-1).astype(np.float32)
    return (shape, scheme, scales, codes, tail) if scheme and holds(scheme, scales, codes) else None


def _dequantized(value: Mapping) -> dict | None:
    """A parameter's state of bitsandbytes or lpmm as torch.optim has it; None for what is none of theirs."""
    if isinstance(value.get(_WRAPPED), Mapping):
        rest = {key: child for key, child in value.items() if key != _WRAPPED}
        return rest | (_dequantized(value[_WRAPPED]) or dict(value[_WRAPPED]))
    schemes = value.get("schemes")
    if isinstance(schemes, Mapping) and isinstance(value.get("shape"), torch.Size):
        rest = {key: child for key, child in value.items() if key not in ("schemes", "shape")}
        return rest | decoded(value, value["shape"]) if _are_streams(value, schemes) else rest
    result: dict[Any, Any] = {}
    left_out: set[str] = set()
    for key, child in value.items():
        if key in _PLAIN and _is_bitsandbytes(value, key):
            number = key[-1]
            codes, table, scales = (value[name + number].detach().cpu() for name in ("state", "qmap", "absmax"))
            block = block_size(codes.numel(), scales.numel())
            if block is None:
                return None
            each = scales.reshape(-1).repeat_interleave(block)[: codes.numel()].reshape(codes.shape)
            # As the format decodes: -0 becomes 0.
            result[_PLAIN[key]] = table[codes.long()] * each + 0
            left_out |= {f"qmap{number}", f"absmax{number}"}
        elif key in _PLAIN and isinstance(child, torch.Tensor) and child.is_floating_point():
            # A small parameter, whose state was never quantized.
            result[_PLAIN[key]] = child
            left_out.add(key)
        elif isinstance(described := value.get(f"{key}_qstate"), Mapping) and isinstance(child, torch.Tensor):
            if (found := _lpmm_parts(child, described)) is None:
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


# Names of parameters


def _parameter_names(obj: Any, model: torch.nn.Module | None) -> dict[int, str]:
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


def _optimizer_names(optimizer: Any, parameters: dict[int, str]) -> list[str] | None:
    """Names in the order in which a state_dict numbers parameters; None where one is unknown."""
    found = [parameters.get(id(parameter)) for group in optimizer.param_groups for parameter in group["params"]]
    names = [name for name in found if name is not None]
    return names if names and len(names) == len(found) else None


# Loading


class _TorchReader(TreeReader):
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
        return (_dequantized(value) or value) if self._dequantize and type(value) is dict else value

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
