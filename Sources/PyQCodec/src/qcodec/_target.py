"""Where a checkpoint is written to."""

from __future__ import annotations

import ctypes
import os
from typing import Any, BinaryIO, cast

from . import _library, _remote
from ._calls import Callbacks, Path


class Target:
    """A local path, a URL by way of a file here, or an open file.

    `path`: what the library is to write; None for an open file, whose bytes `function` takes. Raises FileNotFoundError and
    IsADirectoryError, which the library would not tell apart.
    """

    def __init__(self, path: Path) -> None:
        self.path: bytes | None = None
        self.function: Any = None
        self.callbacks = Callbacks()
        self._close = lambda _: None
        self._process = os.getpid()
        if remote := _remote.target(path):
            # Filesystems replace an object at different moments, some as soon as it is opened: written here, sent whole.
            upload = _remote.Upload(remote)
            self._close = upload.close
            self.path = os.fsencode(upload.path)
        elif hasattr(path, "write"):
            self.function = _library.WriteFunction(_writing(cast(BinaryIO, path), self.callbacks))
        else:
            name = os.fspath(cast(str, _remote.local(path)))
            folder = os.path.dirname(name) or "."
            # The library's message has the reason; Python's own errors have their classes.
            if not os.path.isdir(folder):
                raise FileNotFoundError(2, "there is no such folder", folder)
            if os.path.isdir(name):
                raise IsADirectoryError(21, "a folder cannot be replaced by a checkpoint", name)
            self.path = os.fsencode(name)

    def close(self, committed: bool) -> None:
        """Sends what goes to a URL, if it is `committed`; does nothing when called again."""
        close, self._close = self._close, lambda _: None
        # What a forked child lets go of is its parent's.
        if os.getpid() == self._process:
            close(committed)


def _writing(file: BinaryIO, callbacks: Callbacks):
    def write(_, address, size):
        view = memoryview((ctypes.c_char * size).from_address(address)).cast("B")

        def body():
            done = 0
            while done < size:
                count = file.write(view[done:])
                done += size - done if count is None else count

        return callbacks.guard(body)

    return write
