"""The configuration of one HAProxy instance: made once; weights and servers change over the runtime API only."""

from __future__ import annotations

from pathlib import Path

from rehearsal.haproxy.places import CANDIDATE, KEY, SIDES, STABLE, WEIGHTED, Instance

SLOTS = 32
INITIAL_WEIGHTS = {STABLE: 100, CANDIDATE: 0}
# A slot has this address until a pod takes it; nothing is sent there, because the slot is in maintenance.
_NOWHERE = "127.0.0.1:9"

_PROCESS = """\
global
    stats socket {socket} mode 600 level admin
    stats socket ipv4@{address} level admin
    maxconn 4000
    nbthread 1

defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    timeout queue 5s
    timeout http-request 10s
    timeout tunnel 1h
    http-reuse safe
    # A pod that goes away between two health checks costs another attempt, not a request.
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response
"""

# The draw of a user with a cookie is the same for ever: as the weight grows, nobody who got the candidate loses it.
_FRONTENDS = """
frontend users
    bind {users}
    # What was sent and not answered may have been done already: only what can be repeated is sent again.
    http-request disable-l7-retry unless METH_GET
    http-request set-var(txn.draw) rand(100)
    http-request set-var(txn.draw) req.cook(claude-session),xxh32,mod(100) if {{ req.cook(claude-session) -m found }}
    http-request set-var(txn.weight) {weight}
    use_backend {candidate} if {{ req.hdr(x-canary-user) -m str true }}
    use_backend {candidate} if {{ var(txn.draw),sub(txn.weight) lt 0 }}
    default_backend {stable}

frontend {weighted}
    bind {weighted_bind}
    http-request disable-l7-retry unless METH_GET
    default_backend {weighted}

frontend metrics
    bind {metrics}
    http-request use-service prometheus-exporter if {{ path /metrics }}
"""

# On the ring of a consistent hash more weight takes users in and gives none away. A cookie that names the server would
# hold a user tighter, but HAProxy follows it to a server of weight 0 too, so nobody could be taken off the candidate.
_WEIGHTED_BACKEND = """
backend {weighted}
    balance hash req.cook(claude-session)
    hash-type consistent
    option httpchk
    http-check send meth GET uri /health/ready
    http-check expect status 200
    default-server check inter 1s
"""


def configuration(instance: Instance, map_file: Path) -> str:
    """The text of the instance's configuration file.

    Each side has ``SLOTS`` servers that wait in maintenance. The map's backends follow the health and the maintenance
    of their namesakes in the backend ``weighted``, so that a pod is checked once, not twice.
    """
    frontends = _FRONTENDS.format(
        users=_bind(instance.url),
        weighted_bind=_bind(instance.servers_url),
        metrics=instance.metrics,
        weight=_weight(map_file),
        stable=STABLE,
        candidate=CANDIDATE,
        weighted=WEIGHTED,
    )
    process = _PROCESS.format(socket=_quoted(str(instance.socket)), address=instance.address)
    return process + frontends + "".join(map(_side_backend, SIDES)) + _weighted_backend()


def _bind(url: str) -> str:
    return url.removeprefix("http://")


def _weight(map_file: Path) -> str:
    """The expression for the weight; quoted twice, because arguments of a converter have quotes of their own."""
    return _quoted(f"str({KEY}),map_str_int({_quoted(str(map_file))},0)")


def _quoted(text: str) -> str:
    """Strong quotes: a path may hold what HAProxy would read as a comment, a variable or the end of a word."""
    return "'" + text.replace("'", "'\\''") + "'"


def _side_backend(side: str) -> str:
    servers = (f"    server {name} {_NOWHERE} track {WEIGHTED}/{name}\n" for name in _slots(side))
    return f"\nbackend {side}\n    balance leastconn\n" + "".join(servers)


def _weighted_backend() -> str:
    servers = (
        f"    server {name} {_NOWHERE} disabled weight {INITIAL_WEIGHTS[side]}\n"
        for side in SIDES
        for name in _slots(side)
    )
    return _WEIGHTED_BACKEND.format(weighted=WEIGHTED) + "".join(servers)


def _slots(side: str) -> list[str]:
    return [f"{side}-{number}" for number in range(1, SLOTS + 1)]
