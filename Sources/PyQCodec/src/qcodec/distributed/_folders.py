"""Folders of checkpoints, and what saves that failed have left in them."""

from __future__ import annotations

import contextlib
import os
import re


from .._errors import ArgumentError
from .._remote import is_url
from .._replacing import SUFFIX, flush_folder, remove_if_left
from ._index import INDEX, SHARD, index_metadata, read_index

# Files of unfinished saves: shards that no index names, and what a killed process was writing.
_OURS = re.compile(rf"{SHARD}|\.(?:{SHARD}|{re.escape(INDEX)})\.[0-9a-f]{{16}}{re.escape(SUFFIX)}")


def local_folder(path: str | os.PathLike) -> str:
    if is_url(path):
        raise ArgumentError(f"'{path}': checkpoints of several ranks are stored in a local folder")
    return os.fspath(path)


def make_folder(path: str) -> None:
    if os.path.isdir(path):
        return
    parent = os.path.dirname(os.path.abspath(path))
    make_folder(parent)
    # Other ranks make it too.
    os.makedirs(path, exist_ok=True)
    flush_folder(parent)


def clean(folder: str, keep: set[str]) -> None:
    """Deletes this module's files but those to keep."""
    for name in os.listdir(folder):
        if name in keep or not _OURS.fullmatch(name):
            continue
        if name.endswith(SUFFIX):
            remove_if_left(os.path.join(folder, name))
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))


def files_of(folder: str) -> set[str]:
    """The shards of the checkpoint in a folder; raises FormatError where that cannot be said."""
    try:
        document = read_index(folder)
    except FileNotFoundError:
        return set()
    return {stored.file for stored in index_metadata(folder, document).storage_data.values()}
