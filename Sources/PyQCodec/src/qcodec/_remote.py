"""Checkpoints behind URLs: read by few ranges, sent whole. fsspec does the transport and is imported when it is needed."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import itertools
import os
import posixpath
import shutil
import tempfile
import threading
import uuid
from typing import Any

from ._errors import StorageError

# Requests cost tens of milliseconds wherever the object lies, and chunks are small: a file of this size comes whole, of a
# larger one blocks, the last of which holds the directory too.
WHOLE = 4 << 20
BLOCK = 1 << 20
# Blocks that a reader keeps, and what is fetched at once where blocks are asked for one after another.
KEPT = 64
AHEAD = 4
# The header is read alone, and nothing beside it.
HEADER = 4096
# What is sent by one call from memory.
SMALL = 32 << 20
_LOCAL = ("file://", "local://")


@dataclasses.dataclass(frozen=True)
class Remote:
    """An object of a filesystem of fsspec."""

    filesystem: Any
    path: str
    url: str


def is_url(path: Any) -> bool:
    """Whether a path names an object of a filesystem of fsspec, not a local file."""
    return isinstance(path, str) and "://" in path and not path.startswith(_LOCAL)


def target(path: Any) -> Remote | None:
    """The object that a URL names; None for a local path, a file:// URL included, and for anything else.

    Raises ImportError without fsspec or what it needs for the URL, ValueError for a protocol that it does not know.
    """
    if not is_url(path):
        return None
    try:
        import fsspec
    except ImportError:
        raise ImportError(f"'{path}' needs fsspec: pip install fsspec") from None
    filesystem, inner = fsspec.core.url_to_fs(path)
    return Remote(filesystem, inner, path)


def local(path: Any) -> Any:
    """A local path without the file:// that it may have."""
    return path.partition("://")[2] if isinstance(path, str) and path.startswith(_LOCAL) else path


def beside(url: str, name: str) -> str:
    """The URL of an object that is named relative to the folder of another."""
    protocol, separator, path = url.partition("://")
    return protocol + separator + posixpath.normpath(posixpath.join(posixpath.dirname(path), name))


def relative(path: Any, other: Any) -> bytes | None:
    """The path of a file from the folder of another on; None where they are not in one filesystem, or one has no place."""
    if path is None or hasattr(other, "write") or is_url(path) != is_url(other):
        return None
    if is_url(path):
        (protocol, _, own), (other_protocol, _, target_path) = path.partition("://"), other.partition("://")
        if protocol != other_protocol:
            return None
        return posixpath.relpath("/" + own, posixpath.dirname("/" + target_path)).encode()
    own, folder = os.fsencode(local(path)), os.path.dirname(os.fsencode(local(other)))
    return os.path.relpath(own, folder or b".")


class Ranges:
    """Reads an object by ranges, from any number of threads. `size`: its bytes."""

    def __init__(self, remote: Remote) -> None:
        """Raises FileNotFoundError, IsADirectoryError, and StorageError for what cannot be read by ranges."""
        self._remote = remote
        try:
            info = remote.filesystem.info(remote.path)
        except FileNotFoundError as error:
            # HTTP reports every failure as this one.
            cause = error.__cause__
            if cause is None or isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) in (404, 410):
                raise FileNotFoundError(2, "there is no such object", remote.url) from None
            raise _failed(remote, "cannot be opened", cause) from error
        except PermissionError:
            raise
        except Exception as error:
            raise _failed(remote, "cannot be opened", error) from error
        if info.get("type") == "directory":
            raise IsADirectoryError(21, "a folder is no checkpoint", remote.url)
        if info.get("size") is None:
            raise StorageError(f"'{remote.url}' has no known size, so it cannot be read by ranges: download it first", 80)
        self.size: int = info["size"]
        if info.get("partial") is False and self.size > WHOLE:
            raise self._no_ranges()
        # Blocks are counted from the end of the file, so that the last one, with trailer and directory, is a full one.
        self._shift = -self.size % BLOCK
        self._lock = threading.Lock()
        self._blocks: collections.OrderedDict[int, concurrent.futures.Future[bytes]] = collections.OrderedDict()

    def read(self, offset: int, count: int) -> bytes | memoryview:
        """At least one byte and at most `count` of them from `offset` on."""
        if self.size > WHOLE and (count >= BLOCK or (offset == 0 and count <= HEADER)):
            return self._fetch(offset, offset + count)
        index = (offset + self._shift) // BLOCK
        last = (offset + count - 1 + self._shift) // BLOCK
        start, _ = self._span(index)
        data = self._block(index, last)
        return memoryview(data)[offset - start : offset - start + count]

    def _span(self, index: int) -> tuple[int, int]:
        start = index * BLOCK - self._shift
        return max(0, start), start + BLOCK

    def _block(self, index: int, last: int) -> bytes:
        """A block; fetches it where it is not there, and with it those up to `last` and some ahead."""
        mine: list[int] = []
        with self._lock:
            if index in self._blocks:
                self._blocks.move_to_end(index)
            else:
                mine = self._missing(index, last)
                self._blocks.update((number, concurrent.futures.Future()) for number in mine)
            future = self._blocks[index]
            futures = [self._blocks[number] for number in mine]
            while len(self._blocks) > KEPT:
                self._blocks.popitem(last=False)
        if mine:
            self._fill(mine, futures)
        return future.result()

    def _missing(self, index: int, last: int) -> list[int]:
        """What is to be fetched at once for a block that is not there."""
        count = (self.size + self._shift) // BLOCK
        if self.size <= WHOLE:
            return list(range(count))
        is_one_by_one = index - 1 in self._blocks and index - 2 in self._blocks
        end = min(count, index + AHEAD if is_one_by_one else last + 1)
        return list(itertools.takewhile(lambda number: number not in self._blocks, range(index, end)))

    def _fill(self, numbers: list[int], futures: list[concurrent.futures.Future[bytes]]) -> None:
        start, end = self._span(numbers[0])[0], self._span(numbers[-1])[1]
        try:
            data = self._fetch(start, end)
        except BaseException as error:
            # Asked for again, it is tried again.
            with self._lock:
                for number in numbers:
                    self._blocks.pop(number, None)
            for future in futures:
                future.set_exception(error)
            raise
        for number, future in zip(numbers, futures):
            first, stop = self._span(number)
            future.set_result(data[first - start : stop - start])

    def _fetch(self, start: int, end: int) -> bytes:
        remote = self._remote
        try:
            data = remote.filesystem.cat_file(remote.path, start=start, end=end)
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:
            raise _failed(remote, f"bytes {start} to {end} of {self.size} cannot be read", error) from error
        if len(data) != end - start:
            if len(data) == self.size:
                raise self._no_ranges()
            raise StorageError(
                f"'{remote.url}': of bytes {start} to {end} of {self.size}, {len(data)} came: it is shorter, or has changed",
                80,
            )
        return data

    def _no_ranges(self) -> StorageError:
        return StorageError(f"'{self._remote.url}': the server sends no ranges, only the whole file: download it first", 80)


class Upload:
    """An object that is written here, at `path`, and sent whole when all of it is known to be good."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._folder = tempfile.mkdtemp(prefix="qcodec-")
        self.path = os.path.join(self._folder, "checkpoint")

    def close(self, committed: bool) -> None:
        """Sends the file, if it is `committed`, and removes it here. Raises StorageError where it does not arrive."""
        try:
            if committed:
                self._send()
        except (FileNotFoundError, PermissionError, StorageError):
            raise
        except Exception as error:
            raise _failed(self._remote, "cannot be written", error) from error
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _send(self) -> None:
        from fsspec.asyn import AsyncFileSystem

        filesystem, path = self._remote.filesystem, self._remote.path
        in_transaction = getattr(filesystem, "_intrans", False)
        # The stores among them, all asynchronous, replace an object when it is whole; elsewhere it is moved into place.
        if isinstance(filesystem, AsyncFileSystem) or in_transaction:
            self._put(path)
        else:
            part = f"{path}.{uuid.uuid4().hex}.part"
            try:
                self._put(part)
                filesystem.mv(part, path)
            except BaseException:
                if filesystem.exists(part):
                    filesystem.rm_file(part)
                raise
        if in_transaction:
            return
        filesystem.invalidate_cache(filesystem._parent(path))
        found, size = filesystem.size(path), os.path.getsize(self.path)
        if found is not None and found != size:
            raise StorageError(f"'{self._remote.url}': {size} bytes were sent, {found} are there", 80)

    def _put(self, path: str) -> None:
        if os.path.getsize(self.path) > SMALL:
            self._remote.filesystem.put_file(self.path, path)
        else:
            with open(self.path, "rb") as file:
                self._remote.filesystem.pipe_file(path, file.read())


def _failed(remote: Remote, what: str, error: BaseException) -> StorageError:
    return StorageError(f"'{remote.url}': {what}: {str(error) or type(error).__name__}", 80)
