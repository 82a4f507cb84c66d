"""Schemes and policies."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ._errors import ArgumentError
from ._library import Handle, lib

Policy = str | Mapping[str, Any] | os.PathLike
"""A preset's name ("adam8", "adam4", "adamq", "paper8", "paper4", "live8", "live4", "lossless"; "adamq:0.05" for a relative error
of the update of 0.05), a policy document, or the path of one in JSON."""

DEFAULT = "adam8"
"""The policy where neither policy nor bound is given."""

_SCALINGS = {"tensor": 1, "block": 2, "row": 3, "column": 4, "rank1": 5}


@dataclasses.dataclass(frozen=True)
class Scheme:
    """How a tensor is quantized; None takes the map's own default.

    `map`: dynamic, linear, linear-nozero, dynamic-nozero, normal, cubic, log, custom. `bits`: 2, 3, 4, 5, 6 or 8
    (dynamic and dynamic-nozero: 4 or 8; normal: 4). `scaling`: block, tensor, row, column, rank1. `block`: elements that
    share a scale. `rounding`: nearest, nearest-keep-nonzero, stochastic (with `seed`). `domain`: value or update. `table`: the
    2^bits entries of a custom map. `is_import`: such a table is of another system, of any order and range, and codes are
    read by it and never chosen.
    """

    map: str
    bits: int = 8
    signed: bool | None = None
    scaling: str = "block"
    block: int | None = None
    rounding: str | None = None
    seed: int | None = None
    domain: str | None = None
    scale_rule: str | None = None
    table: tuple[float, ...] | None = None
    is_import: bool = False

    def document(self) -> dict[str, Any]:
        """The scheme as policies hold it."""
        members = dataclasses.asdict(self)
        del members["is_import"]
        if members["seed"] is not None and members["seed"] >= 2**63:
            # Beyond JSON's integers as policies read them.
            members["seed"] = str(members["seed"])
        return {key: value for key, value in members.items() if value is not None}

    @contextlib.contextmanager
    def _handle(self) -> Iterator[Handle]:
        if self.is_import:
            table = np.ascontiguousarray(self.table, np.float32)
            made = lib.handle(
                lib.scheme_create_custom, table.ctypes.data, table.size, bool(self.signed), 1, _SCALINGS[self.scaling],
                self.block or 0,
            )
        else:
            made = lib.handle(lib.scheme_parse, json.dumps(self.document()).encode())
        try:
            yield made
        finally:
            lib.scheme_free(made)

    @classmethod
    def _of(cls, handle: Handle) -> Scheme:
        """The scheme of a handle, which is left to the caller. A named map's table is left out."""
        members = json.loads(lib.text(lib.scheme_text, handle))
        is_import = members["map"] == "custom" and members["rounding"] == "unknown"
        if "table" in members:
            members["table"] = tuple(_table(handle).tolist())
        if "seed" in members:
            members["seed"] = int(members["seed"])
        return cls(**members, is_import=is_import)


def _table(handle: Handle) -> np.ndarray:
    """The entries of a scheme's map as float32; none for `log`."""
    table = np.empty(lib.scheme_table(handle, None, 0), np.float32)
    lib.scheme_table(handle, table.ctypes.data, table.size)
    return table


def of_quality(policy: Policy | None, quality: float | None) -> Policy | None:
    """The policy for a quality, which "adamq" alone has; None leaves the policy as it is."""
    if quality is None:
        return policy
    if policy != "adamq":
        raise ArgumentError(f"quality goes with the policy 'adamq', not {policy!r}")
    return f"adamq:{float(quality)!r}"


@contextlib.contextmanager
def policy_handle(policy: Policy) -> Iterator[Handle]:
    """The library's policy for a preset, a document or a path."""
    if isinstance(policy, Mapping):
        text = json.dumps(policy).encode()
    elif isinstance(policy, os.PathLike) or (isinstance(policy, str) and policy.endswith(".json")):
        with open(policy, "rb") as file:
            text = file.read()
    elif isinstance(policy, str):
        text = None
        name = policy.encode()
    else:
        raise ArgumentError(f"a policy is a name, a document or a path, not {type(policy).__name__}")
    if text is None:
        made = lib.handle(lib.policy_preset, name)
    else:
        made = lib.handle(lib.policy_parse, text, len(text))
    try:
        yield made
    finally:
        lib.policy_free(made)
