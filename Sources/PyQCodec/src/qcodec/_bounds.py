"""Bounds that every element of what is saved keeps."""

from __future__ import annotations

import numbers
import re
from collections.abc import Mapping
from typing import Any

from . import _library
from ._errors import ArgumentError
from ._schemes import Policy

Bound = float | str
"""A number above 0, or text: "1e-6", or "0.15rms" in units of a root mean square."""

# Kinds as qcodec.h numbers them.
KINDS = {"max_abs_error": 1, "max_rel_error": 2, "max_update_error": 3}
_TEXT = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(rms)?")


def is_bounded(options: Mapping[str, Any], policy: Policy | None, quality: float | None = None) -> bool:
    """Whether the options have a bound. Raises ArgumentError for more than one, and for one with a policy or quality."""
    given = [name for name in KINDS if options.get(name) is not None]
    if len(given) > 1:
        raise ArgumentError(f"one bound is wanted: {', '.join(KINDS)}; not {' and '.join(given)}")
    if given and (policy is not None or quality is not None):
        raise ArgumentError(f"a bound chooses schemes itself: {given[0]} goes without policy and quality")
    return bool(given)


def set_bound(target: _library.WriterOptions, options: Mapping[str, Any], epsilon: float) -> bool:
    """Puts a bound into the library's options, which checks its value; whether there is one."""
    if not is_bounded(options, None):
        return False
    name = next(name for name in KINDS if options[name] is not None)
    target.bound = KINDS[name]
    target.bound_value, target.bound_is_of_rms = _parsed(name, options[name])
    target.bound_epsilon = epsilon
    return True


def _parsed(name: str, bound: Any) -> tuple[float, bool]:
    if isinstance(bound, str) and (match := _TEXT.fullmatch(bound)):
        return float(match[1]), match[2] is not None
    if isinstance(bound, numbers.Real) and not isinstance(bound, bool):
        return float(bound), False
    raise ArgumentError(f"{name} is a number, or text such as '0.15rms', not {bound!r}")
