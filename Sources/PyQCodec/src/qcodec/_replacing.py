"""Files beside checkpoints that take the place of another when they are whole, as the library's own files do."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from typing import BinaryIO

SUFFIX = ".qcodec-partial"


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A file to be written, which is put in place of `path` at the end, on the disk by then; an exception leaves what is there.

    What killed writers to `path` left behind is removed. A symbolic link is written through.
    """
    folder, name = os.path.split(os.path.realpath(path))
    prefix = _prefix(name)
    for found in os.listdir(folder):
        if found.startswith(prefix) and re.fullmatch(r"[0-9a-f]{16}" + re.escape(SUFFIX), found[len(prefix) :]):
            remove_if_left(os.path.join(folder, found))
    temporary, file = _create(os.path.join(folder, prefix))
    try:
        yield file
        file.flush()
        os.fsync(file.fileno())
        os.replace(temporary, os.path.join(folder, name))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        # Only now: the lock is what keeps others from taking it for a leftover. All of it is on the disk, or given up: a
        # failure to close says nothing about the file.
        with contextlib.suppress(OSError):
            file.close()
    flush_folder(folder)


def remove_if_left(path: str) -> None:
    """Removes a temporary file, unless its writer lives and holds its lock."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its writer may have put it in place and gone since it was opened: then the name means nothing any more.
        opened, named = os.fstat(descriptor), os.lstat(path)
        if os.path.samestat(opened, named) and stat.S_ISREG(named.st_mode):
            os.unlink(path)
    except OSError:
        # It is being written, or gone, or there are no locks here: it stays.
        pass
    finally:
        _close(descriptor)


def _close(descriptor: int) -> None:
    # What was opened to be locked or flushed has nothing to lose.
    with contextlib.suppress(OSError):
        os.close(descriptor)


def flush_folder(path: str) -> None:
    """Puts on the disk what names a folder has."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems cannot.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        _close(descriptor)


def _create(prefix: str) -> tuple[str, BinaryIO]:
    while True:
        path = f"{prefix}{secrets.token_hex(8)}{SUFFIX}"
        file = open(path, "xb")
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Another writer is about to remove it, taking it for a leftover.
            file.close()
            continue
        except OSError:
            # There are no locks here, so nobody removes it.
            return path, file
        if os.path.lexists(path):
            return path, file
        file.close()


def _prefix(name: str) -> str:
    encoded = os.fsencode(name)
    if len(encoded) <= 64:
        return f".{name}."
    return f".{os.fsdecode(encoded[:40])}~{hashlib.sha256(encoded).hexdigest()[:16]}."
