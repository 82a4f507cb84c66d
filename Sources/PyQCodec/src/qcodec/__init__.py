"""Compressed optimizer state: 8- and 4-bit checkpoints with proved error bounds.

    qcodec.save("state.qckpt", {"step": 7, "m": m, "v": v})
    tree = qcodec.load("state.qckpt")

    with qcodec.open("state.qckpt") as checkpoint:
        rows = checkpoint["m"][10:20]

No pickle, ever; no framework is imported until it is used: `qcodec.torch`, `qcodec.jax`, `qcodec.lightning`,
`qcodec.transformers`, `qcodec.distributed`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from . import _interrupts, _library
from ._arrays import NUMPY, TYPES
from ._bounds import Bound, is_bounded
from ._calls import Path
from ._checkpoint import Checkpoint
from ._errors import (
    ArgumentError,
    BoundError,
    CancelledError,
    EncodeError,
    FormatError,
    MismatchError,
    QCodecError,
    StorageError,
)
from ._library import lib, shape_argument
from ._matching import match, rename_keys
from ._reports import (
    Base,
    Flattened,
    Inspection,
    InspectedTensor,
    UpdateError,
    VerificationReport,
    VerifiedTensor,
    Violation,
)
from ._schemes import Policy, Scheme, of_quality
from ._tensor_view import TensorView
from ._tree_reader import TreeReader
from ._trees import MEMBER, Remap, TreeWriter
from ._writer import Writer, Written

__version__ = lib.version().decode()

__all__ = [
    "ArgumentError",
    "Base",
    "BoundError",
    "CancelledError",
    "Checkpoint",
    "Encoded",
    "EncodeError",
    "Flattened",
    "FormatError",
    "InspectedTensor",
    "Inspection",
    "MismatchError",
    "QCodecError",
    "Scheme",
    "StorageError",
    "TensorView",
    "UpdateError",
    "VerificationReport",
    "VerifiedTensor",
    "Violation",
    "Writer",
    "Written",
    "decode",
    "encode",
    "flatten",
    "inspect",
    "load",
    "open",
    "save",
    "verify",
]


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
    """Saves a tree of arrays and plain values as one checkpoint, atomically: after an error, Ctrl-C, a kill or a crash at any
    moment the previous file is there or the new one, whole.

    `tree`: nested dicts (text and integer keys), lists, tuples, named tuples, sets; NumPy and ml_dtypes arrays; numbers,
    text, bytes, paths, None, truth values. Arrays are named by their paths, by which `policy` knows moments ("state/0/exp_avg");
    everything that it does not quantize is stored bit for bit. Raises `EncodeError` for NaN and infinities in what is
    quantized (`nonfinite="lossless"` keeps such an array as it is), TypeError for what cannot be stored, with its path.
    `quality`: under "adamq" the relative L2 error of the update to aim at, 0.001 to 0.6; 0.1 if not given.

    `base`: a checkpoint that the new one may refer to, as that of an earlier step: see `Writer`.

    `policy` is "adam8" unless given. One of `max_abs_error`, `max_rel_error`, `max_update_error` takes its place: a bound that
    every element keeps, x̂ being what is loaded of x: |x - x̂|, |x - x̂| / |x|, or |u - û| of the update u = m/(√v + ε) of
    every pair of moments, ε `bound_epsilon`. A number in units of the array, or text such as "0.15rms", in units of its root
    mean square or of that of the pair's updates: see `Writer`. Under `max_update_error` arrays that share memory are stored by
    each of their names. Raises `ArgumentError`, a ValueError, for one that cannot be, for two, and for one beside `policy` or
    `quality`.
    """
    writer = TreeWriter([NUMPY])
    writer.keeps_apart = max_update_error is not None
    options = {
        "compression": compression, "threads": threads, "nonfinite": nonfinite, "measure_epsilon": measure_epsilon,
        "base": base, "max_abs_error": max_abs_error, "max_rel_error": max_rel_error, "max_update_error": max_update_error,
        "bound_epsilon": bound_epsilon,
    }
    return _save(path, writer, writer.document(tree), policy, quality, metadata, options)


def _save(
    path: Path,
    tree: TreeWriter,
    document: dict[str, Any],
    policy: Policy | None,
    quality: float | None,
    metadata: Mapping[str, str] | None,
    options: Mapping[str, Any],
    finish: Callable[[Writer], None] | None = None,
) -> Written:
    """Writes what a tree writer has gathered; `options` are the Writer's, `finish` adds what is no plain array."""
    # Before there is a file, which may be an open one.
    is_bounded(options, policy, quality)
    policy = of_quality(policy, quality)
    with Writer(path, **options) as writer:
        writer._add(tree.arrays, policy)
        if finish:
            finish(writer)
        writer.set_member(MEMBER, document)
        if metadata:
            writer.set_metadata(metadata)
        return writer.commit()


def load(
    path: Path, like: Any = None, *, remap: Remap | None = None, base: Path | Checkpoint | None = None, threads: int = 0
) -> Any:
    """Loads the tree of a checkpoint, with the types that it was saved with.

    `like`: a tree that what is loaded is to fit, leaf by leaf: same paths, shapes and types; its containers, named tuples
    included, take the values. Raises `MismatchError` with every difference. `remap`: renames paths of the checkpoint, by a
    mapping of paths or their beginnings, or by a function. Arrays that the policy dropped are None. `base`: see `Checkpoint`.

    A file of another kind, a pickle for instance, is refused by name (`FormatError`) and never executed.
    """
    with Checkpoint(path, base=base, threads=threads) as checkpoint:
        tree = TreeReader(checkpoint, [NUMPY]).tree()
    if like is not None:
        return match(tree, like, remap, _numpy_kind)
    return tree if remap is None else rename_keys(tree, remap)


def _numpy_kind(value: Any) -> tuple[str, tuple[int, ...]] | None:
    return (value.dtype.name, value.shape) if isinstance(value, (np.ndarray, np.generic)) else None


def open(  # noqa: A001 - qcodec.open, as gzip.open is
    path: Path, *, base: Path | Checkpoint | None = None, threads: int = 0
) -> Checkpoint:
    """Opens a checkpoint: a mapping of names to tensors, of which nothing is read before it is asked for."""
    return Checkpoint(path, base=base, threads=threads)


def inspect(path: Path, *, base: Path | Checkpoint | None = None) -> Inspection:
    """What a checkpoint holds, by its directory alone."""
    with Checkpoint(path, base=base) as checkpoint:
        return checkpoint.inspect()


def verify(
    path: Path, against: Any = None, *, base: Path | Checkpoint | None = None, threads: int = 0, **limits: Any
) -> VerificationReport:
    """Checks every byte and guarantee of a checkpoint, and each element against an original.

    `against`: a safetensors file, an index of shards, .npy, .npz or a checkpoint, or arrays by name. Limits: see
    `Checkpoint.verify`. Raises `BoundError`, with the report, where something is not as it should be.
    """
    with Checkpoint(path, base=base, threads=threads) as checkpoint:
        return checkpoint.verify(against, **limits)


def flatten(
    path: Path, target: Path, *, base: Path | Checkpoint | None = None, threads: int = 0
) -> Flattened:
    """Writes a checkpoint that refers to a base anew so that it needs none, and says what was done.

    Nothing is coded anew: chunks are copied out of the bases, and differences are undone. Where the bases were saved with the
    same options the file is, to the byte, what `save` would have written without `base`. `target`: a local file, which is
    replaced when the new one is whole and on the disk, a URL or an open file. `base`: see `Checkpoint`.

    Raises `FormatError` for a base that is missing or another checkpoint (codes 56 and 57) and for damage, with its place;
    `StorageError` where the system fails, and for a target that is the checkpoint or one of its bases (code 81). A previous
    file stays then.
    """
    with Checkpoint(path, base=base, threads=threads) as checkpoint:
        return checkpoint.flatten(target)


@dataclasses.dataclass(frozen=True)
class Encoded:
    """An array in memory under a scheme. The stream has no header: dtype, shape and scheme belong to it."""

    stream: np.ndarray
    dtype: str
    shape: tuple[int, ...]
    scheme: Scheme
    max_abs_error: float
    rel_l2_error: float
    guaranteed_max_abs_error: float
    zeros_created: int
    sign_changes: int


def encode(array: np.ndarray, scheme: Scheme, *, name: str = "", threads: int = 0) -> Encoded:
    """Encodes a float32, float16 or bfloat16 array; `name` is the key of stochastic rounding.

    Raises `EncodeError` for values that the scheme cannot hold.
    """
    memory = NUMPY.memory(array)
    shape = shape_argument(memory.shape)
    size = _library.c.c_size_t()
    measured = _library.Measured()
    with scheme._handle() as handle:
        lib.encoded_size(handle, memory.dtype, shape, len(memory.shape), size)
        stream = np.empty(size.value, np.uint8)
        _interrupts.call(
            memory.size, (memory, stream, measured), lib.encode, handle, memory.dtype, shape, len(memory.shape), name.encode(), memory.address or None, memory.size,
            stream.ctypes.data, stream.nbytes, threads, measured,
        )
        stored = Scheme._of(handle)
    return Encoded(
        stream, TYPES[memory.dtype][0], memory.shape, stored, measured.max_abs_error, measured.rel_l2_error,
        measured.guaranteed_max_abs_error, measured.zeros_created, measured.sign_changes,
    )


def decode(
    encoded: Encoded, rows: slice | None = None, *, out: np.ndarray | None = None, threads: int = 0
) -> np.ndarray:
    """Decodes an array, or a range of indices of its first axis, into `out` where it is given."""
    number = next(number for number, (name, _, _) in TYPES.items() if name == encoded.dtype)
    first, shape = 0, tuple(encoded.shape)
    if rows is not None:
        if not shape:
            raise ArgumentError("a scalar has no rows")
        first, stop, step = rows.indices(shape[0])
        if step != 1:
            raise ArgumentError("rows are decoded one after another: a step of 1")
        shape = (max(0, stop - first), *shape[1:])
    if out is None:
        out = NUMPY.empty(number, shape)[0]
    elif out.shape != shape or NUMPY.memory(out).dtype != number or not out.flags.c_contiguous or not out.flags.writeable:
        raise ArgumentError(f"out is to be a contiguous, writable {encoded.dtype} array of shape {shape}")
    memory = NUMPY.memory(out)
    dims = shape_argument(encoded.shape)
    stream = np.ascontiguousarray(encoded.stream)
    with encoded.scheme._handle() as handle:
        common = (handle, number, dims, len(encoded.shape), stream.ctypes.data, stream.nbytes)
        target = (memory.address or None, memory.size, threads)
        if rows is None:
            _interrupts.call(memory.size, (memory, stream), lib.decode, *common, *target)
        else:
            _interrupts.call(memory.size, (memory, stream), lib.decode_rows, *common, first, shape[0], *target)
    return out
