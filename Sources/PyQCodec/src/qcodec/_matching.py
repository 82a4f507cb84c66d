"""Renaming the arrays of trees, and putting them into the places that others have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ._errors import ArgumentError, MismatchError
from ._trees import PathKey, Remap, path_text


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


def rebuilt(container: Any, items: list[tuple[Any, Any]]) -> Any:
    """A container of the same kind with other values, as `children` gives them."""
    kind: Any = type(container)
    if isinstance(container, Mapping):
        try:
            return kind(items)
        except TypeError:
            return dict(items)
    values = [value for _, value in items]
    if isinstance(container, tuple) and hasattr(container, "_make"):
        return kind._make(values)
    return kind(values)


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
        return rebuilt(tree, [(key, rename_keys(value, remap, (*path, str(key)))) for key, value in found])
    parent = renamed(path_text(path), remap) if path else ""
    result: Any = type(tree)()
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


def match(
    tree: Any,
    like: Any,
    remap: Remap | None,
    owns: Callable[[Any], Any],
    expand: Callable[[Any], Any] = children,
    rebuild: Callable[[Any, list], Any] = rebuilt,
    place: Callable[[Any, Any], Any] | None = None,
) -> Any:
    """The loaded tree's values in the containers of `like`; raises MismatchError with every difference.

    `owns` describes an array as (dtype, shape), or gives None for what is none. `expand` and `rebuild` take containers of
    `like` apart and put them together; `place` makes of a loaded array and the wanted one what is returned.
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
            return rebuild(wanted, items)
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
        return place(value, wanted) if place else value

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
