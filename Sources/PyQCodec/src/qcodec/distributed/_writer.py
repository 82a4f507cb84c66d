"""Saving."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import math
import os
import uuid
from collections.abc import Mapping
from typing import Any

from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex, StorageMeta
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, WriteItem, WriteItemType
from torch.distributed.checkpoint.storage import StorageWriter, WriteResult
from torch.futures import Future

from .._bounds import Bound, is_bounded
from .._errors import ArgumentError, FormatError, StorageError
from .._remote import is_url
from .._schemes import Policy
from .._trees import MEMBER, VERSION as TREE_VERSION
from .._writer import Writer
from ..torch._tensors import TORCH
from ._folders import clean, files_of, local_folder, make_folder
from ._index import INDEX, Stored, index_document, write_index
from ._pairs import Held, join_pairs, pair_of
from ._shards import ShardWriter, value_of


class QCodecStorageWriter(StorageWriter):
    """Writes a checkpoint of torch.distributed.checkpoint into a local folder that all ranks share.

    `policy`, `metadata`, `compression`, `threads`, `nonfinite`, and the bounds `max_abs_error`, `max_rel_error` and
    `max_update_error` with `bound_epsilon`: as `qcodec.save` has them. Policy and bounds see each rank's shards as tensors:
    a root mean square is that of a shard, and shards below 4096 elements are stored bit for bit. Raises `ArgumentError` for two
    bounds, and for one beside a policy. `threads` counts for each rank; 0 takes all cores. With `overwrite=False` a
    checkpoint in the folder is refused with FileExistsError. A rank holds its shards in host memory while it writes.

    Values that are no tensors must be plain: numbers, text, None, lists, tuples, sets, dictionaries, dtypes, devices; others
    raise TypeError with their names. What the policy drops is not in the checkpoint.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        policy: Policy | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        compression: str = "lz4",
        threads: int = 0,
        nonfinite: str = "error",
        overwrite: bool = True,
        max_abs_error: Bound | None = None,
        max_rel_error: Bound | None = None,
        max_update_error: Bound | None = None,
        bound_epsilon: float = 1e-8,
    ) -> None:
        super().__init__()
        self.path = local_folder(path)
        self.policy = policy
        self.metadata = dict(metadata or {})
        self.compression = compression
        self.threads = threads
        self.nonfinite = nonfinite
        self.overwrite = overwrite
        self._bounds: dict[str, Any] = {
            "max_abs_error": max_abs_error, "max_rel_error": max_rel_error, "max_update_error": max_update_error,
            "bound_epsilon": bound_epsilon,
        }
        is_bounded(self._bounds, policy)
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
            self.path = local_folder(checkpoint_id)

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
        make_folder(self.path)
        moments = frozenset(item.index for item in plan.items if item.tensor_data and pair_of(item.index.fqn))
        return dataclasses.replace(plan, storage_data=Held(moments))

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        # No rank writes before it has its part of the plan: what lies here now is of saves that failed.
        with contextlib.suppress(FormatError, OSError):
            clean(self.path, files_of(self.path))
        return join_pairs(plans)

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
        tree = ShardWriter()
        tree.keeps_apart = self._bounds["max_update_error"] is not None
        names: dict[MetadataIndex, str] = {}
        tensors, values = [], []
        for item in items:
            if item.type == WriteItemType.BYTE_IO:
                values.append([item.index.fqn, tree.node(value_of(planner, item), (item.index.fqn,))])
                continue
            node = tree.tensor(item, planner.resolve_data(item))
            names[item.index] = node["tensor"]
            tensors.append([node["tensor"], node])
        with Writer(
            os.path.join(self.path, file), compression=self.compression, threads=self.threads, nonfinite=self.nonfinite,
            **self._bounds,
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
            stored = Stored(file, written.file_bytes, None)
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
        document = index_document(metadata, self.metadata)
        for file in document["files"]:
            path = os.path.join(self.path, file["name"])
            if not os.path.exists(path):
                raise StorageError(f"{path}: a rank has written this shard, but not into this folder", 80)
        write_index(self.path, document)
        # The save is done; what cannot be deleted now the next one finds.
        with contextlib.suppress(OSError):
            clean(self.path, {file["name"] for file in document["files"]})
