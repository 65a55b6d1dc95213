# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The probe by its options, for the module and for whoever probes in-process."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.asker import Asker, Edge, Recogniser
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import check_weight
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
        "url": {"type": "str", "required": True},
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
        "stable_version": {"type": "str", "required": True},
        "candidate_version": {"type": "str", "required": True},
        "expect_weight": {"type": "int"},
        "confidence": {"type": "float", "default": 0.999},
        "tolerance": {"type": "float", "default": 0.0},
        "within": {"type": "float", "default": 15.0},
    },
    mutually_exclusive=(("version_header", "version_key"),),
    required_one_of=(("version_header", "version_key", "version_pattern"),),
)


def probe(options: t.Mapping[str, t.Any], clock: Clock) -> dict[str, t.Any]:
    """Ask as ``options`` (checked against ``PROBE_SPEC``) say, and report; raises as :func:`prove` does."""
    for option in ("requests", "concurrency", "rate"):
        if options[option] <= 0:
            raise InputError(f"{option}: must be more than 0, not {options[option]}")
    versions = Versions(options["stable_version"], options["candidate_version"])
    expectation = _expectation(options)
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

    sample, looks = prove(sampler, expectation, within=options["within"], clock=clock, where=options["url"])
    return {"changed": False, **as_result(sample, looks, expectation)}


def _expectation(options: t.Mapping[str, t.Any]) -> Expectation:
    weight = options["expect_weight"]
    if weight is not None:
        check_weight(weight, "expect_weight")
    return Expectation(weight, options["confidence"], options["tolerance"])


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
