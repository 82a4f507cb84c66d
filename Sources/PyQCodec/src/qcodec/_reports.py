"""What `inspect` and `verify` say, as dataclasses of the keys that `qcodec inspect --json` and `verify --json` have."""

from __future__ import annotations

import dataclasses
from typing import Any


def _fill(kind, members: dict[str, Any]):
    """A dataclass from a document; keys of later versions are left out."""
    known = {field.name for field in dataclasses.fields(kind)}
    return kind(**{key: value for key, value in members.items() if key in known})


@dataclasses.dataclass(frozen=True)
class UpdateError:
    """What coding pairs of moments did to the Adam update m/(√v + ε)."""

    pairs: int
    rel_l2: float
    max_abs: float
    v_zeroed: int
    sign_changes: int
    eps: float


def _update(members: dict[str, Any] | None) -> UpdateError | None:
    return None if members is None else _fill(UpdateError, members)


@dataclasses.dataclass(frozen=True)
class Base:
    """The checkpoint that another refers to: its digest, the place that was recorded, and whether it is at hand."""

    digest: str
    name: str | None
    found: bool

    @classmethod
    def _of(cls, members: dict[str, Any] | None) -> Base | None:
        return None if members is None else _fill(cls, members)


@dataclasses.dataclass(frozen=True)
class Flattened:
    """What `flatten` has done: bytes of the file before and after; chunks, those of them that were copied out of the base, and
    those whose differences were undone; bases behind one another."""

    input_bytes: int
    output_bytes: int
    chunks: int
    base_chunks: int
    difference_chunks: int
    bases: int


@dataclasses.dataclass(frozen=True)
class InspectedTensor:
    """One tensor, by the directory alone; None where a key does not apply."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    role: str
    encoding: str
    map: str | None
    bits: int | None
    signed: bool | None
    scaling: str | None
    block: int | None
    domain: str | None
    rounding: str | None
    scale_rule: str | None
    compression: str
    reason: str | None
    source_bytes: int
    stored_bytes: int
    bits_per_value: float
    base_chunks: int
    difference_chunks: int
    max_abs_error: float
    max_scaled_error: float | None
    rel_l2_error: float
    zeros_created: int
    sign_changes: int
    guaranteed_max_abs_error: float | None
    guaranteed_max_rel_error: float | None
    second_moment: str | None
    update_error: UpdateError | None


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What a checkpoint holds."""

    format_version: str
    file_bytes: int
    tensor_count: int
    element_count: int
    source_bytes: int
    stored_bytes: int
    ratio: float
    policy: dict[str, Any] | None
    error_bound: dict[str, Any] | None
    metadata: dict[str, str]
    base: Base | None
    update_error: UpdateError | None
    tensors: list[InspectedTensor]

    @classmethod
    def _of(cls, members: dict[str, Any]) -> Inspection:
        tensors = []
        for tensor in members["tensors"]:
            tensor["shape"] = tuple(tensor["shape"])
            tensor["update_error"] = _update(tensor["update_error"])
            tensors.append(_fill(InspectedTensor, tensor))
        update, base = _update(members["update_error"]), Base._of(members["base"])
        return _fill(cls, members | {"tensors": tensors, "update_error": update, "base": base})


@dataclasses.dataclass(frozen=True)
class Violation:
    """Something that is not as the file or the original says."""

    tensor: str | None
    index: int | None
    expected: float | None
    got: float | None
    bound: float | None
    reason: str


@dataclasses.dataclass(frozen=True)
class VerifiedTensor:
    """One tensor's part of a verification."""

    name: str
    max_abs_error: float | None
    rel_l2_error: float | None
    violations: int
    guaranteed_max_abs_error: float | None
    recomputed_guarantee: float | None
    guaranteed_max_rel_error: float | None
    recomputed_rel_guarantee: float | None
    second_moment: str | None
    update_error: UpdateError | None


@dataclasses.dataclass(frozen=True)
class VerificationReport:
    """What verification found; `update_error` is None without an original."""

    ok: bool
    violations: int
    first_violation: Violation | None
    update_error: UpdateError | None
    tensors: list[VerifiedTensor]

    @classmethod
    def _of(cls, members: dict[str, Any]) -> VerificationReport:
        first = members["first_violation"]
        tensors = [
            _fill(VerifiedTensor, tensor | {"update_error": _update(tensor["update_error"])})
            for tensor in members["tensors"]
        ]
        return _fill(
            cls,
            members
            | {
                "first_violation": None if first is None else _fill(Violation, first),
                "update_error": _update(members["update_error"]),
                "tensors": tensors,
            },
        )
