# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How values of measurements are read from options and written for people, by their unit."""

from __future__ import annotations

import math
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import parse_duration

UNITS = ("percent", "seconds", "count", "ratio")
"""``percent`` is a fraction shown as percent (0.001 is 0.1 %), ``ratio`` a fraction shown as it is."""


def parse_number(value: t.Any) -> float:
    """A finite number, also as text. Raises ValueError saying so otherwise."""
    if not isinstance(value, bool):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number):
            return number
    raise ValueError(f"{value!r} is not a number")


def parse_value(value: t.Any, unit: str) -> float:
    """A number in ``unit``; also ``0.1%`` where the unit is percent, and ``200ms`` where it is seconds."""
    text = str(value).strip()
    if unit == "percent" and text.endswith("%"):
        return parse_number(text[:-1].strip()) / 100
    if unit == "seconds" and text[-1:].isalpha():
        try:
            return parse_duration(text)
        except ValueError:
            raise ValueError(f"{value!r} is not a number of seconds") from None
    return parse_number(value)


def format_value(value: float | None, unit: str) -> str:
    """``0.02 %``, ``61 ms``, ``1.2 s``, ``61``; ``-`` for no value."""
    if value is None or math.isnan(value):
        return "-"
    if unit == "percent":
        return f"{_short(value * 100)} %"
    if unit == "seconds":
        return f"{_short(value * 1000)} ms" if abs(value) < 1 else f"{_short(value)} s"
    return _short(value)


def format_count(count: float) -> str:
    """A count in groups of three, with a narrow gap: ``12 041``."""
    return f"{round(count):,}".replace(",", " ")


def _short(value: float) -> str:
    """Three significant digits, no exponent, no trailing zeros; integers in full."""
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == int(value):
        return str(int(value))
    if abs(value) >= 100:
        return f"{value:.0f}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{value:.{min(digits, 6)}f}".rstrip("0").rstrip(".")
