"""Keeping the moments of a parameter in one file."""

from __future__ import annotations

import dataclasses
import math
import re

from torch.distributed.checkpoint.metadata import MetadataIndex
from torch.distributed.checkpoint.planner import SavePlan, WriteItem


@dataclasses.dataclass(frozen=True)
class Held:
    """The moments that a rank has, among them those that another rank will write."""

    moments: frozenset[MetadataIndex]


# Names of moments, as the library knows them: endings of a component, and whole components.
_ENDING = re.compile(
    r"(?:^|(?<=[_-]))(?:exp_avg(?:_sq)?s?|exp_avg_slow|exp_avg_fast|grad_avg|square_avgs?|first_moment|second_moment)$")
_WHOLE = frozenset(
    ["m", "v", "mu", "nu", "state1", "state2", "momentum", "velocity", "moment1", "moment2", "adam_m", "adam_v"])


def pair_of(fqn: str) -> str | None:
    """What the names of a first moment and its second have in common; None for what is no moment."""
    components = fqn.split(".")
    common = ["*" if component in _WHOLE else _ENDING.sub("*", component) for component in components]
    return ".".join(common) if common != components else None


def join_pairs(plans: list[SavePlan]) -> list[SavePlan]:
    """Plans in which the moments of a parameter, or of one shard of it, are written by one rank.

    Of what several ranks hold, replicated tensors for instance, DCP deals each to one of them. A first moment is stored
    in units of its second, which has to be in the same file.
    """
    held = [plan.storage_data.moments if isinstance(plan.storage_data, Held) else frozenset() for plan in plans]
    plans = [dataclasses.replace(plan, storage_data=None) for plan in plans]
    # An unusable plan stands for one that its rank has kept, and that is not to be seen from here.
    if not all(plan.usable for plan in plans):
        return plans
    loads = [sum(map(bytes_of, plan.items)) for plan in plans]
    groups: dict[tuple[str, tuple[int, ...]], list[tuple[int, WriteItem]]] = {}
    for rank, plan in enumerate(plans):
        for item in plan.items:
            if item.tensor_data and (pair := pair_of(item.index.fqn)):
                groups.setdefault((pair, tuple(item.index.offset or ())), []).append((rank, item))
    moves: dict[MetadataIndex, int] = {}
    for members in groups.values():
        holders = [rank for rank in range(len(plans)) if all(item.index in held[rank] for _, item in members)]
        if len({rank for rank, _ in members}) == 1 or not holders:
            continue
        for rank, item in members:
            loads[rank] -= bytes_of(item)
        target = min(holders, key=loads.__getitem__)
        for rank, item in members:
            loads[target] += bytes_of(item)
            moves[item.index] = target
    if not moves:
        return plans
    items: list[list[WriteItem]] = [[] for _ in plans]
    for rank, plan in enumerate(plans):
        for item in plan.items:
            items[moves.get(item.index, rank)].append(item)
    return [dataclasses.replace(plan, items=part) for plan, part in zip(plans, items)]


def bytes_of(item: WriteItem) -> int:
    data = item.tensor_data
    return 0 if data is None else math.prod(data.chunk.sizes) * data.properties.dtype.itemsize
