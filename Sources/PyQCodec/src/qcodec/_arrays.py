"""Arrays as the library sees them: an element type, a shape and memory. NumPy's here; other frameworks bring their own."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np

# Element types by the numbers that files store: name as safetensors has it, NumPy's or ml_dtypes' name, bytes.
TYPES = {
    1: ("F32", "float32", 4),
    2: ("F64", "float64", 8),
    3: ("F16", "float16", 2),
    4: ("BF16", "bfloat16", 2),
    5: ("I8", "int8", 1),
    6: ("I16", "int16", 2),
    7: ("I32", "int32", 4),
    8: ("I64", "int64", 8),
    9: ("U8", "uint8", 1),
    10: ("U16", "uint16", 2),
    11: ("U32", "uint32", 4),
    12: ("U64", "uint64", 8),
    13: ("BOOL", "bool", 1),
    14: ("F8_E4M3", "float8_e4m3fn", 1),
    15: ("F8_E5M2", "float8_e5m2", 1),
    16: ("F8_E8M0", "float8_e8m0fnu", 1),
    17: ("F8_E4M3FNUZ", "float8_e4m3fnuz", 1),
    18: ("F8_E5M2FNUZ", "float8_e5m2fnuz", 1),
    19: ("C64", "complex64", 8),
    20: ("C128", "complex128", 16),
    21: ("F4", None, None),
    22: ("F6_E2M3", None, None),
    23: ("F6_E3M2", None, None),
}
BY_NUMPY = {numpy: number for number, (_, numpy, _) in TYPES.items() if numpy}


@dataclasses.dataclass
class Memory:
    """Where an array lies: `size` bytes at `address`, which `owner` keeps alive."""

    dtype: int
    shape: tuple[int, ...]
    address: int
    size: int
    owner: Any


class Framework(Protocol):
    """What a framework's arrays are to the library."""

    name: str

    def owns(self, value: Any) -> bool:
        """Whether a value is an array of this framework."""

    def memory(self, value: Any) -> Memory:
        """The array's memory in C order: its own where it is contiguous, else a copy's."""

    def empty(self, dtype: int, shape: tuple[int, ...]) -> tuple[Any, Memory]:
        """A new array and its memory."""


class NumPy:
    """NumPy arrays, those of ml_dtypes' types included."""

    name = "numpy"

    def owns(self, value: Any) -> bool:
        return isinstance(value, np.ndarray)

    def memory(self, value: np.ndarray) -> Memory:
        number = BY_NUMPY.get(value.dtype.name)
        if number is None:
            raise TypeError(f"arrays of {value.dtype} cannot be stored")
        if value.dtype.byteorder == ">" or (value.dtype.byteorder == "=" and not np.little_endian):
            value = value.astype(value.dtype.newbyteorder("<"))
        # ascontiguousarray makes scalars one-dimensional.
        array = value if value.flags.c_contiguous else value.copy(order="C")
        return Memory(number, value.shape, array.__array_interface__["data"][0], array.nbytes, array)

    def empty(self, dtype: int, shape: tuple[int, ...]) -> tuple[np.ndarray, Memory]:
        array = np.empty(shape, numpy_dtype(dtype))
        return array, self.memory(array)


def numpy_dtype(number: int) -> np.dtype:
    """NumPy's type of a number, from ml_dtypes where NumPy has none."""
    name, numpy, _ = TYPES[number]
    if numpy is None:
        raise TypeError(f"NumPy has no type for {name}")
    try:
        return np.dtype(numpy)
    except TypeError:
        pass
    try:
        import ml_dtypes
    except ImportError:
        raise ImportError(f"{name} arrays need ml_dtypes: pip install ml_dtypes") from None
    return np.dtype(getattr(ml_dtypes, numpy))


NUMPY = NumPy()
