# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The provider ``haproxy``: weight in the memory of one or more HAProxy instances, by their runtime API.

The instances are changed together or not at all, but for taking all traffic back: then each that can be reached is
changed first, and the others are named after it. An instance that starts anew forgets the weight.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, Ref
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.compensation import put_back_on_failure
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    ConflictError,
    InputError,
    RolloutError,
    UnreachableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Fence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import (
    SIDES,
    Backend,
    Plan,
    Side,
    Stickiness,
    TrafficState,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.haproxy_api import RuntimeApi
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.haproxy_splits import (
    MapSplit,
    Reading,
    ServerSplit,
    Split,
    check_done,
)

T = t.TypeVar("T")


class HaproxyProvider:
    """Weight of HAProxy instances; ``options`` are checked by ``open_provider``. Its routes are the instances.

    ``raw`` of its states holds ``readings`` by address, and under ``unread`` the errors of those that gave none.
    """

    def __init__(self, cluster: Cluster, options: t.Mapping[str, t.Any]) -> None:
        self.cluster = cluster
        self.namespace = str(options["namespace"])
        self.prepared: TrafficState | None = None
        self.fence: Fence | None = None
        own = options["haproxy"]
        if own["timeout"] <= 0:
            raise InputError(f"haproxy.timeout: must be more than 0 seconds, not {own['timeout']}")
        self._apis = {str(address): RuntimeApi(str(address), own["timeout"]) for address in own["instances"]}
        self._split = _open_split(options, own)
        self._known: dict[str, Reading] = {}

    @property
    def calls(self) -> int:
        return self.cluster.calls + sum(api.calls for api in self._apis.values())

    def read(self) -> TrafficState:
        """Instances that can't be read are as last seen; raises only where none can be read."""
        self.prepared = self._state(*self._readings())
        return self.prepared

    def prepare(self) -> TrafficState:
        return self.prepared or self.read()

    def objects(self) -> tuple[Ref, ...]:
        return ()

    def plan(self, weight: int, state: TrafficState, *, strict: bool) -> Plan:
        unread: dict[str, RolloutError] = state.raw["unread"]
        if unread and weight > 0:
            raise _combined(
                unread, f"{state.ref}: the weight wasn't changed anywhere, since not all instances can be read"
            )
        operations: list[dict[str, t.Any]] = [{"instance": address} for address in unread]
        for address, now in state.raw["readings"].items():
            then = self._split.target(now, weight)
            if address not in unread and self._split.commands(now, then):
                operations.append({"instance": address, "now": now, "then": then})
        if strict and operations:
            operations.insert(0, {"unchanged_since": state.resource_version})
        return Plan(weight, state, tuple(operations))

    def apply(self, plan: Plan) -> TrafficState:
        operations = {entry["instance"]: entry for entry in plan.operations if "instance" in entry}
        readings: dict[str, Reading] = dict(plan.state.raw["readings"])
        if self.cluster.dry_run:
            readings |= {address: entry["then"] for address, entry in operations.items() if "then" in entry}
            return self._state(readings, plan.state.raw["unread"])
        self._check_unchanged(plan)
        if plan.weight == 0:
            # Who ends this in the middle waits for the instances that are at it; nothing of it is put back.
            with put_back_on_failure(lambda _error: None):
                done, failed = self._take_back(operations)
        else:
            done, failed = self._all_or_none(operations), {}
        self._known |= done
        self.prepared = self._state(readings | done, failed)
        if failed:
            raise _combined(failed, f"{plan.state.ref}: the weight is 0 on {', '.join(done) or 'no instance'}, but")
        return self.prepared

    def backends(self) -> dict[Side, Backend]:
        """What the instance with the least behind the side sees."""
        questions = [question for side in SIDES for question in self._split.backend_questions(side)]
        good, failed = self._each(self._apis, lambda address: self._apis[address].ask(questions))
        if failed:
            raise _combined(failed, "what stands behind the sides can't be seen")
        half = len(questions) // 2
        parts: dict[Side, slice] = {"stable": slice(half), "candidate": slice(half, None)}
        return {
            side: min(
                (self._split.backend(side, found[parts[side]], address) for address, found in good.items()),
                key=lambda backend: (not backend.problem, backend.ready),
            )
            for side in SIDES
        }

    def obstacles(self, state: TrafficState) -> list[str]:
        readings = state.raw["readings"].items()
        return [found for address, reading in readings for found in self._split.obstacles(address, reading)]

    def stickiness(self, state: TrafficState) -> Stickiness:
        return next(
            (found for found in map(self._split.stickiness, state.raw["readings"].values()) if not found.kept),
            self._split.stickiness(next(iter(state.raw["readings"].values()))),
        )

    def _readings(self) -> tuple[dict[str, Reading], dict[str, RolloutError]]:
        good, failed = self._each(self._apis, self._reading)
        if not good:
            raise _combined(failed, f"{self._split}: the weight can't be read")
        self._known |= good
        return {address: self._known[address] for address in self._apis if address in self._known}, failed

    def _reading(self, address: str) -> Reading:
        api = self._apis[address]
        return self._split.reading(api, api.ask(self._split.questions()))

    def _state(self, readings: dict[str, Reading], unread: t.Mapping[str, RolloutError]) -> TrafficState:
        notices = [f"not read: {error.message}" for error in unread.values()]
        for address, reading in readings.items():
            notices += self._split.notices(address, reading)
        versions = [(address, self._split.version(reading)) for address, reading in readings.items()]
        return TrafficState(
            ref=f"{self._split} on {', '.join(self._apis)}",
            resource_version=hashlib.sha256(repr(versions).encode()).hexdigest()[:16],
            routes=tuple(self._split.weights(address, reading) for address, reading in readings.items()),
            raw={"readings": readings, "unread": dict(unread)},
            notices=tuple(notices),
        )

    def _check_unchanged(self, plan: Plan) -> None:
        """Raise ConflictError if an instance shows another weight than when the plan was made."""
        expected = [entry["unchanged_since"] for entry in plan.operations if "unchanged_since" in entry]
        if not expected:
            return
        now = self.read()
        if now.raw["unread"] and plan.weight > 0:
            raise _combined(now.raw["unread"], f"{plan.state.ref}: the weight wasn't changed anywhere")
        if now.resource_version != expected[0]:
            raise ConflictError(
                f"{plan.state.ref}: someone else changed it since it was read; find out who releases beside you",
                status=409,
            )

    def _take_back(
        self, operations: t.Mapping[str, t.Mapping[str, t.Any]]
    ) -> tuple[dict[str, Reading], dict[str, RolloutError]]:
        def work(address: str) -> Reading:
            entry = operations[address]
            now = entry["now"] if "now" in entry else self._reading(address)
            return self._write(address, now, self._split.target(now, 0))

        return self._each(operations, work)

    def _all_or_none(self, operations: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, Reading]:
        def put_back(error: BaseException) -> None:
            stands = self._put_back(operations)
            if isinstance(error, RolloutError):
                error.message += f"; {stands}"

        def work(address: str) -> Reading:
            return self._write(address, operations[address]["now"], operations[address]["then"])

        with put_back_on_failure(put_back):
            good, failed = self._each(operations, work)
            if failed:
                raise _combined(failed, "not every HAProxy instance took the weight")
        return good

    def _put_back(self, operations: t.Mapping[str, t.Mapping[str, t.Any]]) -> str:
        """Undo on every instance, since one that failed may have done a part; says what stands after it."""

        def work(address: str) -> Reading:
            before, now = operations[address]["now"], self._reading(address)
            return self._write(address, now, before)

        back, lost = self._each(operations, work)
        said = [f"{', '.join(back)} as before"] if back else []
        said += [f"what {address} has isn't known" for address in lost]
        return f"now {' and '.join(said)}"

    def _write(self, address: str, now: Reading, then: Reading) -> Reading:
        """Change an instance and see that it did, over one connection."""
        api, commands = self._apis[address], self._split.commands(now, then)
        answers = api.ask([*commands, *self._split.questions()])
        check_done(api, commands, answers)
        seen = self._split.reading(api, answers[len(commands) :])
        left = self._split.commands(seen, then)
        if left:
            raise ClusterError(
                f"the HAProxy instance {address} took {len(commands)} commands but then still lacked {left[0]!r}; "
                "is someone else changing it?",
                status=422,
            )
        return seen

    def _each(
        self, addresses: t.Iterable[str], work: t.Callable[[str], T]
    ) -> tuple[dict[str, T], dict[str, RolloutError]]:
        """What the work gave, and what it raised, by instance. All at the same time: one that hangs delays no other."""
        good: dict[str, T] = {}
        failed: dict[str, RolloutError] = {}

        def sorted_out(address: str) -> None:
            try:
                good[address] = work(address)
            except RolloutError as error:
                failed[address] = error

        listed = list(addresses)
        if len(listed) == 1:
            sorted_out(listed[0])
        else:
            with concurrent.futures.ThreadPoolExecutor(max(1, len(listed))) as pool:
                list(pool.map(sorted_out, listed))
        return {each: good[each] for each in listed if each in good}, {
            each: failed[each] for each in listed if each in failed
        }


def _open_split(options: t.Mapping[str, t.Any], own: t.Mapping[str, t.Any]) -> Split:
    if own["split"] == "map":
        return MapSplit(own["map"], options["name"], {side: options[side]["host"] for side in SIDES})
    return ServerSplit(options["name"], {side: options[side]["servers"] for side in SIDES})


def _combined(failed: t.Mapping[str, RolloutError], what: str) -> RolloutError:
    """One error for those of several instances; where they differ in kind, one that tells of no answer comes first."""
    first = next((error for error in failed.values() if isinstance(error, UnreachableError)), None)
    error = first or next(iter(failed.values()))
    message = f"{what}: {'; '.join(each.message for each in failed.values())}"
    if isinstance(error, UnreachableError):
        return UnreachableError(message, reason=error.reason, instances=sorted(failed))
    if isinstance(error, ClusterError):
        return type(error)(message, status=error.status, reason=error.reason, instances=sorted(failed))
    return type(error)(message, instances=sorted(failed))
