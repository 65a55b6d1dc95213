"""Kubernetes quantities such as ``500m``, ``2Gi`` or ``1e3``."""

from __future__ import annotations

import re
from decimal import Decimal

_BINARY = {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)}
_DECIMAL = {unit: Decimal(1000) ** power for power, unit in enumerate(("n", "u", "m", "", *"kMGTPE"), -3)}
_FORM = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([KMGTPE]i|[numkMGTPE]?)")


def parse_quantity(text: str | int | float) -> Decimal:
    """The number a quantity stands for. Raises ValueError."""
    match = _FORM.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{text!r} is not a quantity")
    number, unit = match.groups()
    factor: Decimal = (_BINARY | _DECIMAL)[unit]
    return Decimal(number) * factor
