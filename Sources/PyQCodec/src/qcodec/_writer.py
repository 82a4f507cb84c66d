"""Writing a checkpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from . import _interrupts, _library, _remote
from ._arrays import NUMPY, TYPES, Framework, Memory
from ._bounds import Bound, is_bounded, set_bound
from ._calls import ROLES, Path, describe
from ._checkpoint import Checkpoint
from ._errors import ArgumentError
from ._library import Handle, lib
from ._schemes import DEFAULT, Policy, Scheme, policy_handle
from ._target import Target

_COMPRESSIONS = {"none": 0, "lz4": 1, "zstd": 2}


@dataclasses.dataclass(frozen=True)
class Written:
    """What was written. Bytes of the file, of its chunks, and of the arrays as given; tensors; elements."""

    file_bytes: int
    stored_bytes: int
    source_bytes: int
    tensors: int
    elements: int


class Writer:
    """Writes a checkpoint. As a context manager it commits at the end, and gives the file up where an error leaves it.

    The file appears under its name only with the commit, flushed to the disk before; until then, and after any error, Ctrl-C,
    crash or kill, a previous file stays. Of a killed process a `.NAME.….qcodec-partial` may be left beside it, until the next
    writer to the same path. A forked process cannot go on with its parent's writer, and does it no harm. What goes
    to a URL is written to the folder for temporary files first (TMPDIR names it) and sent with the commit. An open file is
    written to forward, and left open. One thread at a time. `nonfinite="lossless"` stores a tensor with NaN or infinities
    losslessly instead of refusing it. `measure_epsilon` measures and records what coding does to the Adam update.

    `base`: a checkpoint, by its path or open, that the new one may refer to: what is the same is not stored again, and of
    what is not the difference is stored where that is smaller. Whoever reads the new one needs it, at the same place
    relative to it, or given.

    One of `max_abs_error`, `max_rel_error`, `max_update_error`: a bound that every element of what `add` takes keeps, x̂
    being what is loaded of x: |x - x̂|, |x - x̂| / |x| (below 1; zero stays zero), or |u - û| of the update u = m/(√v + ε) of
    every pair of moments, ε `bound_epsilon`. A number above 0, in units of the array, or text such as "0.15rms": in units of
    the root mean square of the array, or of the pair's updates; not for `max_rel_error`. The bound chooses how arrays are
    stored, so policies and schemes are refused; arrays below 4096 elements, and under `max_update_error` all but moments in
    pairs, are stored bit for bit. Raises `ArgumentError`, a ValueError, for a bound that cannot be, and for two.
    """

    def __init__(
        self,
        path: Path,
        *,
        compression: str = "lz4",
        zstd_level: int = 1,
        threads: int = 0,
        nonfinite: str = "error",
        measure_epsilon: float | None = None,
        base: Path | Checkpoint | None = None,
        max_abs_error: Bound | None = None,
        max_rel_error: Bound | None = None,
        max_update_error: Bound | None = None,
        bound_epsilon: float = 1e-8,
    ) -> None:
        self._handle = Handle()
        self._base: Checkpoint | None = None
        if compression not in _COMPRESSIONS:
            raise ArgumentError(f"compression is one of {', '.join(_COMPRESSIONS)}, not {compression!r}")
        if nonfinite not in ("error", "lossless"):
            raise ArgumentError(f"nonfinite is 'error' or 'lossless', not {nonfinite!r}")
        options = _library.WriterOptions()
        lib.writer_options_init(options)
        options.compression = _COMPRESSIONS[compression]
        options.zstd_level = zstd_level
        options.threads = threads
        options.keep_nonfinite = nonfinite == "lossless"
        options.measure_epsilon = math.nan if measure_epsilon is None else measure_epsilon
        self._bounds = {
            "max_abs_error": max_abs_error, "max_rel_error": max_rel_error, "max_update_error": max_update_error}
        self._is_bounded = set_bound(options, self._bounds, bound_epsilon)
        if base is not None:
            self._base = base if isinstance(base, Checkpoint) else Checkpoint(base, threads=threads)
            self._base._check_open()
            options.base = self._base._handle
            options.base_name = _remote.relative(self._base._place, path)
        self._added = 0
        self.written: Written | None = None
        self._target = Target(path)
        try:
            if self._target.function is None:
                self._handle = lib.handle(lib.writer_create, self._target.path, options)
            else:
                self._handle = self._call(
                    0, None, lib.handle, lib.writer_create_function, self._target.function, None, options)
        except BaseException:
            self._target.close(False)
            raise

    def _call(self, size: float, keep: Any, function, *arguments):
        # A handler that raises as a function of ours begins would be lost in C: it is not to run there.
        by_function = self._target.function is not None or (self._base is not None and self._base._reads_by_function)
        size = math.inf if by_function else size
        try:
            return _interrupts.call(size, (self, keep), function, *arguments)
        except Exception as failure:
            if self._base is not None and self._base._callbacks.error is not None:
                self._base._callbacks.reraise(failure)
            self._target.callbacks.reraise(failure)

    def add(
        self, arrays: Mapping[str, Any] | Iterable[tuple[str, Any]], policy: Policy | None = None, *,
        framework: Framework = NUMPY,
    ) -> list[str]:
        """Adds arrays by name under a policy, "adam8" unless given, and returns the names of those that it drops.

        Moments go together: the partner of a first moment is looked for among the arrays of one call. Raises `EncodeError` for
        NaN and infinities in what is not stored bit for bit, `ArgumentError` for a policy where the writer has a bound.
        """
        items = list(arrays.items() if isinstance(arrays, Mapping) else arrays)
        return self._add([(name, framework.memory(value)) for name, value in items], policy)

    def _add(self, memories: list[tuple[str, Memory]], policy: Policy | None) -> list[str]:
        is_bounded(self._bounds, policy)
        tensors = (_library.Tensor * len(memories))()
        alive = []
        for index, (name, memory) in enumerate(memories):
            tensors[index], owner = describe(name, memory)
            alive.append(owner)
        dropped = np.zeros(len(memories), np.uint8)
        size = sum(memory.size for _, memory in memories)
        self._added += size
        with contextlib.ExitStack() as stack:
            handle = None
            if not self._is_bounded:
                handle = stack.enter_context(policy_handle(DEFAULT if policy is None else policy))
            self._call(
                size, (alive, dropped), lib.writer_add, self._handle, tensors, len(memories), handle, dropped.ctypes.data)
        return [memories[index][0] for index in np.flatnonzero(dropped)]

    def add_encoded(
        self, name: str, array: Any, scheme: Scheme | None, *, role: str = "other", framework: Framework = NUMPY
    ) -> None:
        """Adds one array under a scheme of the value domain; None is lossless."""
        memory = framework.memory(array)
        tensor, alive = describe(name, memory, ROLES.index(role))
        self._added += memory.size
        if scheme is None:
            self._call(memory.size, alive, lib.writer_add_tensor, self._handle, tensor, None)
        else:
            with scheme._handle() as handle:
                self._call(memory.size, alive, lib.writer_add_tensor, self._handle, tensor, handle)

    def add_codes(
        self, name: str, shape: tuple[int, ...], scheme: Scheme, scales: np.ndarray, codes: np.ndarray, *,
        dtype: str = "F32", role: str = "other",
    ) -> None:
        """Adds a tensor that another system quantized, its codes and scales as they are.

        `scales`: float32, one for each block in C order, or the scale vector. `codes`: uint8, one string of bits, the first
        code first and the most significant bit of each first; zeros behind the last. Nothing is guaranteed of such a tensor;
        its measured errors are zeros.
        """
        number = next((number for number, (known, _, _) in TYPES.items() if known == dtype), 0)
        tensor, alive = describe(name, Memory(number, tuple(shape), 0, 0, None), ROLES.index(role))
        scales = np.ascontiguousarray(scales, np.float32)
        codes = np.ascontiguousarray(codes).view(np.uint8)
        self._added += codes.nbytes
        with scheme._handle() as handle:
            self._call(
                codes.nbytes, (alive, scales, codes), lib.writer_add_import, self._handle, tensor, handle,
                scales.ctypes.data, scales.nbytes, codes.ctypes.data, codes.nbytes,
            )

    def add_stream(
        self, name: str, shape: tuple[int, ...], scheme: Scheme, stream: np.ndarray, *, role: str = "other",
        second: tuple[str, Scheme, np.ndarray, str] | None = None,
    ) -> None:
        """Adds a float32 tensor that lies in memory as a stream, as it is: what an optimizer keeps.

        `second`: name, scheme, stream and role of the second moment of a first moment in the update domain, which is added
        with it.
        """
        tensor, alive = describe(name, Memory(1, tuple(shape), 0, 0, None), ROLES.index(role))
        stream = np.ascontiguousarray(stream).view(np.uint8)
        other, other_alive, other_stream = None, None, np.empty(0, np.uint8)
        with contextlib.ExitStack() as stack:
            handle, other_handle = stack.enter_context(scheme._handle()), None
            if second is not None:
                other, other_alive = describe(second[0], Memory(1, tuple(shape), 0, 0, None), ROLES.index(second[3]))
                other_handle = stack.enter_context(second[1]._handle())
                other_stream = np.ascontiguousarray(second[2]).view(np.uint8)
            size = stream.nbytes + other_stream.nbytes
            self._added += size
            self._call(
                size, (alive, other_alive, stream, other_stream), lib.writer_add_stream, self._handle, tensor, handle,
                stream.ctypes.data, stream.nbytes, other, other_handle, other_stream.ctypes.data, other_stream.nbytes,
            )

    def set_metadata(self, metadata: Mapping[str, str]) -> None:
        """What the user says of the file, text by text, as `qcodec inspect` shows it."""
        for key, value in metadata.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise ArgumentError(f"metadata are text by text; {key!r}: {value!r} is not")
        text = _json(metadata)
        lib.writer_set_metadata(self._handle, text, len(text))

    def set_member(self, member: str, document: Any) -> None:
        """A JSON value of one's own, kept beside the metadata."""
        text = _json(document)
        lib.writer_set_member(self._handle, member.encode(), text, len(text))

    def commit(self) -> Written:
        """Completes the file and puts it in place."""
        written = _library.Written()
        try:
            self._call(self._added, written, lib.writer_commit, self._handle, written)
        except BaseException:
            self._target.close(False)
            raise
        self._target.close(True)
        self.written = Written(*(getattr(written, field.name) for field in dataclasses.fields(Written)))
        return self.written

    def abort(self) -> None:
        """Gives the file up; does nothing after a commit."""
        lib.writer_abort(self._handle)
        self._target.close(False)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is not None:
            self.abort()
        elif self.written is None:
            self.commit()

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            lib.writer_free(self._handle)
            self._handle = Handle()
            self._target.close(False)


def _json(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
