# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time, passed in: what waits takes a :class:`Clock`, a test stops it. And how times are read and written."""

from __future__ import annotations

import math
import re
import time
import typing as t

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")


class Clock(t.Protocol):
    """Seconds: ``now`` since 1970, ``monotonic`` since some moment and never set back."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class FakeClock:
    """A clock that only moves when someone sleeps, or by :meth:`advance`."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._monotonic = 0.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` go by. Raises ValueError for a step back."""
        if seconds < 0:
            raise ValueError(f"time does not go back by {-seconds} s")
        self._now += seconds
        self._monotonic += seconds


def parse_duration(value: t.Any) -> float:
    """Seconds of ``5``, ``"5"``, ``"5s"``, ``"250ms"``, ``"10m"``, ``"1h30m"``. Raises ValueError otherwise."""
    if isinstance(value, bool) or value is None:
        raise ValueError(f"{value!r} is not a duration such as 5s, 10m or 1h")
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        text = str(value).strip()
        if not _DURATION.fullmatch(text):
            raise ValueError(f"{value!r} is not a duration such as 5s, 10m or 1h") from None
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{value!r} is not a duration: it must be a finite number of seconds, 0 or more")
    return seconds


def format_time(at: float) -> str:
    """``14:05:09``: unix time ``at`` on this machine's wall clock."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def format_duration(seconds: float) -> str:
    """``0:07``, ``34:10``, ``1:05:00``: minutes and seconds, hours when there are any."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, second = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes}:{second:02}"


def format_plan(seconds: float) -> str:
    """Plan time against T in the plan's own words: ``T-120``, ``T+34:10`` (minutes and seconds), ``T+24h``."""
    whole = round(seconds)
    sign = "-" if whole < 0 else "+"
    minutes, second = divmod(abs(whole), 60)
    if minutes >= 1440:
        hours, minutes = divmod(minutes, 60)
        return f"T{sign}{hours}h" + (f"{minutes:02}" if minutes else "")
    return f"T{sign}{minutes}" + (f":{second:02}" if second else "")
