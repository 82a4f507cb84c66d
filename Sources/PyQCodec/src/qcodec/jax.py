"""Pytrees of JAX: optax states, parameters, anything that is registered.

    import qcodec.jax

    qcodec.jax.save("state.qckpt", {"params": params, "opt": opt_state})
    restored = qcodec.jax.load("state.qckpt", like={"params": params, "opt": opt_state})
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.tree_util import tree_flatten, tree_flatten_with_path

from . import _save
from ._arrays import NUMPY, Memory, numpy_dtype
from ._bounds import Bound
from ._calls import Path
from ._checkpoint import Checkpoint
from ._errors import FormatError
from ._matching import children, match, rebuilt, rename_keys
from ._schemes import Policy
from ._tree_reader import TreeReader
from ._trees import PathKey, Remap, TreeWriter
from ._writer import Written

__all__ = ["load", "save"]


class _Jax:
    """Arrays of JAX, by host copies; on a CPU they are read where they lie."""

    name = "jax"

    def owns(self, value: Any) -> bool:
        return isinstance(value, jax.Array)

    def memory(self, value: jax.Array) -> Memory:
        return NUMPY.memory(np.asarray(value))

    def empty(self, dtype: int, shape: tuple[int, ...]) -> tuple[np.ndarray, Memory]:
        # Filled first, then given to JAX.
        array = np.empty(shape, numpy_dtype(dtype))
        return array, NUMPY.memory(array)


_JAX = _Jax()


def save(
    path: Path,
    tree: Any,
    policy: Policy | None = None,
    metadata: Mapping[str, str] | None = None,
    *,
    compression: str = "lz4",
    threads: int = 0,
    nonfinite: str = "error",
    measure_epsilon: float | None = None,
    quality: float | None = None,
    base: Path | Checkpoint | None = None,
    max_abs_error: Bound | None = None,
    max_rel_error: Bound | None = None,
    max_update_error: Bound | None = None,
    bound_epsilon: float = 1e-8,
) -> Written:
    """Saves a pytree as one checkpoint, atomically.

    Dicts, lists, tuples and named tuples are kept as they are, other registered nodes as their fields. An array that is
    sharded over devices is stored shard by shard, of those that this process can address; where processes share arrays,
    each saves to a path of its own. bfloat16 and float8 are stored as such. `policy`, `quality`, `base`, bounds
    (`max_abs_error`, `max_rel_error`, `max_update_error`, `bound_epsilon`) and errors as in `qcodec.save`.
    """
    writer = _JaxWriter([_JAX, NUMPY])
    writer.keeps_apart = max_update_error is not None
    options = {
        "compression": compression, "threads": threads, "nonfinite": nonfinite, "measure_epsilon": measure_epsilon,
        "base": base, "max_abs_error": max_abs_error, "max_rel_error": max_rel_error, "max_update_error": max_update_error,
        "bound_epsilon": bound_epsilon,
    }
    return _save(path, writer, writer.document(tree), policy, quality, metadata, options)


def load(
    path: Path, like: Any = None, *, remap: Remap | None = None, base: Path | Checkpoint | None = None, threads: int = 0
) -> Any:
    """Loads a pytree; arrays become JAX arrays.

    `like` restores classes (optax's named tuples, registered nodes) and puts arrays where those of `like` are, sharding
    included; leaves of it may be `jax.ShapeDtypeStruct`. Without it named tuples are tuples with their fields' names, and
    registered nodes are dicts. Raises `MismatchError` with every difference; `remap` and `base` as in `qcodec.load`.
    """
    with Checkpoint(path, base=base, threads=threads) as checkpoint:
        tree = _JaxReader(checkpoint, [_JAX, NUMPY]).tree()
    if like is not None:
        return match(tree, like, remap, _kind, _children, _rebuild, _place)
    tree = tree if remap is None else rename_keys(tree, remap)
    return _on_device(tree)


def _on_device(value: Any) -> Any:
    if isinstance(value, _Loaded):
        return value.on_device()
    found = children(value)
    return value if found is None else rebuilt(value, [(key, _on_device(child)) for key, child in found])


class _Loaded:
    """An array of the file on its way to JAX; no leaf of a pytree is confused with it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def on_device(self, sharding: Any = None) -> jax.Array:
        return jax.device_put(self.array, sharding)


def _kind(value: Any) -> tuple[str, tuple[int, ...]] | None:
    if isinstance(value, _Loaded):
        value = value.array
    if isinstance(value, (jax.Array, np.ndarray, np.generic, jax.ShapeDtypeStruct)):
        # Keys of random generators have types of their own.
        return str(value.dtype), tuple(value.shape)
    return None


def _place(value: Any, wanted: Any) -> Any:
    """A loaded array where the wanted one is."""
    if not isinstance(value, _Loaded):
        return value
    if isinstance(wanted, (np.ndarray, np.generic)):
        return value.array
    return value.on_device(getattr(wanted, "sharding", None))


# Nodes that JAX knows and Python's containers are not


def _is_node(value: Any) -> bool:
    return value is not None and not isinstance(value, (Mapping, list, tuple)) and not jax.tree_util.all_leaves([value])


def _fields(value: Any) -> list[tuple[str, Any]]:
    found, _ = tree_flatten_with_path(value, is_leaf=lambda inner: inner is not value)
    return [(_part(path[0]), child) for path, child in found]


def _part(key: Any) -> str:
    for attribute in ("name", "key", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def _children(value: Any) -> list[tuple[Any, Any]] | None:
    return _fields(value) if _is_node(value) else children(value)


def _rebuild(wanted: Any, items: list[tuple[Any, Any]]) -> Any:
    _, structure = tree_flatten(wanted, is_leaf=lambda inner: inner is not wanted)
    by_key = {str(key): value for key, value in items}
    # A mapping's leaves are in the order of JAX, not of its items.
    paths, _ = tree_flatten_with_path(wanted, is_leaf=lambda inner: inner is not wanted)
    known = {_part(path[0]): None for path, _ in paths}
    # None is no leaf of a pytree.
    return jax.tree_util.tree_unflatten(structure, [by_key[key] for key in known])


class _JaxWriter(TreeWriter):
    def special(self, value: Any, path: PathKey, shown: PathKey) -> Any:
        if isinstance(value, jax.Array):
            return self._array(value, path, shown)
        if _is_node(value):
            items = self._items(_fields(value), path, shown)
            return {"object": type(value).__name__, "items": [[key, node] for key, node in items]}
        return None

    def _array(self, value: jax.Array, path: PathKey, shown: PathKey) -> Any:
        if jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
            data = jax.random.key_data(value)
            return {"key": self.array(data, _JAX, path, shown), "impl": str(jax.random.key_impl(value))}
        shards = [shard for shard in value.addressable_shards if shard.replica_id == 0]
        if len(shards) == 1 and value.is_fully_addressable or value.is_fully_replicated:
            return self.array(value, _JAX, path, shown)
        parts = []
        for shard in shards:
            spans = [index.indices(length)[:2] for index, length in zip(shard.index, value.shape)]
            # The offsets come first, so that moments and their partners differ in the last component alone.
            offset = "shard-" + "-".join(str(start) for start, _ in spans)
            node = self.array(shard.data, _JAX, path, (*shown[:-1], offset, *shown[-1:]))
            parts.append({"array": node, "at": [list(span) for span in spans]})
        return {"shards": parts, "shape": list(value.shape), "dtype": np.dtype(value.dtype).name}


class _JaxReader(TreeReader):
    def _children(self, node: dict) -> Any:
        if "key" in node:
            return [node["key"]]
        if "shards" in node:
            return [part["array"] for part in node["shards"]]
        return super()._children(node)

    def finish(self, array: Any, node: dict) -> Any:
        return _Loaded(array) if array is not None and self._framework(node) is _JAX else array

    def special_value(self, node: dict) -> Any:
        if "object" in node:
            return {key: self.value(child) for key, child in node["items"]}
        if "key" in node:
            return jax.random.wrap_key_data(self.value(node["key"]).on_device(), impl=node["impl"])
        if "shards" in node:
            return self._assembled(node)
        return super().special_value(node)

    def _assembled(self, node: dict) -> _Loaded:
        parts = [(self.value(part["array"]).array, part["at"]) for part in node["shards"]]
        shape = tuple(node["shape"])
        array = np.empty(shape, parts[0][0].dtype)
        filled = 0
        for part, spans in parts:
            array[tuple(slice(*span) for span in spans)] = part
            filled += part.size
        if filled != array.size:
            raise FormatError(
                f"an array of {array.size} elements has shards of {filled} in this file: another process saved the others", 37)
        return _Loaded(array)

