# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The probe by its options, for the module and for whoever probes in-process."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.prometheus import (
    PrometheusSource,
    prometheus_option,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.asker import Asker, Edge, Recogniser
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import SIDES, Side
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.counted import CountedSampler
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.probe import (
    Expectation,
    Sample,
    Versions,
    as_result,
    prove,
    take_sample,
)

PROBE_SPEC = ArgumentSpec(
    {
        "url": {"type": "str"},
        "host": {"type": "str"},
        "path": {"type": "str", "default": "/"},
        "method": {"type": "str", "choices": ["GET", "HEAD", "OPTIONS"], "default": "GET"},
        "headers": {"type": "dict", "default": {}},
        "session_cookie": {"type": "str"},
        "requests": {"type": "int", "default": 400},
        "concurrency": {"type": "int", "default": 8},
        "rate": {"type": "float", "default": 400.0},
        "timeout": {"type": "float", "default": 5.0},
        "validate_certs": {"type": "bool", "default": True},
        "ca_path": {"type": "path"},
        "version_header": {"type": "str"},
        "version_key": {"type": "str", "no_log": False},
        "version_pattern": {"type": "str"},
        "stable_version": {"type": "str"},
        "candidate_version": {"type": "str"},
        "counters": {
            "type": "dict",
            "options": {side: {"type": "str", "required": True} for side in SIDES},
        },
        "prometheus": prometheus_option(required=False),
        "expect_weight": {"type": "float"},
        "confidence": {"type": "float", "default": 0.999},
        "tolerance": {"type": "float", "default": 0.0},
        "within": {"type": "float", "default": 15.0},
    },
    mutually_exclusive=(("version_header", "version_key"), ("url", "counters")),
    required_one_of=(("url", "counters"),),
    required_together=(("counters", "prometheus"), ("stable_version", "candidate_version")),
)

_RECOGNISERS = ("version_header", "version_key", "version_pattern")


def probe(options: t.Mapping[str, t.Any], clock: Clock) -> dict[str, t.Any]:
    """Look as ``options`` (checked against ``PROBE_SPEC``) say, and report; raises as :func:`prove` does."""
    for option in ("requests", "concurrency", "rate"):
        if options[option] <= 0:
            raise InputError(f"{option}: must be more than 0, not {options[option]}")
    expectation = Expectation(
        options["expect_weight"], options["confidence"], options["tolerance"], at_least=options["requests"]
    )
    sampler: t.Callable[[], Sample]
    if options["counters"]:
        sampler, where = _counted(options, clock), "the counters of the mesh"
    else:
        sampler, where = _asked(options, clock), options["url"]
    sample, looks = prove(sampler, expectation, within=options["within"], clock=clock, where=where)
    return {"changed": False, **as_result(sample, looks, expectation)}


def _asked(options: t.Mapping[str, t.Any], clock: Clock) -> t.Callable[[], Sample]:
    """Samples of requests sent to the edge."""
    if not any(options[option] for option in _RECOGNISERS):
        raise InputError(f"{', '.join(_RECOGNISERS)}: one of them must say how an answer of url names its version")
    if not options["stable_version"]:
        raise InputError("stable_version, candidate_version: are needed to tell the answers of url to a side")
    versions = Versions(options["stable_version"], options["candidate_version"])
    ask = Asker(_edge(options), _recogniser(options), options["concurrency"])

    def sampler() -> Sample:
        return take_sample(
            ask,
            versions,
            requests=options["requests"],
            concurrency=options["concurrency"],
            rate=options["rate"],
            clock=clock,
        )

    return sampler


def _counted(options: t.Mapping[str, t.Any], clock: Clock) -> CountedSampler:
    """Samples of users' requests, as Prometheus counts them."""
    source = PrometheusSource.from_options(options["prometheus"])
    queries: dict[Side, str] = {side: options["counters"][side] for side in SIDES}
    return CountedSampler(
        lambda: source.totals(queries), requests=options["requests"], within=options["within"], clock=clock
    )


def _edge(options: t.Mapping[str, t.Any]) -> Edge:
    return Edge(
        url=options["url"],
        path=options["path"],
        host=options["host"] or "",
        method=options["method"],
        headers={str(name): str(value) for name, value in options["headers"].items()},
        session_cookie=options["session_cookie"] or "",
        timeout=options["timeout"],
        validate_certs=options["validate_certs"],
        ca_path=options["ca_path"] or "",
    )


def _recogniser(options: t.Mapping[str, t.Any]) -> Recogniser:
    return Recogniser(
        header=options["version_header"] or "",
        key=options["version_key"] or "",
        pattern=options["version_pattern"] or "",
    )
