"""Strict reading of the fields of an object: what is not understood is refused by its path, never passed over."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(h|ms|us|µs|ns|m|s)")


class TranslationError(Exception):
    """A field that can't be translated; the message starts with the field's path."""


class Fields:
    """A JSON object and the path that led to it. Reading a field of another type than asked raises TranslationError."""

    def __init__(self, value: Any, path: str) -> None:
        if not isinstance(value, Mapping):
            raise TranslationError(f"{path}: must be an object, not {value!r}")
        self.value = value
        self.path = path

    def __contains__(self, name: str) -> bool:
        return self.value.get(name) is not None

    def refuse(self, name: str, why: str) -> TranslationError:
        """The error that field ``name`` is to be refused with."""
        return TranslationError(f"{self.path}.{name}: {why}, found {self.value.get(name)!r}")

    def only(self, known: Iterable[str]) -> None:
        """Raise TranslationError when a field is set that isn't among ``known``."""
        unknown = sorted(name for name in self.value if name not in set(known) and self.value[name] is not None)
        if unknown:
            raise TranslationError(f"{self.path}.{unknown[0]}: is not supported by this edge")

    def object(self, name: str) -> Fields:
        """The object in ``name``, an empty one when absent."""
        return Fields(self.value[name] if name in self else {}, f"{self.path}.{name}")

    def objects(self, name: str) -> Iterator[Fields]:
        """The objects of the list in ``name``, in order; none when absent."""
        for index, item in enumerate(self._list(name)):
            yield Fields(item, f"{self.path}.{name}[{index}]")

    def entries(self) -> Iterator[tuple[str, Fields]]:
        """Every field, when each of them is an object."""
        for name in self.value:
            yield name, self.object(name)

    def string(self, name: str, default: str = "") -> str:
        if name not in self:
            return default
        if not isinstance(self.value[name], str):
            raise self.refuse(name, "must be a string")
        return str(self.value[name])

    def strings(self, name: str) -> list[str]:
        """The list of strings in ``name``; empty when absent."""
        items = self._list(name)
        if not all(isinstance(item, str) for item in items):
            raise self.refuse(name, "must be a list of strings")
        return items

    def string_map(self, name: str) -> dict[str, str]:
        """The map of strings in ``name``; empty when absent."""
        items = dict(self.object(name).value)
        if not all(isinstance(value, str) for value in items.values()):
            raise self.refuse(name, "must map names to strings")
        return items

    def integer(self, name: str, default: int = 0, *, least: int = 0, most: int = 2**32 - 1) -> int:
        """The whole number in ``name``, within ``least`` and ``most``."""
        if name not in self:
            return default
        value = self.value[name]
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.refuse(name, f"must be a whole number from {least} to {most}")
        return value

    def boolean(self, name: str, default: bool = False) -> bool:
        if name not in self:
            return default
        if not isinstance(self.value[name], bool):
            raise self.refuse(name, "must be true or false")
        return bool(self.value[name])

    def duration(self, name: str) -> str | None:
        """The Go duration in ``name`` (``1h30m``, ``250ms``) as Envoy reads it (``5400s``); None when absent."""
        if name not in self:
            return None
        text = self.string(name)
        parts = _DURATION_PART.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise self.refuse(name, "must be a duration such as 2s or 250ms")
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
        return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"

    def percent(self, name: str, default: float = 100.0) -> dict[str, Any]:
        """The ``{value: 0..100}`` in ``name`` as Envoy's FractionalPercent."""
        value = self.object(name).value.get("value", 0.0) if name in self else default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
            raise self.refuse(name, "must carry a value from 0 to 100")
        return {"numerator": round(value * 10_000), "denominator": "MILLION"}

    def string_match(self) -> dict[str, Any]:
        """This object read as a StringMatch (``exact``, ``prefix`` or ``regex``), as Envoy's StringMatcher."""
        self.only(("exact", "prefix", "regex"))
        if len(self.value) != 1:
            raise TranslationError(f"{self.path}: needs one of exact, prefix, regex")
        (kind,) = self.value
        text = self.string(kind)
        return {"safe_regex": {"regex": text}} if kind == "regex" else {kind: text}

    def _list(self, name: str) -> list[Any]:
        value = self.value[name] if name in self else []
        if not isinstance(value, list):
            raise self.refuse(name, "must be a list")
        return value
