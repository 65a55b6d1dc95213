# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which weights make a split of servers, and in which order they may be set. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import SIDES, Side

MAX_WEIGHT = 256
_MAINTENANCE = 0x01
_PUT_ASIDE = 0x3B
"""Maintenance or draining: wished for, inherited, or since a name can't be resolved. Other bits tell of the past."""
# A server that the configuration begins with disabled keeps this mark for ever, also once it serves.
_BEGAN_DISABLED = 0x04
_RUNNING = ("1", "2")  # starting slowly, and running
_CHECK_FAILED = "2"
_CLOSE_ENOUGH = 0.1
"""Percent points of error that don't matter where they keep the weights nearer to what they were."""


@dataclasses.dataclass(frozen=True)
class Server:
    """A server as HAProxy shows it. ``side`` is empty for one that belongs to neither."""

    name: str
    side: Side | t.Literal[""]
    weight: int
    admin: int
    operation: str
    check: str
    cookie: str
    backup: bool
    address: str
    initial: int = 1

    @property
    def resting(self) -> bool:
        """Put to maintenance by us, since weight 0 alone still serves the sessions that its cookie holds."""
        never_served = bool(self.admin & _BEGAN_DISABLED) and self.initial == 0
        by_us = self._put_aside == _MAINTENANCE and self.weight == 0
        return by_us and bool(self.cookie) and not never_served

    @property
    def held(self) -> bool:
        """In maintenance or draining by someone else's wish."""
        return self._put_aside != 0 and not self.resting

    @property
    def _put_aside(self) -> int:
        return self.admin & _PUT_ASIDE

    @property
    def up(self) -> bool:
        """Takes its share, or would as soon as it had weight; one that rests is as it was when last checked."""
        if self.backup or self.held:
            return False
        return self.check != _CHECK_FAILED if self.resting else self.operation in _RUNNING

    def with_weight(self, weight: int) -> Server:
        """With its side's weight. One that is held stays so, and never gets to look like one that rests."""
        if not self.held:
            rest = _MAINTENANCE if self.cookie and not weight else 0
            return dataclasses.replace(self, weight=weight, admin=self.admin & ~_PUT_ASIDE | rest)
        changed = dataclasses.replace(self, weight=weight)
        return self if changed.resting else changed


def balanced(servers: t.Sequence[Server], weight: int) -> tuple[Server, ...]:
    """``servers`` with the weights that give the candidate ``weight`` percent; as they are where they already do."""
    counts = {side: _counting(servers, side) for side in SIDES}
    now = {side: {server.weight for server in servers if server.side == side and not server.held} for side in SIDES}
    total = sum(server.weight for server in servers if server.side and server.up)
    wanted = server_weights(weight, counts["stable"], counts["candidate"], total)
    if all(len(weights) <= 1 for weights in now.values()):
        current = tuple(next(iter(now[side]), wanted[number]) for number, side in enumerate(SIDES))
        if _fits(current, wanted, weight, counts["stable"], counts["candidate"]):
            wanted = (current[0], current[1])
    by_side = dict(zip(SIDES, wanted, strict=True))
    return tuple(server.with_weight(by_side[server.side]) if server.side else server for server in servers)


def server_weights(weight: int, stable: int, candidate: int, total: int = 0) -> tuple[int, int]:
    """Weights for each of ``stable`` and ``candidate`` servers so that the candidates' part is ``weight`` percent.

    Of those that are as near as whole weights come, the ones whose sum is nearest to ``total``: then nothing jumps
    while they are set one after the other, and further servers keep their part.
    """
    total = total or 100 * min(stable, candidate)
    if weight == 0:
        return _clamped(total / stable), 0
    if weight == 100:
        return 0, _clamped(total / candidate)
    pairs = []
    for one in range(1, MAX_WEIGHT + 1):
        other = one * stable * weight / ((100 - weight) * candidate)
        pairs += [(one, _clamped(int(other))), (one, _clamped(int(other) + 1))]
    errors = {pair: abs(share(pair, stable, candidate) - weight) for pair in pairs}
    bound = min(errors.values()) + _CLOSE_ENOUGH
    near = [pair for pair in pairs if errors[pair] <= bound]
    return min(near, key=lambda pair: abs(pair[0] * stable + pair[1] * candidate - total))


def share(pair: t.Sequence[int], stable: int, candidate: int) -> float:
    """Percent of the requests that go to ``candidate`` servers of weight ``pair[1]``."""
    whole = pair[0] * stable + pair[1] * candidate
    return 100 * pair[1] * candidate / whole if whole else 0.0


def steps(now: t.Sequence[Server], then: t.Sequence[Server]) -> t.Iterator[tuple[str, str]]:
    """Names of servers and what to set, as ``weight 5`` or ``state ready``, from ``now`` to ``then`` in safe order.

    All that rises comes before all that falls, so there is no moment without weight. Of several that rise the
    stable ones come first, and of several that fall last, so the candidate never gets more than it had or will have.
    """
    wanted = {server.name: server for server in then}
    pairs = [(old, wanted[old.name]) for side in SIDES for old in now if old.side == side and old.name in wanted]
    yield from ((new.name, "state ready") for old, new in pairs if old.resting and not new.resting)
    yield from ((new.name, f"weight {new.weight}") for old, new in pairs if new.weight > old.weight)
    yield from ((new.name, f"weight {new.weight}") for old, new in reversed(pairs) if new.weight < old.weight)
    yield from ((new.name, "state maint") for old, new in reversed(pairs) if new.resting and not old.resting)


def _counting(servers: t.Iterable[Server], side: Side) -> int:
    """How many servers share the side's part: those that are up, or where none is, those that might come up."""
    mine = [server for server in servers if server.side == side]
    return sum(server.up for server in mine) or sum(not server.held for server in mine) or 1


def _fits(current: t.Sequence[int], wanted: t.Sequence[int], weight: int, stable: int, candidate: int) -> bool:
    if weight in (0, 100):
        return [bool(each) for each in current] == [bool(each) for each in wanted]
    error = abs(share(current, stable, candidate) - weight)
    return error <= abs(share(wanted, stable, candidate) - weight) + _CLOSE_ENOUGH


def _clamped(value: float) -> int:
    return max(1, min(MAX_WEIGHT, round(value)))
