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
from ._errors import ArgumentError, FormatError, MismatchError
from ._files import Checkpoint

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
        if memory.size == 0 or (name := self._known.get(key)) is None:
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
        default = document.get("arrays")
        self._default = self._frameworks.get(default, next(iter(self._frameworks.values())))
        self._arrays: dict[tuple[str, str], Any] = {}

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
                return node[kind]
        for kind in ("dict", "OrderedDict", "Counter"):
            if kind in node:
                return [*(child for _, child in node[kind]), node.get("metadata")]
        return [child for _, child in node["items"]] if "items" in node else []

    def value(self, node: Any) -> Any:
        """The value of a document."""
        if node is None or isinstance(node, (bool, str, int)):
            return node
        try:
            return self._value(node)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            if isinstance(error, FormatError):
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
            return complex(*map(float, node["complex"]))
        if "bytes" in node:
            return base64.b64decode(node["bytes"], validate=True)
        if "list" in node:
            return [self.value(child) for child in node["list"]]
        if "tuple" in node:
            return tuple(self.value(child) for child in node["tuple"])
        if "dict" in node:
            return {_key(key): self.value(child) for key, child in node["dict"]}
        if "OrderedDict" in node:
            result = collections.OrderedDict((_key(key), self.value(child)) for key, child in node["OrderedDict"])
            if "metadata" in node:
                result._metadata = self.value(node["metadata"])
            return result
        if "Counter" in node:
            return collections.Counter({_key(key): self.value(child) for key, child in node["Counter"]})
        if "set" in node:
            return {self.value(child) for child in node["set"]}
        if "frozenset" in node:
            return frozenset(self.value(child) for child in node["frozenset"])
        if "path" in node:
            return pathlib.Path(_text(node["path"]))
        if "namedtuple" in node:
            return Fields(_text(node["namedtuple"]), [(_text(key), self.value(child)) for key, child in node["items"]])
        return self.special_value(node)

    def finish(self, array: Any, node: dict) -> Any:
        """An array as the node wants it."""
        return array

    def special_value(self, node: dict) -> Any:
        """The value of a node that only a framework knows."""
        raise FormatError(f"the tree document has a part of an unknown kind, {next(iter(node), 'an empty one')!r}", 37)


class Fields(tuple):
    """A named tuple whose class is not at hand: a tuple with its fields' values, by name too. `like` restores the class."""

    def __new__(cls, name: str, items: list[tuple[str, Any]]):
        self = super().__new__(cls, (value for _, value in items))
        self._name = name
        self._fields = tuple(key for key, _ in items)
        return self

    def __getattr__(self, field: str) -> Any:
        try:
            return self[object.__getattribute__(self, "_fields").index(field)]
        except ValueError:
            raise AttributeError(field) from None

    def __repr__(self) -> str:
        return f"{self._name}({', '.join(f'{key}={value!r}' for key, value in zip(self._fields, self))})"

    def __reduce__(self):
        return Fields, (self._name, list(zip(self._fields, self)))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a name is no text")
    return value


def _key(value: Any) -> Any:
    if type(value) not in (str, int):
        raise TypeError("a key is neither text nor an integer")
    return value


def _corrupt(error: Exception) -> FormatError:
    return FormatError(f"the tree document is damaged: {error}", 37)


# Renaming and matching


def renamed(path: str, remap: Remap | None) -> str:
    """A path under a renaming: a function, or a mapping of whole paths or their beginnings, the longest first."""
    if remap is None:
        return path
    if callable(remap):
        return remap(path)
    end = len(path)
    while end > 0:
        if path[:end] in remap:
            return (remap[path[:end]] + path[end:]).strip("/")
        end = path.rfind("/", 0, end)
    return path


def children(value: Any) -> list[tuple[Any, Any]] | None:
    """Keys and values of a container; None for what is none."""
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value))
    if isinstance(value, (list, tuple)):
        return list(enumerate(value))
    return None


def leaves(tree: Any, path: PathKey = ()):
    """Everything in a tree that is no container, with its path; empty containers count."""
    found = children(tree)
    if not found:
        yield path, tree
        return
    for key, value in found:
        yield from leaves(value, (*path, str(key)))


def rename_keys(tree: Any, remap: Remap, path: PathKey = ()) -> Any:
    """The tree with other keys in its dictionaries. A value cannot move to another parent: that takes `like`."""
    found = children(tree)
    if found is None:
        return tree
    if not isinstance(tree, Mapping):
        items = [rename_keys(value, remap, (*path, str(key))) for key, value in found]
        if isinstance(tree, Fields):
            return Fields(tree._name, list(zip(tree._fields, items)))
        return type(tree)(items)
    parent = renamed(path_text(path), remap) if path else ""
    result = type(tree)()
    for key, value in found:
        old = path_text((*path, str(key)))
        new = renamed(old, remap)
        inner = rename_keys(value, remap, (*path, str(key)))
        head, _, last = new.rpartition("/") if "/" not in str(key) or new != old else (parent, "", str(key))
        if new != old and head != parent:
            raise ArgumentError(f"'{old}' would become '{new}', under another parent: give `like` as well")
        name = key if new == old or last == str(key) else last
        if name in result:
            raise ArgumentError(f"two values would become '{new}'")
        result[name] = inner
    return result


def match(tree: Any, like: Any, remap: Remap | None, owns: Callable[[Any], Any], expand=children, rebuild=None) -> Any:
    """The loaded tree's values in the containers of `like`; raises MismatchError with every difference.

    `owns` describes an array as (dtype, shape), or gives None for what is none.
    """
    differences: list[str] = []
    values: dict[str, Any] = {}
    for path, value in leaves(tree):
        name = renamed(path_text(path), remap)
        if name in values:
            differences.append(f"{name}: two values have this name after renaming")
        values[name] = value
    used: set[str] = set()

    def fill(wanted: Any, path: PathKey) -> Any:
        found = expand(wanted)
        if found:
            items = [(key, fill(value, (*path, str(key)))) for key, value in found]
            return (rebuild or _rebuild)(wanted, items)
        name = path_text(path)
        if name not in values:
            # A container that holds nothing on either side leaves no trace.
            if found is None:
                differences.append(f"{name or 'the tree'}: missing in the checkpoint")
            return wanted
        used.add(name)
        value = values[name]
        own, other = owns(value), owns(wanted)
        if (own is None) != (other is None):
            differences.append(f"{name}: {_kind(value, own)} in the checkpoint, {_kind(wanted, other)} wanted")
        elif own is not None:
            if own[1] != other[1]:
                differences.append(f"{name}: shape {own[1]} in the checkpoint, {other[1]} wanted")
            elif own[0] != other[0]:
                differences.append(f"{name}: {own[0]} in the checkpoint, {other[0]} wanted")
        elif found is not None or children(value) is not None:
            if children(value) != [] or found != []:
                differences.append(f"{name}: {_kind(value, None)} in the checkpoint, {_kind(wanted, None)} wanted")
            return wanted
        elif type(value) is not type(wanted) and not (_number(value) and _number(wanted)):
            differences.append(f"{name}: {_kind(value, None)} in the checkpoint, {_kind(wanted, None)} wanted")
        return value

    result = fill(like, ())
    for name, value in values.items():
        if name not in used and children(value) is None:
            differences.append(f"{name or 'the tree'}: in the checkpoint, but not wanted")
    if differences:
        raise MismatchError(differences)
    return result


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _kind(value: Any, array: Any) -> str:
    return f"an array {array[0]} {array[1]}" if array is not None else "None" if value is None else f"a {type(value).__name__}"


def _rebuild(wanted: Any, items: list[tuple[Any, Any]]) -> Any:
    if isinstance(wanted, Mapping):
        try:
            return type(wanted)(items)
        except TypeError:
            return dict(items)
    values = [value for _, value in items]
    if isinstance(wanted, tuple) and hasattr(wanted, "_make"):
        return type(wanted)._make(values)
    return type(wanted)(values)
