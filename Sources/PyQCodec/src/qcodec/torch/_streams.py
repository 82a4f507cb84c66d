"""Streams in tensors of PyTorch: what the optimizers keep."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

import torch

from .._library import lib, shape_argument


@functools.cache
def handle(document: str | None) -> Any:
    """The scheme of a document, for as long as the process lives; None is float32."""
    return None if document is None else lib.handle(lib.scheme_parse, document.encode())


def buffer(tensor: torch.Tensor) -> tuple[int | None, int]:
    """Where a tensor's bytes lie, and how many they are."""
    return tensor.data_ptr() or None, tensor.numel() * tensor.element_size()


def decoded(state: Mapping[str, Any], shape: torch.Size, threads: int = 0) -> dict[str, torch.Tensor]:
    """The moments of a parameter's state that are streams, as float32."""
    documents, result = state.get("schemes", {}), {}
    lengths = shape_argument(shape)
    seconds = [key for key, document in documents.items() if not json.loads(document).get("signed", True)]
    for key, document in documents.items():
        values = torch.empty(shape, dtype=torch.float32)
        stream, target = buffer(state[key]), buffer(values)
        if json.loads(document).get("domain") == "update":
            second = seconds[0]
            lib.decode_first_moment(
                handle(document), handle(documents[second]), lengths, len(shape), *stream, *buffer(state[second]), *target,
                threads)
        else:
            lib.decode(handle(document), 1, lengths, len(shape), *stream, *target, threads)
        result[key] = values
    return result


def are_streams(value: Mapping, schemes: Mapping) -> bool:
    """Whether a state has the streams that its schemes tell of."""
    return bool(schemes) and all(
        isinstance(value.get(key), torch.Tensor) and value[key].dtype == torch.uint8 and value[key].dim() == 1
        for key in schemes)
