"""Optimizer states that other systems quantized: their codes and scales become streams as they are, and come back.

bitsandbytes keeps dictionaries of arrays, torchao subclasses of tensors, lpmm packed arrays with a dictionary of what they
mean. Each is described here as an `Import`, which a writer adds without quantizing anything anew. What no stream can hold
(scales that are not finite, rank-1 scales of a shape that the format gives blocks) is kept as plain arrays, bit for bit.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np

from ._schemes import Scheme, _table


@dataclasses.dataclass
class Import:
    """A quantized tensor of another system: scales float32, codes uint8 as `Writer.add_codes` takes them."""

    name: str
    shape: tuple[int, ...]
    scheme: Scheme
    scales: np.ndarray
    codes: np.ndarray
    role: str

    def add_to(self, writer) -> None:
        """Adds it to a checkpoint."""
        writer.add_codes(self.name, self.shape, self.scheme, self.scales, self.codes, role=self.role)


@dataclasses.dataclass
class Coded:
    """Moments of an optimizer of this package, whose streams are stored as they are: (name, scheme, stream, role), the second
    moment of a pair in the update domain with its first."""

    shape: tuple[int, ...]
    first: tuple[str, Scheme, np.ndarray, str]
    second: tuple[str, Scheme, np.ndarray, str] | None = None

    def add_to(self, writer) -> None:
        """Adds them to a checkpoint."""
        name, scheme, stream, role = self.first
        writer.add_stream(name, self.shape, scheme, stream, role=role, second=self.second)


# The maps of the format that other systems use too, bit for bit.
_NAMED = [
    ("dynamic", 8, True), ("dynamic", 8, False), ("dynamic", 4, True), ("dynamic", 4, False), ("linear-nozero", 4, False),
    ("normal", 4, True),
]


@functools.lru_cache(maxsize=None)
def _named_tables() -> dict[bytes, tuple[str, int, bool]]:
    tables = {}
    for map_, bits, signed in _NAMED:
        with Scheme(map_, bits, signed)._handle() as handle:
            tables[_table(handle).tobytes()] = (map_, bits, signed)
    return tables


def scheme_of(table: np.ndarray, signed: bool, scaling: str, block: int | None) -> Scheme | None:
    """The scheme by which codes of a table are read; None for a table of another size or with infinities."""
    table = np.ascontiguousarray(table, np.float32)
    if named := _named_tables().get(table.tobytes()):
        return Scheme(named[0], named[1], named[2], scaling, block)
    if table.size not in (16, 256) or np.isinf(table).any():
        return None
    bits = 4 if table.size == 16 else 8
    return Scheme("custom", bits, signed, scaling, block, table=tuple(table.tolist()), is_import=True)


def holds(scheme: Scheme, scales: np.ndarray, codes: np.ndarray) -> bool:
    """Whether a stream can hold these scales and codes."""
    if not np.isfinite(scales).all() or (scheme.scaling == "rank1" and np.signbit(scales).any()):
        return False
    if scheme.table is None or not (bad := np.isnan(np.asarray(scheme.table, np.float32))).any():
        return True
    # A code whose entry is NaN would decode to NaN. Tables of other systems have 16 or 256 entries: see scheme_of.
    used = codes if scheme.bits == 8 else np.concatenate([codes >> 4, codes & 15])
    return not bad[used].any()


def block_size(elements: int, blocks: int) -> int | None:
    """The power of two from 32 to 65,536 of which `elements` fill `blocks`; several where one block holds all."""
    candidates = [1 << k for k in range(5, 17) if -(-elements // (1 << k)) == blocks]
    # bitsandbytes' default where more than one would do.
    return 256 if 256 in candidates else candidates[0] if candidates else None


def float8_e4m3_table() -> np.ndarray:
    """The values of float8 E4M3 (finite, two NaN) by their bits."""
    bits = np.arange(256)
    sign = np.where(bits & 128, -1.0, 1.0)
    exponent, mantissa = (bits >> 3) & 15, bits & 7
    values = np.where(exponent == 0, mantissa / 8 * 2.0**-6, (1 + mantissa / 8) * 2.0 ** (exponent - 7.0)) * sign
    values[(bits & 127) == 127] = np.nan
    return values.astype(np.float32)


def rank1_is_itself(shape: tuple[int, ...]) -> bool:
    """Whether a tensor of this shape keeps rank-1 scales in the format, and has no axis without one."""
    return len(shape) >= 2 and min(shape) > 1 and 32 * sum(shape) <= math.prod(shape)


def swap_nibbles(codes: np.ndarray) -> np.ndarray:
    """lpmm has the earlier of two codes in the lower four bits, the format in the upper."""
    return ((codes >> 4) | (codes << 4)).astype(np.uint8)


def named_role(key: Any, both: bool) -> str:
    """The role of a state by its key."""
    if key in ("state2", "exp_avg_sq"):
        return "second_moment"
    return "first_moment" if both else "momentum"
