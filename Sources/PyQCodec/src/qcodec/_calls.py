"""What writing and reading a checkpoint share."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

from . import _library
from ._arrays import Memory
from ._errors import ArgumentError
from ._library import shape_argument

Path = str | os.PathLike | BinaryIO
"""A local path, a URL that fsspec opens ("s3://…", "memory://…", "http://…"), or an open binary file."""

ROLES = ("other", "first_moment", "second_moment", "momentum", "master_weight", "parameter")


class Callbacks:
    """Keeps the first error of a Python function that C calls, to be raised where C has returned."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def guard(self, body) -> int:
        try:
            body()
            return 0
        except BaseException as error:  # noqa: BLE001 - it must not cross C; it is raised again
            self.error = self.error or error
            return 1

    def reraise(self, failure: BaseException) -> None:
        """Raises what the function raised in the place of the library's report of it."""
        if self.error is not None:
            error, self.error = self.error, None
            raise error from failure
        raise failure


def describe(name: str, memory: Memory, role: int = 0) -> tuple[_library.Tensor, Any]:
    """A tensor as the library takes it, and what must stay alive with it."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        raise ArgumentError(f"the name {name!r} is no valid text") from None
    if b"\0" in encoded:
        raise ArgumentError(f"the name {name!r} holds a zero byte")
    shape = shape_argument(memory.shape)
    tensor = _library.Tensor(
        name=encoded, dtype=memory.dtype, role=role, shape=shape, dims=len(memory.shape), data=memory.address or None,
        size=memory.size,
    )
    return tensor, (memory, shape, encoded)
