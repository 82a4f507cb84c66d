"""The index of a checkpoint of several ranks, which joins their shards."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata, ChunkStorageMetadata, Metadata, MetadataIndex, StorageMeta, TensorProperties, TensorStorageMetadata,
)

from .._errors import ArgumentError, FormatError
from .._replacing import replacing
from ..torch._tensors import DTYPES

INDEX = "qcodec.json"
"""The name of the index. A folder without it holds no checkpoint."""
_FORMAT = "qcodec.distributed"
_VERSION = 1

SHARD = r"__[0-9]+_[0-9a-f]{32}\.qckpt"
_DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES.values()}
Shard = tuple[str, int]


@dataclasses.dataclass(frozen=True)
class Stored:
    """Where an item of the checkpoint lies. Values that are no tensors have no `tensor`, dropped ones neither."""

    file: str
    file_bytes: int
    tensor: str | None
    sizes: tuple[int, ...] | None = None
    dtype: torch.dtype | None = None


# The index
#
# {"format": "qcodec.distributed", "version": 1, "sha256": of the document without it, keys sorted, no spaces,
#  "save_id": text, "metadata": {text: text},
#  "files": [{"name": shard, "bytes": its length}],
#  "tensors": {fqn: {"dtype": "float32", "size": [...], "requires_grad": false,
#                    "chunks": [[offsets, sizes, number of the file, name of the tensor there]]}},
#  "values": {fqn: number of the file whose tree has it},
#  "paths": {fqn: [keys in the state dict]} or null}


def index_document(metadata: Metadata, user: Mapping[str, str]) -> dict[str, Any]:
    """The index of a checkpoint; raises ArgumentError where nothing was written for a part of it."""
    files: dict[Shard, int] = {}

    def place(fqn: str, offset: Iterable[int] | None) -> tuple[int, Stored]:
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


def write_index(folder: str, document: dict[str, Any]) -> None:
    """Puts the index in place in one step; the former one stays until then."""
    checksum = hashlib.sha256(_canonical(document)).hexdigest()
    with replacing(os.path.join(folder, INDEX)) as file:
        file.write(_canonical(document | {"sha256": checksum}) + b"\n")


def read_index(folder: str) -> dict[str, Any]:
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


def index_metadata(folder: str, document: dict[str, Any]) -> Metadata:
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

    def stored(number: Any) -> Stored:
        check(type(number) is int and 0 <= number < len(files), f"there is no file {number!r}")
        return files[number]

    files = []
    for file in document["files"]:
        name, size = file["name"], file["bytes"]
        check(isinstance(name, str) and re.fullmatch(SHARD, name) is not None, f"the name {name!r}")
        check(type(size) is int and size >= 0, f"{name} has {size!r} bytes")
        files.append(Stored(name, size, None))
    items: dict[str, TensorStorageMetadata | BytesStorageMetadata] = {}
    storage: dict[MetadataIndex, Stored] = {}
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
