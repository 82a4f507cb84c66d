"""Reading trees back. Spec/Tree.md describes the document."""

from __future__ import annotations

import base64
import collections
import functools
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from ._arrays import NUMPY, Framework
from ._checkpoint import Checkpoint
from ._errors import ArgumentError, FormatError, QCodecError
from ._trees import MAXIMUM_DEPTH, MEMBER, VERSION


class TreeReader:
    """Builds the tree of a checkpoint from its document."""

    def __init__(self, checkpoint: Checkpoint, frameworks: Iterable[Framework]) -> None:
        self._checkpoint = checkpoint
        self._frameworks = {framework.name: framework for framework in frameworks}
        document = checkpoint.member(MEMBER)
        if document is None:
            # Another program's file: its tensors by name.
            document = {"version": VERSION, "root": {"dict": [[name, {"tensor": name}] for name in checkpoint]}}
        if not isinstance(document, dict) or document.get("version") != VERSION or "root" not in document:
            raise FormatError("the tree document is not of a version that this package reads", 37)
        self._root = document["root"]
        # Without the framework that wrote them, arrays are those of the first that reads them.
        default = str(document.get("arrays"))
        self._default = self._frameworks.get(default, next(iter(self._frameworks.values())))
        self._arrays: dict[tuple[str, str], Any] = {}
        self._parts: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def tree(self) -> Any:
        """The tree; all arrays are read at once."""
        requests = []
        for name, framework in self._wanted(self._root, 0):
            if (name, framework.name) in self._arrays:
                continue
            if name not in self._checkpoint:
                # The policy dropped it.
                self._arrays[name, framework.name] = None
                continue
            view = self._checkpoint[name]
            self._arrays[name, framework.name], memory = framework.empty(view._dtype, view.shape)
            requests.append((view._index, memory))
        self._checkpoint._read(requests)
        return self.value(self._root)

    def _framework(self, node: dict) -> Framework:
        named = node.get("as")
        if named == "scalar":
            return NUMPY
        return self._default if named is None else self._frameworks.get(named, NUMPY)

    def _wanted(self, node: Any, depth: int):
        """The arrays that a document refers to, as (name, framework)."""
        if depth > MAXIMUM_DEPTH + 1:
            raise FormatError("the tree document has too many levels", 37)
        if not isinstance(node, dict):
            return
        try:
            if "tensor" in node:
                yield _text(node["tensor"]), self._framework(node)
                return
            yield from self.special_arrays(node)
            for child in self._children(node):
                yield from self._wanted(child, depth + 1)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise _corrupt(error) from None

    def special_arrays(self, node: dict):
        """The arrays of a node that only a framework knows, as (name, framework)."""
        return ()

    def _children(self, node: dict) -> Iterable[Any]:
        for kind in ("list", "tuple", "set", "frozenset"):
            if kind in node:
                return _list(node[kind])
        for kind in ("dict", "OrderedDict", "Counter"):
            if kind in node:
                return [*(child for _, child in _list(node[kind])), node.get("metadata")]
        return [child for _, child in _list(node["items"])] if "items" in node else []

    def value(self, node: Any) -> Any:
        """The value of a document."""
        if node is None or isinstance(node, (bool, str, int)):
            return node
        try:
            return self._value(node)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            if isinstance(error, QCodecError):
                raise
            raise _corrupt(error) from None

    def _value(self, node: dict) -> Any:
        if "tensor" in node:
            array = self._arrays[_text(node["tensor"]), self._framework(node).name]
            return array[()] if node.get("as") == "scalar" else self.finish(array, node)
        if "float" in node:
            return float(node["float"])
        if "int" in node:
            return int(node["int"])
        if "complex" in node:
            real, imaginary = node["complex"]
            return complex(float(real), float(imaginary))
        if "bytes" in node:
            return base64.b64decode(node["bytes"], validate=True)
        if "list" in node:
            return [self.value(child) for child in _list(node["list"])]
        if "tuple" in node:
            return tuple(self.value(child) for child in _list(node["tuple"]))
        if "dict" in node:
            return {_key(key): self.value(child) for key, child in _list(node["dict"])}
        if "OrderedDict" in node:
            items = ((_key(key), self.value(child)) for key, child in _list(node["OrderedDict"]))
            result: Any = collections.OrderedDict(items)
            if "metadata" in node:
                result._metadata = self.value(node["metadata"])
            return result
        if "Counter" in node:
            return collections.Counter({_key(key): self.value(child) for key, child in _list(node["Counter"])})
        if "set" in node:
            return {self.value(child) for child in _list(node["set"])}
        if "frozenset" in node:
            return frozenset(self.value(child) for child in _list(node["frozenset"]))
        if "path" in node:
            return pathlib.Path(_text(node["path"]))
        if "namedtuple" in node:
            kind = _named_tuple(_text(node["namedtuple"]), tuple(_text(key) for key, _ in node["items"]))
            return kind._make(self.value(child) for _, child in node["items"])
        return self.special_value(node)

    def part(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scales, codes and table of an imported stream."""
        if name not in self._parts:
            view = self._checkpoint[name]
            self._parts[name] = (*view.codes(), view.table())
        return self._parts[name]

    def finish(self, array: Any, node: dict) -> Any:
        """An array as the node wants it."""
        return array

    def special_value(self, node: dict) -> Any:
        """The value of a node that is some framework's: here what NumPy and text can say of it."""
        for kind in ("torch.dtype", "torch.device"):
            if kind in node:
                return _text(node[kind])
        if "torch.Size" in node:
            return tuple(_list(node["torch.Size"]))
        if "codes" in node:
            name = _text(node["codes"])
            return self.part(name)[1].reshape(self._checkpoint[name].shape)
        if "scales" in node:
            return self.part(_text(node["scales"]))[0].reshape(_list(node["shape"]))
        if "table" in node:
            return self.part(_text(node["table"]))[2]
        for kind in ("torchao", "lpmm", "key", "shards", "object"):
            if kind in node:
                module = "qcodec.jax" if kind in ("key", "shards", "object") else "qcodec.torch"
                raise ArgumentError(f"the tree holds what {module} saved ({kind}); load it with that")
        raise FormatError(f"the tree document has a part of an unknown kind, {next(iter(node), 'an empty one')!r}", 37)


@functools.lru_cache(maxsize=None)
def _named_tuple(name: str, fields: tuple[str, ...]) -> Any:
    """A class for a named tuple whose own is not at hand; `like` restores that."""
    return collections.namedtuple(name, fields)  # noqa: PYI024 - its fields are known at run time alone


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a name is no text")
    return value


def _list(value: Any) -> list:
    if not isinstance(value, list):
        raise TypeError("a list of values is none")
    return value


def _key(value: Any) -> Any:
    if type(value) not in (str, int):
        raise TypeError("a key is neither text nor an integer")
    return value


def _corrupt(error: Exception) -> FormatError:
    return FormatError(f"the tree document is damaged: {error}", 37)
