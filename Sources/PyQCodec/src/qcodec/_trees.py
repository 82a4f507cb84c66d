"""Trees of arrays and plain values, and the document that remembers their shape. Spec/Tree.md describes it.

Arrays become tensors of the checkpoint, named by their path ("optimizer/state/0/exp_avg"); everything else stands in the
document, kept as the metadata member `tree`.
"""

from __future__ import annotations

import base64
import collections
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ._arrays import NUMPY, Framework, Memory
from ._errors import ArgumentError

MEMBER = "tree"
VERSION = 1
# Each level of a dictionary takes three of the 128 that a JSON document may have.
MAXIMUM_DEPTH = 40

Part = str
PathKey = tuple[Part, ...]
Remap = Mapping[str, str] | Callable[[str], str]


def path_text(path: PathKey) -> str:
    """A path as names have it."""
    return "/".join(path)


class TreeWriter:
    """Turns a tree into a document and the arrays that it refers to.

    `frameworks`: whose arrays are known; those of the first need no mark in the document. `label`: another component for
    that of a path, so that names can tell more than a tree's own keys.
    """

    def __init__(self, frameworks: Iterable[Framework], label: Callable[[PathKey], Part | None] | None = None) -> None:
        self._frameworks = tuple(frameworks)
        self._label = label
        self.arrays: list[tuple[str, Memory]] = []
        self._names: set[str] = set()
        # Arrays that lie in the same memory are stored once and come back as one.
        self._known: dict[tuple, str] = {}
        # Whether they are stored by each of their names: of one that is a moment under one name and not under another, or the
        # moment of two parameters, no pair would know.
        self.keeps_apart = False

    def document(self, tree: Any) -> dict[str, Any]:
        """The document of a tree; `arrays` has its arrays afterwards."""
        return {"version": VERSION, "arrays": self._frameworks[0].name, "root": self.node(tree, ())}

    def node(self, value: Any, path: PathKey, shown: PathKey | None = None) -> Any:
        """The document of a value at a path; `shown` is the path as names have it."""
        shown = path if shown is None else shown
        if len(path) > MAXIMUM_DEPTH:
            raise ArgumentError(f"{path_text(path)}: more than {MAXIMUM_DEPTH} levels")
        if value is None or isinstance(value, (bool, str)):
            return value
        if (found := self.special(value, path, shown)) is not None:
            return found
        for framework in self._frameworks:
            if framework.owns(value):
                return self.array(value, framework, path, shown)
        if isinstance(value, np.generic):
            node = self.array(np.asarray(value), NUMPY, path, shown)
            return node | {"as": "scalar"}
        if isinstance(value, int):
            value = int(value)
            return value if -(2**63) <= value < 2**63 else {"int": str(value)}
        if isinstance(value, float):
            return {"float": repr(float(value))}
        if isinstance(value, complex):
            return {"complex": [repr(value.real), repr(value.imag)]}
        if isinstance(value, (bytes, bytearray)):
            return {"bytes": base64.b64encode(value).decode()}
        if isinstance(value, Mapping):
            return self._mapping(value, path, shown)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            items = self._items(zip(value._fields, value), path, shown)
            return {"namedtuple": type(value).__name__, "items": [[key, node] for key, node in items]}
        if isinstance(value, (list, tuple)):
            items = self._items(enumerate(value), path, shown)
            return {"list" if isinstance(value, list) else "tuple": [node for _, node in items]}
        if isinstance(value, (set, frozenset)):
            # In an order that does not depend on hashes, so that equal trees make equal files.
            items = self._items(enumerate(sorted(value, key=repr)), path, shown)
            return {"set" if isinstance(value, set) else "frozenset": [node for _, node in items]}
        if isinstance(value, pathlib.PurePath):
            return {"path": str(value)}
        raise TypeError(f"{path_text(path) or 'the tree'}: {type(value).__module__}.{type(value).__qualname__} cannot be stored")

    def special(self, value: Any, path: PathKey, shown: PathKey) -> Any:
        """The document of a value that only a framework knows; None for others."""
        return None

    def _mapping(self, value: Mapping, path: PathKey, shown: PathKey) -> Any:
        for key in value:
            if type(key) not in (str, int):
                raise TypeError(f"{path_text(path) or 'the tree'}: the key {key!r} is neither text nor an integer")
        kind = next((kind for kind in ("OrderedDict", "Counter") if isinstance(value, getattr(collections, kind))), "dict")
        node = {kind: [[key, node] for key, node in self._items(value.items(), path, shown)]}
        # What state_dicts of modules know of their versions.
        if kind == "OrderedDict" and isinstance(versions := getattr(value, "_metadata", None), Mapping):
            node["metadata"] = self.node(versions, (*path, "_metadata"))
        return node

    def _items(self, items: Iterable[tuple[Any, Any]], path: PathKey, shown: PathKey):
        for key, value in items:
            inner = (*path, str(key))
            label = self._label(inner) if self._label else None
            yield key, self.node(value, inner, (*shown, str(key) if label is None else label))

    # Arrays

    def array(self, value: Any, framework: Framework, path: PathKey, shown: PathKey) -> dict[str, Any]:
        """The document of an array, which is taken in."""
        try:
            memory = framework.memory(value)
        except TypeError as error:
            raise TypeError(f"{path_text(path) or 'the tree'}: {error}") from None
        key = (memory.address, memory.dtype, memory.shape)
        # A copy's address is free again once the copy is gone: what is taken in is kept until all is written.
        if memory.size == 0 or self.keeps_apart or (name := self._known.get(key)) is None:
            name = self._known[key] = self.unused_name(shown)
            self.arrays.append((name, memory))
        node = {"tensor": name}
        if framework is not self._frameworks[0]:
            node["as"] = framework.name
        return node

    def unused_name(self, path: PathKey) -> str:
        """A name for a path: keys 0 and "0" would share theirs."""
        name = plain = path_text(path) or "tensor"
        number = 2
        while name in self._names:
            name = f"{plain}~{number}"
            number += 1
        self._names.add(name)
        return name
