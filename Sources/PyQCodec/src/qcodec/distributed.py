"""Storage of torch.distributed.checkpoint: each rank writes a checkpoint of its shards, one JSON index joins them.

    import torch.distributed.checkpoint as dcp
    from qcodec.distributed import QCodecStorageReader, QCodecStorageWriter

    dcp.save(state, storage_writer=QCodecStorageWriter("run/step-1000"))
    dcp.load(state, storage_reader=QCodecStorageReader("run/step-1000"))

A checkpoint loads on any number of ranks and under other placements. Neither side pickles: values that are no tensors
are stored as documents. A save that fails leaves the former checkpoint as it was.

What one rank raises DCP raises on all, as a CheckpointException; its `failures` has each rank's own error.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import io
import json
import math
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import (
    LoadItemType,
    LoadPlan,
    LoadPlanner,
    ReadItem,
    SavePlan,
    SavePlanner,
    WriteItem,
    WriteItemType,
)
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

from ._arrays import Memory
from ._errors import ArgumentError, FormatError, StorageError
from ._files import Checkpoint, Writer
from ._remote import is_url
from ._replacing import SUFFIX, flush_folder, remove_if_left, replacing
from ._schemes import Policy
from ._trees import MEMBER, VERSION as TREE_VERSION, PathKey
from .torch._reader import TorchReader
from .torch._tensors import DTYPES, TORCH
from .torch._writer import TorchWriter, is_stateful

__all__ = ["INDEX", "QCodecStorageReader", "QCodecStorageWriter"]

INDEX = "qcodec.json"
"""The name of the index. A folder without it holds no checkpoint."""
_FORMAT = "qcodec.distributed"
_VERSION = 1

_SHARD = r"__[0-9]+_[0-9a-f]{32}\.qckpt"
# Files of unfinished saves: shards that no index names, and what a killed process was writing.
_OURS = re.compile(rf"{_SHARD}|\.(?:{_SHARD}|{re.escape(INDEX)})\.[0-9a-f]{{16}}{re.escape(SUFFIX)}")
_DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES.values()}


@dataclasses.dataclass(frozen=True)
class _Stored:
    """Where an item of the checkpoint lies. Values that are no tensors have no `tensor`, dropped ones neither."""

    file: str
    file_bytes: int
    tensor: str | None
    sizes: tuple[int, ...] | None = None
    dtype: torch.dtype | None = None


@dataclasses.dataclass(frozen=True)
class _Held:
    """The moments that a rank has, among them those that another rank will write."""

    moments: frozenset[MetadataIndex]


class QCodecStorageWriter(StorageWriter):
    """Writes a checkpoint of torch.distributed.checkpoint into a local folder that all ranks share.

    `policy`, `metadata`, `compression`, `threads`, `nonfinite`: as `qcodec.save` has them; the policy sees each rank's
    shards as tensors. `threads` counts for each rank; 0 takes all cores. With `overwrite=False` a checkpoint in the
    folder is refused with FileExistsError. A rank holds its shards in host memory while it writes.

    Values that are no tensors must be plain: numbers, text, None, lists, tuples, dictionaries, dtypes, devices; others
    raise TypeError with their names. What the policy drops is not in the checkpoint.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        policy: Policy = "adam8",
        *,
        metadata: Mapping[str, str] | None = None,
        compression: str = "lz4",
        threads: int = 0,
        nonfinite: str = "error",
        overwrite: bool = True,
    ) -> None:
        super().__init__()
        self.path = _folder(path)
        self.policy = policy
        self.metadata = dict(metadata or {})
        self.compression = compression
        self.threads = threads
        self.nonfinite = nonfinite
        self.overwrite = overwrite
        self._rank = 0
        self._is_coordinator = True
        self._save_id = uuid.uuid4().hex

    @property
    def checkpoint_id(self) -> str:
        """The folder."""
        return self.path

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike) -> bool:
        """Whether it is a path; URLs are not."""
        return isinstance(checkpoint_id, (str, os.PathLike)) and not is_url(checkpoint_id)

    def reset(self, checkpoint_id: str | os.PathLike | None = None) -> None:
        if checkpoint_id:
            self.path = _folder(checkpoint_id)

    def storage_meta(self) -> StorageMeta:
        return StorageMeta(checkpoint_id=self.path, save_id=self._save_id)

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Raises ArgumentError for saves without collectives: nobody would know of all shards."""
        if not kwargs.get("use_collectives", True):
            raise ArgumentError("use_collectives=False: the index is written by the rank that knows of all shards")
        self._is_coordinator = is_coordinator
        self._rank = kwargs.get("rank") or 0
        self._save_id = uuid.uuid4().hex

    # Planning

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        if self._is_coordinator and not self.overwrite and os.path.lexists(os.path.join(self.path, INDEX)):
            raise FileExistsError(errno.EEXIST, "there is a checkpoint, and overwrite is False", self.path)
        _make_folder(self.path)
        moments = frozenset(item.index for item in plan.items if item.tensor_data and _pair(item.index.fqn))
        return dataclasses.replace(plan, storage_data=_Held(moments))

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        # No rank writes before it has its part of the plan: what lies here now is of saves that failed.
        with contextlib.suppress(FormatError, OSError):
            _clean(self.path, _files_of(self.path))
        return _join_pairs(plans)

    # Writing

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Writes this rank's shard.

        Raises TypeError for what cannot be stored, `EncodeError` for what a scheme cannot hold.
        """
        future: Future[list[WriteResult]] = Future()
        future.set_result(self._write(plan.items, planner) if plan.items else [])
        return future

    def _write(self, items: list[WriteItem], planner: SavePlanner) -> list[WriteResult]:
        # A name of its own for each shard: nothing that an index refers to is ever written over.
        file = f"__{self._rank}_{uuid.uuid4().hex}.qckpt"
        tree = _ShardWriter()
        names: dict[MetadataIndex, str] = {}
        tensors, values = [], []
        for item in items:
            if item.type == WriteItemType.BYTE_IO:
                values.append([item.index.fqn, tree.node(_value(planner, item), (item.index.fqn,))])
                continue
            node = tree.tensor(item, planner.resolve_data(item))
            names[item.index] = node["tensor"]
            tensors.append([node["tensor"], node])
        with Writer(
            os.path.join(self.path, file), compression=self.compression, threads=self.threads, nonfinite=self.nonfinite
        ) as writer:
            dropped = set(writer._add(tree.arrays, self.policy))
            tree.finish(writer)
            root = {"dict": [["tensors", {"dict": tensors}], ["values", {"dict": values}]]}
            writer.set_member(MEMBER, {"version": TREE_VERSION, "arrays": TORCH.name, "root": root})
            if self.metadata:
                writer.set_metadata(self.metadata)
            written = writer.commit()
        results = []
        for item in items:
            stored = _Stored(file, written.file_bytes, None)
            size = 0
            if item.tensor_data is not None:
                name, data = names[item.index], item.tensor_data
                sizes, dtype = tuple(data.chunk.sizes), data.properties.dtype
                stored = dataclasses.replace(
                    stored, tensor=None if name in dropped else name, sizes=sizes, dtype=dtype)
                size = math.prod(sizes) * dtype.itemsize
            results.append(WriteResult(index=item.index, size_in_bytes=size, storage_data=stored))
        return results

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Puts the index in place, and deletes what belonged to the former checkpoint.

        Raises `StorageError` where a rank's shard is not in the folder: it is another folder there, or another save has
        deleted it.
        """
        metadata.storage_data = {result.index: result.storage_data for part in results for result in part}
        metadata.storage_meta = self.storage_meta()
        document = _document(metadata, self.metadata)
        for file in document["files"]:
            path = os.path.join(self.path, file["name"])
            if not os.path.exists(path):
                raise StorageError(f"{path}: a rank has written this shard, but not into this folder", 80)
        _write_index(self.path, document)
        # The save is done; what cannot be deleted now the next one finds.
        with contextlib.suppress(OSError):
            _clean(self.path, {file["name"] for file in document["files"]})


class QCodecStorageReader(StorageReader):
    """Reads what `QCodecStorageWriter` wrote, on any number of ranks.

    A rank opens the shards that it needs, and of a tensor decodes the rows that it needs. Tensors are read into those of
    the state dict that is loaded, of whatever type and device these are. Raises FileNotFoundError where there is no
    checkpoint, `FormatError` with the file's path where it is damaged, incomplete or of another kind.
    """

    def __init__(self, path: str | os.PathLike, *, threads: int = 0) -> None:
        super().__init__()
        self.path = _folder(path)
        self.threads = threads
        self._storage: dict[MetadataIndex, _Stored] = {}
        self._failure: Exception | None = None

    @property
    def checkpoint_id(self) -> str:
        """The folder."""
        return self.path

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike) -> bool:
        """Whether it is a path; URLs are not."""
        return QCodecStorageWriter.validate_checkpoint_id(checkpoint_id)

    def reset(self, checkpoint_id: str | os.PathLike | None = None) -> None:
        if checkpoint_id:
            self.path = _folder(checkpoint_id)
        self._storage = {}

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Reads and checks the index."""
        self._failure = None
        try:
            metadata = _metadata(self.path, _read_index(self.path))
        except Exception as error:
            if "rank" not in kwargs:
                raise
            # DCP hides what the first call raises and asks for metadata of this rank: set_up_storage_reader raises it.
            self._failure = error
            return Metadata({}, storage_meta=StorageMeta())
        metadata.storage_meta.load_id = uuid.uuid4().hex
        return metadata

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        self._storage = metadata.storage_data

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Reads the items of a plan."""
        shards: dict[_Shard, list[tuple[ReadItem, _Stored]]] = {}
        for item in plan.items:
            stored = self._storage.get(item.storage_index)
            if stored is None:
                raise FormatError(f"{self.path}: the index has no part of '{item.storage_index.fqn}' at its offset", 37)
            shards.setdefault((stored.file, stored.file_bytes), []).append((item, stored))
        for (file, size), wanted in shards.items():
            path = os.path.join(self.path, file)
            with _naming(path), _open_shard(path, size, self.threads) as checkpoint:
                _read_shard(checkpoint, wanted, planner)
        future: Future[None] = Future()
        future.set_result(None)
        return future


_Shard = tuple[str, int]


# Writing a shard


class _ShardWriter(TorchWriter):
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


def _value(planner: SavePlanner, item: WriteItem) -> Any:
    """An item that is no tensor, before the planner pickles it."""
    lookup = getattr(planner, "lookup_object", None)
    if lookup is None:
        raise TypeError(
            f"{item.index.fqn}: {type(planner).__name__} has no lookup_object, so it gives pickled bytes alone; "
            "derive it from DefaultSavePlanner")
    return lookup(item.index)


# Keeping pairs in one file

# Names of moments, as the library knows them: endings of a component, and whole components.
_ENDING = re.compile(
    r"(?:^|(?<=[_-]))(?:exp_avg(?:_sq)?s?|exp_avg_slow|exp_avg_fast|grad_avg|square_avgs?|first_moment|second_moment)$")
_WHOLE = frozenset(
    ["m", "v", "mu", "nu", "state1", "state2", "momentum", "velocity", "moment1", "moment2", "adam_m", "adam_v"])


def _pair(fqn: str) -> str | None:
    """What the names of a first moment and its second have in common; None for what is no moment."""
    components = fqn.split(".")
    common = ["*" if component in _WHOLE else _ENDING.sub("*", component) for component in components]
    return ".".join(common) if common != components else None


def _join_pairs(plans: list[SavePlan]) -> list[SavePlan]:
    """Plans in which the moments of a parameter, or of one shard of it, are written by one rank.

    Of what several ranks hold, replicated tensors for instance, DCP deals each to one of them. A first moment is stored
    in units of its second, which has to be in the same file.
    """
    held = [plan.storage_data.moments if isinstance(plan.storage_data, _Held) else frozenset() for plan in plans]
    plans = [dataclasses.replace(plan, storage_data=None) for plan in plans]
    # An unusable plan stands for one that its rank has kept, and that is not to be seen from here.
    if not all(plan.usable for plan in plans):
        return plans
    loads = [sum(map(_bytes, plan.items)) for plan in plans]
    groups: dict[tuple[str, tuple[int, ...]], list[tuple[int, WriteItem]]] = {}
    for rank, plan in enumerate(plans):
        for item in plan.items:
            if item.tensor_data and (pair := _pair(item.index.fqn)):
                groups.setdefault((pair, tuple(item.index.offset or ())), []).append((rank, item))
    moves: dict[MetadataIndex, int] = {}
    for members in groups.values():
        holders = [rank for rank in range(len(plans)) if all(item.index in held[rank] for _, item in members)]
        if len({rank for rank, _ in members}) == 1 or not holders:
            continue
        for rank, item in members:
            loads[rank] -= _bytes(item)
        target = min(holders, key=loads.__getitem__)
        for rank, item in members:
            loads[target] += _bytes(item)
            moves[item.index] = target
    if not moves:
        return plans
    items: list[list[WriteItem]] = [[] for _ in plans]
    for rank, plan in enumerate(plans):
        for item in plan.items:
            items[moves.get(item.index, rank)].append(item)
    return [dataclasses.replace(plan, items=part) for plan, part in zip(plans, items)]


def _bytes(item: WriteItem) -> int:
    data = item.tensor_data
    return 0 if data is None else math.prod(data.chunk.sizes) * data.properties.dtype.itemsize


# Reading a shard


class _ShardReader(TorchReader):
    def values(self, fqns: list[str]) -> dict[str, Any]:
        """Values that are no tensors, by name."""
        try:
            nodes = dict(dict(self._root["dict"])["values"]["dict"])
            self._root = {"dict": [[fqn, nodes[fqn]] for fqn in fqns]}
        except (TypeError, KeyError, ValueError) as error:
            raise FormatError(f"the tree document has not the values that the index says: {error}", 37) from None
        return self.tree()


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
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


def _open_shard(path: str, size: int, threads: int) -> Checkpoint:
    try:
        found = os.stat(path).st_size
    except FileNotFoundError:
        # No FileNotFoundError: that means that there is no checkpoint.
        raise FormatError(f"{path}: this shard of the checkpoint is missing", 37) from None
    if found != size:
        raise FormatError(f"{path}: the shard has {found} bytes, {size} were written", 33)
    return Checkpoint(path, threads=threads)


def _read_shard(checkpoint: Checkpoint, wanted: list[tuple[ReadItem, _Stored]], planner: LoadPlanner) -> None:
    values = [item for item, _ in wanted if item.type == LoadItemType.BYTE_IO]
    if values:
        loaded = _ShardReader(checkpoint, None, False).values([item.storage_index.fqn for item in values])
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


# Folders


def _folder(path: str | os.PathLike) -> str:
    if is_url(path):
        raise ArgumentError(f"'{path}': checkpoints of several ranks are stored in a local folder")
    return os.fspath(path)


def _make_folder(path: str) -> None:
    if os.path.isdir(path):
        return
    parent = os.path.dirname(os.path.abspath(path))
    _make_folder(parent)
    # Other ranks make it too.
    os.makedirs(path, exist_ok=True)
    flush_folder(parent)


def _clean(folder: str, keep: set[str]) -> None:
    """Deletes this module's files but those to keep."""
    for name in os.listdir(folder):
        if name in keep or not _OURS.fullmatch(name):
            continue
        if name.endswith(SUFFIX):
            remove_if_left(os.path.join(folder, name))
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))


def _files_of(folder: str) -> set[str]:
    """The shards of the checkpoint in a folder; raises FormatError where that cannot be said."""
    try:
        document = _read_index(folder)
    except FileNotFoundError:
        return set()
    return {stored.file for stored in _metadata(folder, document).storage_data.values()}


# The index
#
# {"format": "qcodec.distributed", "version": 1, "sha256": of the document without it, keys sorted, no spaces,
#  "save_id": text, "metadata": {text: text},
#  "files": [{"name": shard, "bytes": its length}],
#  "tensors": {fqn: {"dtype": "float32", "size": [...], "requires_grad": false,
#                    "chunks": [[offsets, sizes, number of the file, name of the tensor there]]}},
#  "values": {fqn: number of the file whose tree has it},
#  "paths": {fqn: [keys in the state dict]} or null}


def _document(metadata: Metadata, user: Mapping[str, str]) -> dict[str, Any]:
    """The index of a checkpoint; raises ArgumentError where nothing was written for a part of it."""
    files: dict[_Shard, int] = {}

    def place(fqn: str, offset: Iterable[int] | None) -> tuple[int, _Stored]:
        stored = metadata.storage_data.get(MetadataIndex(fqn, offset))
        if stored is None:
            raise ArgumentError(f"{fqn}: no rank has written its part at {None if offset is None else tuple(offset)}")
        return files.setdefault((stored.file, stored.file_bytes), len(files)), stored

    tensors: dict[str, Any] = {}
    values: dict[str, int] = {}
    for fqn, item in metadata.state_dict_metadata.items():
        if isinstance(item, BytesStorageMetadata):
            values[fqn] = place(fqn, None)[0]
            continue
        chunks = []
        for chunk in item.chunks:
            file, stored = place(fqn, chunk.offsets)
            chunks.append([list(chunk.offsets), list(chunk.sizes), file, stored.tensor])
        # Of a tensor that lacks a part nothing can be loaded.
        if all(name is not None for *_, name in chunks):
            tensors[fqn] = {
                "dtype": str(item.properties.dtype).removeprefix("torch."), "size": list(item.size),
                "requires_grad": item.properties.requires_grad, "chunks": chunks,
            }
    return {
        "format": _FORMAT, "version": _VERSION, "save_id": metadata.storage_meta.save_id, "metadata": dict(user),
        "files": [{"name": name, "bytes": size} for name, size in files],
        "tensors": tensors, "values": values, "paths": _paths(metadata.planner_data),
    }


def _paths(planner_data: Any) -> dict[str, list[str | int]] | None:
    """Where in the state dict each name belongs, which is what DefaultSavePlanner leaves."""
    if planner_data is None:
        return None
    if not isinstance(planner_data, Mapping):
        raise TypeError(f"planner_data of the type {type(planner_data).__name__} cannot be stored")
    for fqn, path in planner_data.items():
        if not isinstance(path, (tuple, list)) or not all(type(key) in (str, int) for key in path):
            raise TypeError(f"{fqn}: planner_data {path!r} cannot be stored")
    return {fqn: list(path) for fqn, path in planner_data.items()}


def _canonical(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, allow_nan=False, separators=(",", ":")).encode()


def _write_index(folder: str, document: dict[str, Any]) -> None:
    """Puts the index in place in one step; the former one stays until then."""
    checksum = hashlib.sha256(_canonical(document)).hexdigest()
    with replacing(os.path.join(folder, INDEX)) as file:
        file.write(_canonical(document | {"sha256": checksum}) + b"\n")


def _read_index(folder: str) -> dict[str, Any]:
    """The index, its checksum compared; raises FileNotFoundError where there is none."""
    path = os.path.join(folder, INDEX)
    try:
        with open(path, "rb") as file:
            text = file.read()
    except FileNotFoundError:
        if os.path.exists(os.path.join(folder, ".metadata")):
            raise FormatError(
                f"{folder}: this checkpoint is pickled: FileSystemReader of torch.distributed.checkpoint reads it", 30
            ) from None
        raise FileNotFoundError(errno.ENOENT, "there is no checkpoint of qcodec.distributed", path) from None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: no JSON: {error}", 37) from None
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise FormatError(f"{path}: no index of qcodec.distributed", 30)
    if document.get("version") != _VERSION:
        raise FormatError(f"{path}: version {document.get('version')!r}; this package reads {_VERSION}", 31)
    checksum = document.pop("sha256", None)
    if checksum != hashlib.sha256(_canonical_or_nothing(document)).hexdigest():
        raise FormatError(f"{path}: damaged: the checksum differs", 37)
    return document


def _canonical_or_nothing(document: dict[str, Any]) -> bytes:
    try:
        return _canonical(document)
    except ValueError:
        # NaN, which Python reads and no writer writes.
        return b""


def _metadata(folder: str, document: dict[str, Any]) -> Metadata:
    """DCP's metadata of an index; raises FormatError for what cannot be."""
    try:
        return _checked_metadata(folder, document)
    except (TypeError, KeyError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{os.path.join(folder, INDEX)}: damaged: {error!r}", 37) from None


def _checked_metadata(folder: str, document: dict[str, Any]) -> Metadata:
    def check(holds: bool, what: str) -> None:
        if not holds:
            raise FormatError(f"{os.path.join(folder, INDEX)}: damaged: {what}", 37)

    def lengths(value: Any, dims: int | None = None) -> torch.Size:
        check(isinstance(value, list) and all(type(x) is int and 0 <= x < 2**63 for x in value), f"lengths {value!r}")
        check(dims is None or len(value) == dims, f"{value!r} has not {dims} axes")
        return torch.Size(value)

    def stored(number: Any) -> _Stored:
        check(type(number) is int and 0 <= number < len(files), f"there is no file {number!r}")
        return files[number]

    files = []
    for file in document["files"]:
        name, size = file["name"], file["bytes"]
        check(isinstance(name, str) and re.fullmatch(_SHARD, name) is not None, f"the name {name!r}")
        check(type(size) is int and size >= 0, f"{name} has {size!r} bytes")
        files.append(_Stored(name, size, None))
    items: dict[str, TensorStorageMetadata | BytesStorageMetadata] = {}
    storage: dict[MetadataIndex, _Stored] = {}
    for fqn, entry in document["tensors"].items():
        dtype, size, chunks = _DTYPES.get(entry["dtype"]), lengths(entry["size"]), []
        check(dtype is not None, f"{fqn}: the type {entry['dtype']!r}")
        for offsets, sizes, file, name in entry["chunks"]:
            chunk = ChunkStorageMetadata(lengths(offsets, len(size)), lengths(sizes, len(size)))
            inside = all(first + count <= length for first, count, length in zip(chunk.offsets, chunk.sizes, size))
            check(inside and isinstance(name, str), f"{fqn}: the part {name!r} at {offsets!r}")
            index = MetadataIndex(fqn, chunk.offsets)
            check(index not in storage, f"{fqn}: two parts at {offsets!r}")
            storage[index] = dataclasses.replace(
                stored(file), tensor=name, sizes=tuple(chunk.sizes), dtype=dtype)
            chunks.append(chunk)
        properties = TensorProperties(dtype=dtype, requires_grad=bool(entry["requires_grad"]))
        items[fqn] = TensorStorageMetadata(properties, size, chunks)
    for fqn, file in document["values"].items():
        check(fqn not in items, f"{fqn} is both a tensor and a value")
        items[fqn] = BytesStorageMetadata()
        storage[MetadataIndex(fqn)] = stored(file)
    paths = document["paths"]
    if paths is not None:
        for fqn, path in paths.items():
            check(isinstance(path, list) and all(type(key) in (str, int) for key in path), f"{fqn}: the path {path!r}")
        paths = {fqn: tuple(path) for fqn, path in paths.items()}
    save_id = document["save_id"]
    check(isinstance(save_id, str), f"save_id {save_id!r}")
    return Metadata(items, paths, storage, StorageMeta(checkpoint_id=folder, save_id=save_id))
