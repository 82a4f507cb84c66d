"""Lightning's checkpoints as compressed files without pickle.

    from qcodec.lightning import QCodecCheckpointIO

    trainer = Trainer(plugins=[QCodecCheckpointIO(policy="adam8")])
    trainer.fit(model, ckpt_path="last.ckpt")

For `lightning.pytorch`, `pytorch_lightning` and Fabric. File names are Lightning's own. Strategies that do not write through
a CheckpointIO (DeepSpeed, FSDP with sharded state) are not affected.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import os
from collections.abc import Mapping
from typing import Any, TypeVar

import fsspec
import torch

from . import _save
from . import torch as _torch
from ._bounds import Bound, is_bounded
from ._errors import FormatError
from ._schemes import Policy
from ._trees import PathKey, path_text
from .torch._writer import TorchWriter, is_stateful

__all__ = ["QCodecCheckpointIO", "load_from_checkpoint"]

NOT_A_CHECKPOINT = 30
"""The library's code for a file of another kind."""

Model = TypeVar("Model")


def _interfaces() -> tuple[type, ...]:
    """The CheckpointIO of each Lightning that is installed.

    `lightning` brings `pytorch_lightning` along, and which of the two a program uses shows too late.
    """
    names = [name for name in ("lightning", "lightning_fabric") if importlib.util.find_spec(name) is not None]
    modules = {"lightning": "lightning.fabric.plugins.io.checkpoint_io"}
    names = [modules.get(name, "lightning_fabric.plugins.io.checkpoint_io") for name in names]
    if not names:
        raise ImportError("qcodec.lightning needs Lightning: pip install lightning")
    return tuple(importlib.import_module(name).CheckpointIO for name in names)


_BASES: Any = _interfaces()


class QCodecCheckpointIO(*_BASES):
    """Writes and reads a Trainer's checkpoints. AsyncCheckpointIO may wrap it; paths may be URLs.

    `policy`, `compression`, `threads`, `nonfinite`, `metadata`, and the bounds `max_abs_error`, `max_rel_error` and
    `max_update_error` with `bound_epsilon`: as `qcodec.torch.save` has them. The parameters of an optimizer are named in the
    file if it was made with `named_parameters()`. Raises `ArgumentError` for two bounds, and for one beside a policy.

    `load_foreign`: loads a checkpoint that plain Lightning wrote, by torch.load(weights_only=True); without it such a file
    is refused.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        load_foreign: bool = False,
        metadata: Mapping[str, str] | None = None,
        compression: str = "lz4",
        threads: int = 0,
        nonfinite: str = "error",
        max_abs_error: Bound | None = None,
        max_rel_error: Bound | None = None,
        max_update_error: Bound | None = None,
        bound_epsilon: float = 1e-8,
    ) -> None:
        self._policy = policy
        self._load_foreign = load_foreign
        self._metadata = metadata
        self._options: dict[str, Any] = {
            "compression": compression, "threads": threads, "nonfinite": nonfinite, "max_abs_error": max_abs_error,
            "max_rel_error": max_rel_error, "max_update_error": max_update_error, "bound_epsilon": bound_epsilon,
        }
        is_bounded(self._options, policy)

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | os.PathLike, storage_options: Any = None) -> None:
        """Saves what Lightning gathered, atomically; makes the folder.

        Raises TypeError, with the path, for what only pickle could bring back, and for `storage_options`.
        """
        if storage_options is not None:
            raise TypeError("QCodecCheckpointIO takes no storage_options: fsspec's configuration has them for URLs")
        filesystem, inner = fsspec.core.url_to_fs(os.fspath(path))
        filesystem.makedirs(os.path.dirname(inner), exist_ok=True)
        writer = _Writer(checkpoint, None, False)
        writer.keeps_apart = self._options["max_update_error"] is not None
        document = writer.document(checkpoint)
        _save(os.fspath(path), writer, document, self._policy, None, self._metadata, self._options, writer.finish)

    def load_checkpoint(
        self, path: str | os.PathLike, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Loads a checkpoint; `map_location` as torch.load has it. `weights_only` changes nothing: no code is ever run.

        Raises FileNotFoundError, and FormatError for a file of another kind, unless `load_foreign` says otherwise.
        """
        try:
            return _torch.load(os.fspath(path), map_location, threads=self._options["threads"])
        except FormatError as error:
            if error.code != NOT_A_CHECKPOINT:
                raise
            if not self._load_foreign:
                raise FormatError(
                    f"'{os.fspath(path)}' was not written by QCodecCheckpointIO ({error.message}); with"
                    " QCodecCheckpointIO(load_foreign=True) it is loaded by torch.load(weights_only=True)",
                    error.code,
                ) from None
        with fsspec.open(os.fspath(path), "rb") as file:
            return torch.load(file, map_location=map_location, weights_only=True)

    def remove_checkpoint(self, path: str | os.PathLike) -> None:
        """Removes a checkpoint, if it is there."""
        filesystem, inner = fsspec.core.url_to_fs(os.fspath(path))
        if filesystem.exists(inner):
            filesystem.rm(inner, recursive=True)


class _Writer(TorchWriter):
    """Checkpoints of Lightning, in which every object has been asked for its state already."""

    def special(self, value: Any, path: PathKey, shown: PathKey) -> Any:
        if is_stateful(value):
            raise TypeError(
                f"{path_text(path)}: {type(value).__module__}.{type(value).__qualname__} cannot be stored, only its state;"
                " leave it out by save_hyperparameters(ignore=[…])"
            )
        return super().special(value, path, shown)


def load_from_checkpoint(
    cls: type[Model], path: str | os.PathLike, map_location: Any = None, *, load_foreign: bool = False, **arguments: Any
) -> Model:
    """`cls.load_from_checkpoint` for a file of QCodecCheckpointIO, of which Lightning's own, by torch.load, knows nothing.

    `cls`: a LightningModule or LightningDataModule; `arguments` go to its method. Raises as `load_checkpoint` does.
    """
    checkpoint = QCodecCheckpointIO(load_foreign=load_foreign).load_checkpoint(path, map_location)
    # The method takes files, and only such as torch.load reads; this one never leaves memory.
    file = io.BytesIO()
    torch.save(checkpoint, file)
    file.seek(0)
    return cls.load_from_checkpoint(file, map_location=map_location, weights_only=False, **arguments)
