"""A tensor of an open checkpoint."""

from __future__ import annotations

import ctypes
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _library
from ._arrays import NUMPY, TYPES, Framework
from ._calls import ROLES
from ._library import lib
from ._schemes import Scheme, _table

if TYPE_CHECKING:
    from ._checkpoint import Checkpoint


class TensorView:
    """A tensor of an open checkpoint, read when it is asked for: `view[:]`, `view[2:5]`, `view[7]`, `numpy.asarray(view)`."""

    def __init__(self, checkpoint: Checkpoint, index: int, name: str) -> None:
        self._checkpoint = checkpoint
        self._index = index
        info = _library.TensorInfo()
        lib.reader_info(checkpoint._handle, index, info)
        self._dtype = info.dtype
        self.name = name
        self.dtype = TYPES[info.dtype][0]
        """As safetensors names it: "F32", "BF16"."""
        self.shape: tuple[int, ...] = tuple(info.shape[: info.dims])
        self.size: int = info.elements
        self.role: str = ROLES[info.role]
        self.is_quantized = bool(info.is_quantized)
        self.source_bytes: int = info.source_bytes
        self.stored_bytes: int = info.stored_bytes
        measured = info.measured
        self.max_abs_error: float = measured.max_abs_error
        self.rel_l2_error: float = measured.rel_l2_error
        self.guaranteed_max_abs_error = None if math.isnan(x := measured.guaranteed_max_abs_error) else x
        """The largest error that the file admits; None where nothing is guaranteed."""

    @property
    def scheme(self) -> Scheme | None:
        """How it is quantized; None if it is lossless."""
        handle = lib.handle(lib.reader_scheme, self._checkpoint._handle, self._index)
        if not handle:
            return None
        try:
            return Scheme._of(handle)
        finally:
            lib.scheme_free(handle)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a scalar has no length")
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Rows, and what NumPy makes of them; only the chunks that hold the rows are read."""
        key = key if isinstance(key, tuple) else (key,)
        if not self.shape or not key or key[0] is Ellipsis or key[0] is None:
            return self.numpy()[key]
        rest = key[1:]
        if isinstance(key[0], slice):
            start, stop, step = key[0].indices(self.shape[0])
            if step == 1:
                return self.rows(start, max(start, stop))[(slice(None), *rest)]
            first, last = sorted((start, start + step * (len(range(start, stop, step)) - 1)))
            if len(range(start, stop, step)) == 0:
                return self.rows(0, 0)[(slice(None), *rest)]
            return self.rows(first, last + 1)[:: step][(slice(None), *rest)]
        if isinstance(key[0], (int, np.integer)) and not isinstance(key[0], bool):
            row = int(key[0]) + (self.shape[0] if key[0] < 0 else 0)
            if not 0 <= row < self.shape[0]:
                raise IndexError(f"row {key[0]} of {self.shape[0]}")
            return self.rows(row, row + 1)[(0, *rest)]
        return self.numpy()[key]

    def numpy(self) -> np.ndarray:
        """The whole tensor."""
        return self.read(NUMPY)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        array = self.numpy()
        return array if dtype is None else array.astype(dtype)

    def read(self, framework: Framework) -> Any:
        """The whole tensor as an array of a framework."""
        array, memory = framework.empty(self._dtype, self.shape)
        self._checkpoint._read([(self._index, memory)])
        return array

    def rows(self, start: int, stop: int, framework: Framework = NUMPY) -> Any:
        """Indices start … stop − 1 of the first axis."""
        array, memory = framework.empty(self._dtype, (stop - start, *self.shape[1:]))
        self._checkpoint._call(
            memory.size, memory, lib.reader_read_rows, self._checkpoint._handle, self._index, start, stop - start,
            memory.address or None, memory.size, self._checkpoint.threads,
        )
        return array

    def codes(self) -> tuple[np.ndarray, np.ndarray]:
        """Scales (float32) and codes as they are stored (uint8): a string of bits, the most significant of a code first."""
        sizes = ctypes.c_size_t(), ctypes.c_size_t()
        lib.reader_code_sizes(self._checkpoint._handle, self._index, *sizes)
        scales, codes = np.empty(sizes[0].value // 4, np.float32), np.empty(sizes[1].value, np.uint8)
        self._checkpoint._call(
            codes.nbytes, (scales, codes), lib.reader_read_codes, self._checkpoint._handle, self._index, scales.ctypes.data,
            scales.nbytes, codes.ctypes.data, codes.nbytes, self._checkpoint.threads,
        )
        return scales, codes

    def stream(self) -> np.ndarray:
        """The whole of a quantized tensor as it is stored (uint8): the stream that `add_stream` takes."""
        sizes = ctypes.c_size_t(), ctypes.c_size_t()
        lib.reader_code_sizes(self._checkpoint._handle, self._index, *sizes)
        stream = np.empty(sizes[0].value + sizes[1].value, np.uint8)
        self._checkpoint._call(
            stream.nbytes, stream, lib.reader_read_stream, self._checkpoint._handle, self._index, stream.ctypes.data,
            stream.nbytes, self._checkpoint.threads,
        )
        return stream

    def table(self) -> np.ndarray:
        """The entries of its quantization map, float32; none for `log` and lossless tensors."""
        handle = lib.handle(lib.reader_scheme, self._checkpoint._handle, self._index)
        try:
            return _table(handle)
        finally:
            lib.scheme_free(handle)

    def __repr__(self) -> str:
        return f"<tensor {self.name!r} {self.dtype} {self.shape}>"
