"""The arithmetic of rolling updates and scaling: pure functions over counts of pods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """One ReplicaSet as the arithmetic sees it: pods asked for; pods available, and pods there, as last told."""

    name: str
    replicas: int
    available: int
    present: int = 0

    @property
    def most(self) -> int:
        """How many pods there may be: those asked for, and those not deleted yet."""
        return max(self.replicas, self.present)


def resolve(value: int | str, total: int, *, up: bool) -> int:
    """A count, or a percentage such as ``"25%"`` of ``total``, rounded up or down. Raises ValueError."""
    if isinstance(value, int):
        return value
    if not value.endswith("%"):
        raise ValueError(f"{value!r} is neither a number nor a percentage")
    share = int(value[:-1]) * total / 100
    return math.ceil(share) if up else math.floor(share)


def limits(surge: int | str, unavailable: int | str, desired: int) -> tuple[int, int]:
    """``(maxSurge, maxUnavailable)`` as counts; never both zero, or nothing could move."""
    most_surge = resolve(surge, desired, up=True)
    most_unavailable = min(resolve(unavailable, desired, up=False), desired)
    if most_surge == 0 and most_unavailable == 0:
        return 0, 1
    return most_surge, most_unavailable


def rolling_step(desired: int, surge: int, unavailable: int, new: Counts, old: Sequence[Counts]) -> dict[str, int]:
    """The next sizes of the ReplicaSets that must change, by name; empty when there is nothing to do now.

    Never asks for more than ``desired + surge`` pods, nor takes away pods that are needed to keep
    ``desired - unavailable`` of them available. ``old`` is ordered, oldest first. The new set grows first.
    """
    grown = new_size(desired, surge, new, old)
    if grown != new.replicas:
        return {new.name: grown}
    return _shrink(desired - unavailable, new, old)


def new_size(desired: int, surge: int, new: Counts, old: Sequence[Counts]) -> int:
    """How many pods the new set may have now."""
    if new.replicas >= desired:
        return desired
    room = desired + surge - new.replicas - sum(each.most for each in old)
    return new.replicas + max(0, min(room, desired - new.replicas))


def _shrink(least_available: int, new: Counts, old: Sequence[Counts]) -> dict[str, int]:
    pods = new.replicas + sum(each.replicas for each in old)
    spare = pods - least_available - (new.replicas - min(new.available, new.replicas))
    sizes = {each.name: each.replicas for each in old}
    for each in old:
        # Pods that are not available can go without anyone missing them.
        cut = max(0, min(spare, each.replicas - min(each.available, each.replicas)))
        sizes[each.name] -= cut
        spare -= cut
    available = sum(min(each.available, each.replicas) for each in (new, *old))
    spare = min(spare, available - least_available)
    for each in old:
        cut = max(0, min(spare, sizes[each.name]))
        sizes[each.name] -= cut
        spare -= cut
    return {each.name: sizes[each.name] for each in old if sizes[each.name] != each.replicas}


def proportional(sizes: dict[str, int], total: int) -> dict[str, int]:
    """Spread ``total`` pods over sets in proportion to their sizes (largest remainder; ties to the first)."""
    before = sum(sizes.values())
    if before == 0:
        return dict(sizes)
    exact = {name: size * total / before for name, size in sizes.items()}
    spread = {name: math.floor(share) for name, share in exact.items()}
    by_remainder = sorted(sizes, key=lambda name: spread[name] - exact[name])
    for name in by_remainder[: total - sum(spread.values())]:
        spread[name] += 1
    return spread
