"""Training state of PyTorch: drop-in for torch.save and torch.load, 4 to 8 times smaller, without pickle.

    import qcodec.torch

    qcodec.torch.save({"model": model, "optimizer": optimizer, "epoch": 3}, "state.qckpt")
    state = qcodec.torch.load("state.qckpt")
    optimizer.load_state_dict(state["optimizer"])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from .. import _save
from .._bounds import Bound
from .._calls import Path
from .._checkpoint import Checkpoint
from .._matching import match, rename_keys
from .._schemes import Policy
from .._trees import Remap
from .._writer import Written
from ._reader import TorchReader
from ._tensors import DTYPES, TORCH
from ._writer import TorchWriter, is_stateful

__all__ = ["load", "save", "DTYPES", "TORCH"]


def save(
    obj: Any,
    path: Path,
    policy: Policy | None = None,
    *,
    model: torch.nn.Module | None = None,
    metadata: Mapping[str, str] | None = None,
    dequantize: bool = False,
    compression: str = "lz4",
    threads: int = 0,
    nonfinite: str = "error",
    measure_epsilon: float | None = None,
    quality: float | None = None,
    base: Path | Checkpoint | None = None,
    max_abs_error: Bound | None = None,
    max_rel_error: Bound | None = None,
    max_update_error: Bound | None = None,
    bound_epsilon: float = 1e-8,
) -> Written:
    """Saves training state: a state_dict, an optimizer, or a tree of modules, optimizers, schedulers and plain values.

    Whatever has a `state_dict` is saved as that. Parameters, step counters and everything else that `policy` does not
    quantize are stored bit for bit. With a `model`, or one in `obj`, or named parameters in an optimizer, moments are named
    after their parameters ("optimizer/state/layers.0.weight/exp_avg").

    States that bitsandbytes, torchao or lpmm quantized keep their codes and scales as they are and come back as the same
    objects; `dequantize=True` decodes them instead, and `policy` says how they are stored. `quality` as in `qcodec.save`.

    Tensors on devices and distributed ones are copied to the host; of the latter every rank makes the call, and one should
    be told apart by its path. Raises TypeError for what cannot be stored, with its path. `base`: a checkpoint that the new one
    may refer to, as that of an earlier step: see `qcodec.Writer`.

    `max_abs_error`, `max_rel_error`, `max_update_error`, `bound_epsilon`: a bound that every element keeps, as in
    `qcodec.save`. What is kept as codes, and streams of `qcodec.torch.optim`, are stored as they are under a bound too.
    """
    writer = TorchWriter(obj, model, dequantize)
    writer.keeps_apart = max_update_error is not None
    options = {
        "compression": compression, "threads": threads, "nonfinite": nonfinite, "measure_epsilon": measure_epsilon,
        "base": base, "max_abs_error": max_abs_error, "max_rel_error": max_rel_error, "max_update_error": max_update_error,
        "bound_epsilon": bound_epsilon,
    }
    return _save(path, writer, writer.document(obj), policy, quality, metadata, options, writer.finish)


def load(
    path: Path,
    map_location: Any = None,
    *,
    like: Any = None,
    remap: Remap | None = None,
    dequantize: bool = False,
    base: Path | Checkpoint | None = None,
    threads: int = 0,
) -> Any:
    """Loads what `save` saved; of a file of another writer the tensors by their names.

    `map_location`: as torch.load has it: a device, a mapping of devices, or a function of a tensor and the device it was
    saved from; None puts tensors where they were. `like`, `remap`, `base`: as `qcodec.load` has them. `dequantize=True` gives
    float32 tensors for states that other systems quantized.
    """
    with Checkpoint(path, base=base, threads=threads) as checkpoint:
        tree = TorchReader(checkpoint, map_location, dequantize).tree()
    if like is not None:
        return match(tree, _plain(like), remap, _kind)
    return tree if remap is None else rename_keys(tree, remap)


def _kind(value: Any) -> tuple[str, tuple[int, ...]] | None:
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape)
    return (value.dtype.name, value.shape) if isinstance(value, (np.ndarray, np.generic)) else None


def _plain(value: Any) -> Any:
    """State dicts in the place of what has them."""
    if is_stateful(value):
        return value.state_dict()
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items()}
    return value
