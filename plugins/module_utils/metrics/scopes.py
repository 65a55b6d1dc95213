# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions and sides, as alerts and dashboards are given them. What is wrong goes to ``problems``."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import (
    SIDES,
    Metric,
    Problems,
    nearest,
)


def read_versions(given: t.Any, problems: Problems) -> dict[str, str]:
    """The version on each side; none where nothing is given."""
    if given is None:
        return {}
    if not isinstance(given, t.Mapping):
        problems.add("versions", f"must be a dictionary of {', '.join(SIDES)}, not {type(given).__name__}")
        return {}
    for side, version in given.items():
        if side not in SIDES:
            problems.add("versions", f"{side!r} is not one of {', '.join(SIDES)}{nearest(str(side), SIDES)}")
        elif not isinstance(version, str):
            problems.add("versions", f"{side}: {version!r} is not a text; write it in quotes")
    return {str(side): str(version) for side, version in given.items()}


def check_sides(
    where: str, sides: t.Any, metrics: t.Iterable[Metric], versions: t.Mapping[str, str], problems: Problems
) -> None:
    """Whether all of ``metrics`` can be asked for each of ``sides``, which may be None."""
    if sides is None:
        return
    if isinstance(sides, (str, t.Mapping)) or not isinstance(sides, t.Sequence) or not sides:
        problems.add(where, f"sides: {sides!r} is not a list of {', '.join(SIDES)}")
        return
    for side in SIDES:
        if list(sides).count(side) > 1:
            problems.add(where, f"sides: {side} is named twice")
        if side in sides and not versions.get(side):
            problems.add(where, f"sides: versions.{side} is not given")
    for side in sides:
        if side not in SIDES:
            problems.add(where, f"sides: {side!r} is not one of {', '.join(SIDES)}")
    for metric in metrics:
        told: set[str] = set()
        for side in sides:
            if side in SIDES:
                try:
                    metric.scoped(side)
                except ValueError as error:
                    told.add(str(error))
        problems.found += [f"{where}: sides: {text}" for text in sorted(told)]
