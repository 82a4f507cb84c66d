"""Loading."""

from __future__ import annotations

import os
import uuid
from typing import Any

from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex, StorageMeta
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, ReadItem
from torch.distributed.checkpoint.storage import StorageReader
from torch.futures import Future

from .._errors import FormatError
from ._folders import local_folder
from ._index import Shard, Stored, index_metadata, read_index
from ._shards import naming, open_shard, read_shard
from ._writer import QCodecStorageWriter


class QCodecStorageReader(StorageReader):
    """Reads what `QCodecStorageWriter` wrote, on any number of ranks.

    A rank opens the shards that it needs, and of a tensor decodes the rows that it needs. Tensors are read into those of
    the state dict that is loaded, of whatever type and device these are. Raises FileNotFoundError where there is no
    checkpoint, `FormatError` with the file's path where it is damaged, incomplete or of another kind.
    """

    def __init__(self, path: str | os.PathLike, *, threads: int = 0) -> None:
        super().__init__()
        self.path = local_folder(path)
        self.threads = threads
        self._storage: dict[MetadataIndex, Stored] = {}
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
            self.path = local_folder(checkpoint_id)
        self._storage = {}

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Reads and checks the index."""
        self._failure = None
        try:
            metadata = index_metadata(self.path, read_index(self.path))
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
        shards: dict[Shard, list[tuple[ReadItem, Stored]]] = {}
        for item in plan.items:
            stored = self._storage.get(item.storage_index)
            if stored is None:
                raise FormatError(f"{self.path}: the index has no part of '{item.storage_index.fqn}' at its offset", 37)
            shards.setdefault((stored.file, stored.file_bytes), []).append((item, stored))
        for (file, size), wanted in shards.items():
            path = os.path.join(self.path, file)
            with naming(path), open_shard(path, size, self.threads) as checkpoint:
                read_shard(checkpoint, wanted, planner)
        future: Future[None] = Future()
        future.set_result(None)
        return future
