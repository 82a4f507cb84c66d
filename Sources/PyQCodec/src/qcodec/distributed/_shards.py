"""The checkpoint that one rank writes."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlanner, ReadItem, SavePlanner, WriteItem

from .._arrays import Memory
from .._checkpoint import Checkpoint
from .._errors import ArgumentError, FormatError, StorageError
from .._trees import PathKey
from ..torch._reader import TorchReader
from ..torch._tensors import DTYPES, TORCH
from ..torch._writer import TorchWriter, is_stateful
from ._index import Stored

# Writing a shard


class ShardWriter(TorchWriter):
    """The tree of a shard: {"tensors": {name: tensor}, "values": {fqn: value}}."""

    def __init__(self) -> None:
        super().__init__({}, None, False)

    def special(self, value: Any, path: PathKey, shown: PathKey) -> Any:
        # DCP has called state_dict where it does: what is left would come back as a dictionary.
        return None if is_stateful(value) else super().special(value, path, shown)

    def tensor(self, item: WriteItem, value: Any) -> dict[str, Any]:
        """The node of one item's tensor."""
        fqn, data = item.index.fqn, item.tensor_data
        if not isinstance(value, torch.Tensor) or data is None:
            raise TypeError(f"{fqn}: the planner gives a {type(value).__name__} for a tensor")
        if tuple(value.shape) != tuple(data.chunk.sizes) or value.dtype != data.properties.dtype:
            raise ArgumentError(
                f"{fqn}: the planner gives {value.dtype} {tuple(value.shape)}, its plan says {data.properties.dtype} "
                f"{tuple(data.chunk.sizes)}")
        return self.array(value, TORCH, (fqn,), (_chunk_name(fqn, data.chunk, data.size),))


def _chunk_name(fqn: str, chunk: ChunkStorageMetadata, size: Iterable[int]) -> str:
    """A shard's name. The offsets come last, so that names of moments still differ in the role alone."""
    if tuple(chunk.sizes) == tuple(size):
        return fqn
    return f"{fqn}[{','.join(map(str, chunk.offsets))}]"


def value_of(planner: SavePlanner, item: WriteItem) -> Any:
    """An item that is no tensor, before the planner pickles it."""
    lookup = getattr(planner, "lookup_object", None)
    if lookup is None:
        raise TypeError(
            f"{item.index.fqn}: {type(planner).__name__} has no lookup_object, so it gives pickled bytes alone; "
            "derive it from DefaultSavePlanner")
    return lookup(item.index)


# Reading a shard


class ShardReader(TorchReader):
    def values(self, fqns: list[str]) -> dict[str, Any]:
        """Values that are no tensors, by name."""
        try:
            nodes = dict(dict(self._root["dict"])["values"]["dict"])
            self._root = {"dict": [[fqn, nodes[fqn]] for fqn in fqns]}
        except (TypeError, KeyError, ValueError) as error:
            raise FormatError(f"the tree document has not the values that the index says: {error}", 37) from None
        return self.tree()


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Puts the path before what the library says of a file."""
    try:
        yield
    except (FormatError, StorageError) as error:
        if str(error).startswith(path):
            raise
        raise type(error)(
            error.message, error.code, tensor=error.tensor, element=error.element, offset=error.offset,
            description=f"{path}: {error}",
        ) from error


def open_shard(path: str, size: int, threads: int) -> Checkpoint:
    try:
        found = os.stat(path).st_size
    except FileNotFoundError:
        # No FileNotFoundError: that means that there is no checkpoint.
        raise FormatError(f"{path}: this shard of the checkpoint is missing", 37) from None
    if found != size:
        raise FormatError(f"{path}: the shard has {found} bytes, {size} were written", 33)
    return Checkpoint(path, threads=threads)


def read_shard(checkpoint: Checkpoint, wanted: list[tuple[ReadItem, Stored]], planner: LoadPlanner) -> None:
    values = [item for item, _ in wanted if item.type == LoadItemType.BYTE_IO]
    if values:
        loaded = ShardReader(checkpoint, None, False).values([item.storage_index.fqn for item in values])
        for item in values:
            # What the planner unpickles is made here: a file's bytes never get there.
            data = io.BytesIO()
            torch.save(loaded[item.storage_index.fqn], data)
            data.seek(0)
            planner.load_bytes(item, data)
    whole: list[tuple[int, Memory]] = []
    finished: list[tuple[ReadItem, torch.Tensor]] = []
    for item, stored in wanted:
        if item.type == LoadItemType.BYTE_IO:
            continue
        name = stored.tensor
        if name is None or name not in checkpoint:
            raise FormatError(f"there is no tensor '{name}', which the index refers to", 37)
        view = checkpoint[name]
        if view.shape != stored.sizes or DTYPES.get(view._dtype) != stored.dtype:
            raise FormatError(
                f"'{name}' is {view.dtype} {view.shape}, the index says {stored.dtype} {stored.sizes}", 37)
        target = planner.resolve_tensor(item).detach()
        if target.shape != item.lengths:
            raise ArgumentError(f"{name}: the planner gives {tuple(target.shape)} for {tuple(item.lengths)}")
        if view.shape == tuple(item.lengths) and (memory := _own_memory(target, stored.dtype)):
            whole.append((view._index, memory))
        else:
            target.copy_(_part(view, item))
        finished.append((item, target))
    # Chunks of all tensors in parallel, into their places.
    checkpoint._read(whole)
    for item, target in finished:
        planner.commit_tensor(item, target)


def _own_memory(target: torch.Tensor, dtype: torch.dtype | None) -> Memory | None:
    """The memory of a tensor that the library can write to; None where a copy is needed."""
    plain = type(target) is torch.Tensor and target.device.type == "cpu" and target.dtype == dtype
    if not plain or target.layout is not torch.strided or not target.is_contiguous():
        return None
    return None if target.is_conj() or target.is_neg() else TORCH.memory(target)


def _part(view, item: ReadItem) -> torch.Tensor:
    """The part of a stored tensor that an item wants; of the first axis only what is in it is decoded."""
    if not view.shape:
        return view.read(TORCH)
    first, count = item.storage_offsets[0], item.lengths[0]
    part = view.rows(first, first + count, TORCH)
    for axis in range(1, part.dim()):
        part = part.narrow(axis, item.storage_offsets[axis], item.lengths[axis])
    return part
