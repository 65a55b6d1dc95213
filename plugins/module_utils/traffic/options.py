# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options that say what carries the weight, and which of them mean something to which provider. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError

Options = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Needs:
    """What a provider takes: keys of ``stable`` and ``candidate``, and an option of its own name."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    own: bool = False


_SERVICE = Needs(required=("host",))
NEEDS: t.Mapping[str, Needs] = {
    "gateway_api": _SERVICE,
    "haproxy": Needs(required=(), optional=("host", "servers"), own=True),
    "istio": Needs(required=("host",), optional=("subset",)),
    "nginx_ingress": Needs(required=("host",), own=True),
    "openshift_route": _SERVICE,
    "service": Needs(required=("labels",), optional=("deployment",), own=True),
}
PROVIDERS = tuple(NEEDS)

_DESTINATION = {
    "type": "dict",
    "required": True,
    "options": {
        "host": {"type": "str"},
        "subset": {"type": "str"},
        "servers": {"type": "list", "elements": "str"},
        "labels": {"type": "dict"},
        "deployment": {"type": "str"},
    },
}
_NGINX_INGRESS = {
    "canary_name": {"type": "str"},
    "header": {"type": "str"},
    "header_value": {"type": "str"},
    "header_pattern": {"type": "str"},
    "cookie": {"type": "str"},
}
_HAPROXY = {
    "instances": {"type": "list", "elements": "str", "required": True},
    "split": {"type": "str", "choices": ["map", "servers"], "default": "map"},
    "map": {"type": "str"},
    "timeout": {"type": "float", "default": 2.0},
}
_REPLICAS = {"scale_timeout": {"type": "float", "default": 120.0}}

TRAFFIC_ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "provider": {"type": "str", "choices": list(PROVIDERS), "default": "istio"},
    "namespace": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "api_version": {"type": "str"},
    "stable": _DESTINATION,
    "candidate": _DESTINATION,
    "nginx_ingress": {"type": "dict", "options": _NGINX_INGRESS},
    "haproxy": {"type": "dict", "options": _HAPROXY},
    "service": {"type": "dict", "options": _REPLICAS},
}

TRAFFIC_SPEC = ArgumentSpec(TRAFFIC_ARGUMENTS)


def read_options(options: Options) -> dict[str, t.Any]:
    """``options`` with defaults filled in. Raises InputError with all that is wrong, in its ``problems`` too."""
    given = {key: value for key, value in options.items() if value is not None}
    problems = option_problems(given)
    if problems:
        raise InputError("; ".join(problems), problems=problems)
    return TRAFFIC_SPEC.validate(given)


def option_problems(given: Options) -> list[str]:
    """What the provider misses, and what means nothing to it; one sentence each, beginning with the option."""
    provider = given.get("provider", "istio")
    if provider not in NEEDS:
        return [f"provider: {provider!r} isn't known; choose one of: {', '.join(PROVIDERS)}"]
    needs = NEEDS[provider]
    problems = [
        f"{option}: is an option of provider {option} and means nothing to {provider}; leave it out"
        for option, other in NEEDS.items()
        if other.own and option != provider and given.get(option)
    ]
    for side in ("stable", "candidate"):
        problems += _side_problems(side, given.get(side), provider, needs)
    if provider == "haproxy" and not problems:
        problems += _haproxy_problems(given)
    if not problems and given["stable"] == given["candidate"]:
        problems.append("candidate: is the same destination as stable; the two sides must differ")
    return problems


def _haproxy_problems(given: Options) -> t.Iterator[str]:
    own = given.get("haproxy") or {}
    if not isinstance(own, t.Mapping):
        return  # its type is judged with those of all options
    split = own.get("split") or "map"
    if not own.get("instances"):
        yield "haproxy.instances: is missing; name the runtime API of each instance"
    if split == "map" and not own.get("map"):
        yield "haproxy.map: is missing; haproxy.split=map needs the map file as HAProxy's configuration names it"
    needed, useless = ("host", "servers") if split == "map" else ("servers", "host")
    for side in ("stable", "candidate"):
        if not given[side].get(needed):
            yield f"{side}.{needed}: is missing; haproxy.split={split} needs it"
        if given[side].get(useless):
            yield f"{side}.{useless}: means nothing to haproxy.split={split}; leave it out"


def _side_problems(side: str, given: t.Any, provider: str, needs: Needs) -> t.Iterator[str]:
    if not isinstance(given, t.Mapping):
        yield f"{side}: {given!r} names no destination; give {' and '.join(needs.required or needs.optional)}"
        return
    for key in needs.required:
        if not given.get(key):
            yield f"{side}.{key}: is missing; provider {provider} needs it"
    for key in sorted(key for key, value in given.items() if value):
        if key not in needs.required + needs.optional:
            yield f"{side}.{key}: means nothing to provider {provider}; leave it out"
