"""Errors, by what a caller can do about them; each carries the library's stable code and the place of the defect."""

from __future__ import annotations

from typing import Any


class QCodecError(Exception):
    """What the library refuses.

    Attributes: `code` (stable, see qcodec.h), `message` (one line, without the place), `tensor`, `element` (its index in C
    order) and `offset` (a byte of the file), each None where it is not known.
    """

    def __init__(
        self,
        message: str,
        code: int = 10,
        *,
        tensor: str | None = None,
        element: int | None = None,
        offset: int | None = None,
        description: str | None = None,
    ) -> None:
        super().__init__(description or message)
        self.message = message
        self.code = code
        self.tensor = tensor
        self.element = element
        self.offset = offset

    def __reduce__(self):
        return _rebuilt, (type(self), self.message, self.code, self.tensor, self.element, self.offset, str(self))


def _rebuilt(kind, message, code, tensor, element, offset, description):
    return kind(message, code, tensor=tensor, element=element, offset=offset, description=description)


class ArgumentError(QCodecError, ValueError):
    """An argument, scheme or policy that cannot be."""


class EncodeError(QCodecError, ValueError):
    """A value that its scheme cannot hold: NaN, an infinity, a negative second moment."""


class FormatError(QCodecError, ValueError):
    """A file that is no checkpoint, or a damaged one."""


class StorageError(QCodecError, OSError):
    """The system failed to read or write; a previous file is as it was."""


class CancelledError(QCodecError):
    """The call was ended by a signal's handler, whose own exception is raised in its place."""


class BoundError(QCodecError):
    """Verification found something that is not as the file or the original says; `report` has all of it."""

    report: Any = None


class MismatchError(QCodecError, ValueError):
    """What was loaded is not what was asked for; `differences` lists every difference."""

    def __init__(self, differences: list[str]) -> None:
        count = len(differences)
        head = f"the checkpoint differs from what was asked for in {count} place{'' if count == 1 else 's'}:"
        super().__init__("\n  ".join([head, *differences]), 11)
        self.differences = differences

    def __reduce__(self):
        return MismatchError, (self.differences,)


def error_type(code: int) -> type[QCodecError]:
    """The class of a code."""
    if code in (20, 21, 22):
        return EncodeError
    if 30 <= code < 60 or code in (62, 63):
        return FormatError
    if 80 <= code < 90:
        return StorageError
    if code == 90:
        return BoundError
    if code == 100:
        return CancelledError
    return ArgumentError
