# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two ways to split in HAProxy: a percent in a map, and weights of servers. Commands and answers, no I/O."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import haproxy_weights
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import (
    SIDES,
    Backend,
    RouteWeights,
    Side,
    Stickiness,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.haproxy_api import (
    RuntimeApi,
    parse_servers_state,
    parse_stat,
    word,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.haproxy_weights import Server

_ENTRY = re.compile(r'found=yes,.*?key="(?P<key>.*?)", value="(?P<value>.*?)"')
_BACKENDS_AND_SERVERS = 6
_UNWEIGHTED = ("first", "static-rr")
_HASHES = ("source", "uri", "url_param", "hdr", "rdp-cookie", "hash")


@dataclasses.dataclass(frozen=True)
class Entry:
    """The percent that the map holds; None where it has no such key."""

    percent: int | None


@dataclasses.dataclass(frozen=True)
class Servers:
    """The servers of a backend, and how it chooses between them."""

    servers: tuple[Server, ...]
    balance: str = ""


Reading: t.TypeAlias = "Entry | Servers"


class Split(t.Protocol):
    """How an instance is asked and told. ``commands`` lead from one reading to another, so they undo as well."""

    def __str__(self) -> str: ...

    def questions(self) -> list[str]: ...

    def reading(self, api: RuntimeApi, answers: t.Sequence[str]) -> Reading: ...

    def target(self, reading: t.Any, weight: int) -> Reading: ...

    def commands(self, now: t.Any, then: t.Any) -> list[str]: ...

    def weights(self, route: str, reading: t.Any) -> RouteWeights: ...

    def version(self, reading: t.Any) -> str: ...

    def notices(self, route: str, reading: t.Any) -> t.Iterator[str]: ...

    def obstacles(self, route: str, reading: t.Any) -> t.Iterator[str]: ...

    def stickiness(self, reading: t.Any) -> Stickiness: ...

    def backend_questions(self, side: Side) -> list[str]: ...

    def backend(self, side: Side, answers: t.Sequence[str], route: str) -> Backend: ...


class MapSplit:
    """A percent under ``key`` in a map, by which the configuration draws a backend for each request."""

    def __init__(self, map_file: str, key: str, hosts: t.Mapping[Side, str]) -> None:
        self._map = word(map_file, "haproxy.map")
        self._key = word(key, "name")
        self._hosts = {side: word(hosts[side], f"{side}.host") for side in SIDES}

    def __str__(self) -> str:
        return f"HAProxy map {self._map} key {self._key}"

    def questions(self) -> list[str]:
        return [f"get map {self._map} {self._key}"]

    def reading(self, api: RuntimeApi, answers: t.Sequence[str]) -> Entry:
        if not answers[0].startswith("type="):
            raise api.refusal(self.questions()[0], answers[0])
        found = _ENTRY.search(answers[0])
        if not found or found["key"] != self._key:
            return Entry(None)
        if not found["value"].isdecimal() or int(found["value"]) > 100:
            raise InputError(
                f"name: the map {self._map} of the HAProxy instance {api.address} holds {found['value']!r} for "
                f"{self._key}, which isn't a percent from 0 to 100; is it the right map and key?"
            )
        return Entry(int(found["value"]))

    def target(self, reading: Entry, weight: int) -> Entry:
        return Entry(weight)

    def commands(self, now: Entry, then: Entry) -> list[str]:
        if now == then:
            return []
        if then.percent is None:
            return [f"del map {self._map} {self._key}"]
        return [f"{'add' if now.percent is None else 'set'} map {self._map} {self._key} {then.percent}"]

    def weights(self, route: str, reading: Entry) -> RouteWeights:
        percent = reading.percent or 0
        return RouteWeights(route, 100 - percent, percent)

    def version(self, reading: Entry) -> str:
        return str(reading.percent)

    def notices(self, route: str, reading: Entry) -> t.Iterator[str]:
        if reading.percent is None:
            yield (
                f"the map {self._map} of {route} has no key {self._key}, so what its configuration takes in that case "
                "holds, which should be 0"
            )

    def obstacles(self, route: str, reading: Entry) -> t.Iterator[str]:
        yield from ()  # what the configuration does with the map can't be asked

    def stickiness(self, reading: Entry) -> Stickiness:
        return Stickiness(
            None,
            "the configuration draws by the map's percent, and the runtime API doesn't tell how: a user keeps to a "
            "side if it draws by a hash of what stays the same for them, such as "
            "req.cook(session),crc32(1),mod(100), and not by rand",
        )

    def backend_questions(self, side: Side) -> list[str]:
        return _questions(self._hosts[side])

    def backend(self, side: Side, answers: t.Sequence[str], route: str) -> Backend:
        name = self._hosts[side]
        found = parse_backend(answers, {})
        if found is None:
            return Backend(name, 0, 0, f"{side}.host: the HAProxy instance {route} has no backend {name}")
        return _standing(name, found.servers, f"{side}.host: the backend {name} of {route} has no server")


class ServerSplit:
    """Weights of the servers in one backend, those of a side all the same."""

    def __init__(self, backend: str, patterns: t.Mapping[Side, t.Sequence[str]]) -> None:
        self._backend = word(backend, "name")
        self._patterns = patterns

    def __str__(self) -> str:
        return f"HAProxy backend {self._backend}"

    def questions(self) -> list[str]:
        return _questions(self._backend)

    def reading(self, api: RuntimeApi, answers: t.Sequence[str]) -> Servers:
        found = parse_backend(answers, self._patterns)
        if found is None:
            bad = 0 if parse_servers_state(answers[0]) is None else 1
            raise api.refusal(self.questions()[bad], answers[bad])
        for side in SIDES:
            if not any(server.side == side for server in found.servers):
                raise InputError(
                    f"{side}.servers: no server of backend {self._backend} in the HAProxy instance {api.address} is "
                    f"called {' or '.join(self._patterns[side])}; it has "
                    f"{', '.join(server.name for server in found.servers) or 'none'}"
                )
        return found

    def target(self, reading: Servers, weight: int) -> Servers:
        return dataclasses.replace(reading, servers=haproxy_weights.balanced(reading.servers, weight))

    def commands(self, now: Servers, then: Servers) -> list[str]:
        return [
            f"set server {self._backend}/{name} {setting}"
            for name, setting in haproxy_weights.steps(now.servers, then.servers)
        ]

    def weights(self, route: str, reading: Servers) -> RouteWeights:
        stable, candidate, others = (
            sum(server.weight for server in reading.servers if server.side == side and server.up)
            for side in (*SIDES, "")
        )
        return RouteWeights(route, stable, candidate, others)

    def version(self, reading: Servers) -> str:
        return ",".join(f"{server.name}:{server.weight}:{server.admin}" for server in reading.servers if server.side)

    def notices(self, route: str, reading: Servers) -> t.Iterator[str]:
        none = {side for side in SIDES if not any(each.weight for each in reading.servers if _serves(each, side))}
        held = [each.name for each in reading.servers if each.held and each.weight and each.side in none]
        if held:
            yield (
                f"{', '.join(held)} of {route} were taken out of service by someone else and kept their weight, though "
                "their side has none; set the weight again before they come back"
            )
        others = [server.name for server in reading.servers if not server.side]
        if others:
            yield f"{', '.join(others)} of {route} belong to neither side and keep their weights"
        exact = self.weights(route, reading).share
        if abs(exact - round(exact)) > 0.05:
            yield f"the weights of the servers of {route} that are up give the candidate {exact:.1f} %"

    def obstacles(self, route: str, reading: Servers) -> t.Iterator[str]:
        if reading.balance in _UNWEIGHTED:
            yield (
                f"the backend {self._backend} of {route} balances by {reading.balance}, which doesn't follow weights "
                "set at runtime; use roundrobin, leastconn or random"
            )

    def stickiness(self, reading: Servers) -> Stickiness:
        mine = [server for server in reading.servers if server.side]
        if mine and all(server.cookie for server in mine):
            return Stickiness(True, f"the cookie by which the backend {self._backend} keeps a user on one server")
        if reading.balance.startswith(_HASHES):
            return Stickiness(
                None,
                f"the backend {self._backend} balances by {reading.balance}, which keeps most users on their server "
                "with hash-type consistent and few without it",
            )
        return Stickiness(
            False, f"the servers of the backend {self._backend} have no cookie, so each request is drawn anew"
        )

    def backend_questions(self, side: Side) -> list[str]:
        return _questions(self._backend)

    def backend(self, side: Side, answers: t.Sequence[str], route: str) -> Backend:
        name = f"{self._backend}/{','.join(self._patterns[side])}"
        found = parse_backend(answers, self._patterns)
        if found is None:
            return Backend(name, 0, 0, f"name: the HAProxy instance {route} has no backend {self._backend}")
        mine = [server for server in found.servers if server.side == side]
        return _standing(name, mine, f"{side}.servers: {route} has no server {name}")


def parse_backend(answers: t.Sequence[str], patterns: t.Mapping[Side, t.Sequence[str]]) -> Servers | None:
    """The servers that :func:`_questions` were answered with; None where the answers are errors."""
    state, shown_of_all = parse_servers_state(answers[0]), parse_stat(answers[1])
    if state is None or shown_of_all is None:
        return None
    asked = {row["be_name"] for row in state}
    stat = {row["svname"]: row for row in shown_of_all if row["pxname"] in asked}
    servers = [
        Server(
            name=row["srv_name"],
            side=_side_of(row["srv_name"], patterns),
            weight=int(row["srv_uweight"]),
            admin=int(row["srv_admin_state"]),
            operation=row["srv_op_state"],
            check=row["srv_check_result"],
            cookie=shown.get("cookie") or "",
            backup=shown.get("bck") == "1",
            address=_address(row),
            initial=int(row["srv_iweight"]),
        )
        for row in state
        if (shown := stat.get(row["srv_name"])) is not None
    ]
    return Servers(tuple(servers), stat.get("BACKEND", {}).get("algo") or "")


def _serves(server: Server, side: Side) -> bool:
    return server.side == side and not server.held


def _address(row: t.Mapping[str, str]) -> str:
    """Where a server is, by which two backends that share it are found out; a unix socket isn't shown."""
    if row["srv_addr"] == "-":
        return f"{row['be_name']}/{row['srv_name']}"
    return f"{row['srv_addr']}:{row.get('srv_port', '')}"


def _questions(backend: str) -> list[str]:
    # Asked for by name, a frontend of the same name would answer in the backend's place.
    return [f"show servers state {backend}", f"show stat -1 {_BACKENDS_AND_SERVERS} -1"]


def _side_of(name: str, patterns: t.Mapping[Side, t.Sequence[str]]) -> Side | t.Literal[""]:
    sides = [
        side
        for side, names in patterns.items()
        if any(name.startswith(each[:-1]) if each.endswith("*") else name == each for each in names)
    ]
    if len(sides) > 1:
        raise InputError(f"candidate.servers: the server {name} would belong to both sides; name each server once")
    return sides[0] if sides else ""


def _standing(name: str, servers: t.Sequence[Server], nothing: str) -> Backend:
    if not servers:
        return Backend(name, 0, 0, nothing)
    ready = frozenset(server.address for server in servers if server.up)
    return Backend(name, sum(server.up for server in servers), len(servers), endpoints=ready)


def check_done(api: RuntimeApi, commands: t.Sequence[str], answers: t.Sequence[str]) -> None:
    """Raise for the first command that HAProxy answered with anything: done is answered by nothing."""
    for command, answer in zip(commands, answers, strict=False):
        if answer:
            raise api.refusal(command, answer)
