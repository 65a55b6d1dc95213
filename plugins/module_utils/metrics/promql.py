# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has to be known of PromQL to tell a counter from an expression. Text in, text out; no parser."""

from __future__ import annotations

import math
import re
import typing as t

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
# Strings in label matchers may hold braces and escaped quotes.
_STRING = "|".join((r'"(?:[^"\\]|\\.)*"', r"'(?:[^'\\]|\\.)*'", r"`[^`]*`"))
_MATCHERS = rf"\{{(?:[^{{}}\"'`]|{_STRING})*\}}"
_SELECTOR = rf"(?:{_NAME}\s*(?:{_MATCHERS})?|{_MATCHERS})"
_BY = r"\s*by\s*\([\w\s,]*\)\s*"
_OVER_WINDOW = rf"\s*(?P<function>increase|rate)\s*\(\s*(?P<selector>{_SELECTOR})\s*\[\s*\$window\s*\]\s*\)\s*"

_PLAIN = re.compile(_SELECTOR)
_WITH_MATCHERS = re.compile(rf"{_NAME}{_MATCHERS}")
_SUMMED = re.compile(rf"sum(?:{_BY})?\s*\({_OVER_WINDOW}\)(?:{_BY})?")
_ALONE = re.compile(_OVER_WINDOW)
_LABEL = re.compile(r"([a-zA-Z_]\w*)\s*(=~|!~|!=|=)")


def counter_of(query: str, *, rates: bool) -> str | None:
    """The selector of the counter that ``query`` counts over ``$window``; None for any other expression.

    A selector that stands alone is one, unless its name has a colon: such names are kept for recording rules, whose
    series are no counters. With ``rates`` a rate counts too, for where only the share of counts matters.
    """
    if _PLAIN.fullmatch(query):
        return None if ":" in metric_name(query) else query
    found = _SUMMED.fullmatch(query) or _ALONE.fullmatch(query)
    if not found or (found["function"] == "rate" and not rates):
        return None
    return found["selector"]


def counting(selector: str, *, by_edge: bool) -> str:
    """The query for how much a counter grew over ``$window``, all series together; ``by_edge`` per histogram bucket."""
    return f"sum{' by (le) ' if by_edge else ''}(increase({selector}[$window]))"


def newest_sample(query: str) -> str:
    """A query for the time of the newest sample behind ``query``; empty where the text doesn't tell which that is."""
    if _PLAIN.fullmatch(query):
        return f"max(timestamp({query}))"
    found = _WITH_MATCHERS.search(query)
    return f"max(timestamp({found.group()}))" if found else ""


def metric_name(selector: str) -> str:
    """The name in front of the braces; empty where the braces stand alone."""
    return selector.partition("{")[0].strip()


def labels_asked(selector: str) -> list[str]:
    """Labels that a series must have to be selected."""
    matchers = re.sub(_STRING, "", selector.partition("{")[2])
    return sorted({label for label, operator in _LABEL.findall(matchers) if operator in ("=", "=~")})


def selectors_in(query: str) -> list[str]:
    """The selectors with label matchers in ``query``, or the one that it is."""
    return [query] if _PLAIN.fullmatch(query) else _WITH_MATCHERS.findall(query)


def narrowed(selector: str, labels: t.Mapping[str, str]) -> str:
    """``selector`` for the series with ``labels`` alone."""
    name, _brace, rest = selector.partition("{")
    own = rest.strip().removesuffix("}").strip().rstrip(",")
    more = [f'{label}="{quoted(value)}"' for label, value in labels.items()]
    return f"{name.strip()}{{{','.join([own, *more] if own else more)}}}"


def bucket_at(selector: str, edge: float) -> str:
    """``selector`` for the histogram bucket up to ``edge``, however the exporter spells it: ``1`` or ``1.0``."""
    name, _brace, rest = narrowed(selector, {}).partition("{")
    own = rest.removesuffix("}")
    spelled = f"{edge:.15g}".replace(".", r"\\.") + (r"(\\.0+)?" if edge == int(edge) else "")
    return f'{name}{{{own}{"," if own else ""}le=~"{spelled}"}}'


def quoted(value: str) -> str:
    """``value`` as it may stand between the double quotes of a label matcher."""
    return str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def promql_duration(seconds: float) -> str:
    """``5s`` or ``2500ms``: PromQL durations are whole numbers. Never shorter than asked for."""
    return f"{seconds:.0f}s" if seconds == int(seconds) else f"{max(1, math.ceil(seconds * 1000 - 1e-6))}ms"
