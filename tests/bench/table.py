"""Aligned tables of text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH = 110
_GAP = "  "


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left, all others to the right."""
    widths = [max(len(line[column]) for line in [headings, *rows]) for column in range(len(headings))]
    rule = [("-" * width) for width in widths]
    return [_line(cells, widths) for cells in [headings, rule, *rows]]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    aligned = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return _GAP.join(aligned).rstrip()


def number(value: float | None, digits: int = 3) -> str:
    """A number of fixed digits; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"
