"""From what a client sent to an object of its kind: types checked, undeclared fields dropped, empties left out."""

from __future__ import annotations

import base64
import binascii
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from rehearsal.cluster.errors import bad_request
from rehearsal.cluster.schemas import Schema

# Lists that are kept though they are empty, since the kind declares them without omission.
KEPT_EMPTY = {("V1Role", "rules"), ("V1ClusterRole", "rules"), ("V1EndpointSlice", "ports")}
_QUANTITY = re.compile(r"([+-]?[0-9.]+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+)?")
_GO_TYPES = {"string": "string", "integer": "int32", "boolean": "bool", "number": "float64", "time": "string"}


class Decoder:
    """Walks a value along its schema.

    ``unknown`` collects the paths of fields the kind does not declare. With ``lenient`` types are not checked: a
    custom resource's types are part of its validation, not of its decoding.
    """

    def __init__(self, kind: str, lenient: bool = False, label: str = "") -> None:
        self.kind = kind
        self.label = label or kind
        self.lenient = lenient
        self.unknown: list[str] = []

    def decode(self, value: Any, schema: Schema, path: str = "") -> Any:
        """A fresh copy of ``value``. Raises StatusError (400) where a type does not fit."""
        if schema.type == "struct":
            return self._struct(value, schema, path)
        if schema.type == "map":
            if not isinstance(value, dict):
                return self._mismatch(value, path, "map")
            return {key: self.decode(v, schema.item, f"{path}.{key}") for key, v in value.items() if v is not None}
        if schema.type == "list":
            if not isinstance(value, list):
                return self._mismatch(value, path, "slice")
            return [self.decode(item, schema.item, f"{path}[{at}]") for at, item in enumerate(value)]
        return value if self.lenient else self._scalar(value, schema, path)

    def _struct(self, value: Any, schema: Schema, path: str) -> Any:
        if not isinstance(value, dict):
            return self._mismatch(value, path, "struct")
        found = {}
        for key, below in value.items():
            place = f"{path}.{key}" if path else key
            shape = schema.fields.get(key)
            if shape is None:
                if schema.open:
                    found[key] = below
                else:
                    self.unknown.append(place)
            elif below is not None or shape.rules.get("nullable"):
                found[key] = None if below is None else self.decode(below, shape, place)
        return found

    def _scalar(self, value: Any, schema: Schema, path: str) -> Any:
        kind = schema.type
        if kind == "quantity" and isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return canonical_quantity(str(value), path)
        if kind == "bytes":
            return self._bytes(value, path)
        fits = {
            "string": isinstance(value, str),
            "time": isinstance(value, str),
            "integer": isinstance(value, int) and not isinstance(value, bool),
            "number": isinstance(value, (int, float)) and not isinstance(value, bool),
            "boolean": isinstance(value, bool),
            "int-or-string": isinstance(value, (int, str)) and not isinstance(value, bool),
            "quantity": False,
        }
        return value if fits.get(kind, True) else self._mismatch(value, path, _GO_TYPES.get(kind, kind))

    def _bytes(self, value: Any, path: str) -> Any:
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise bad_request(f"{self.label} cannot be handled as a {self.kind}: {path}: illegal base64 data") from None
        return value

    def _mismatch(self, value: Any, path: str, wanted: str) -> Any:
        if self.lenient:
            return value
        name = {dict: "object", list: "array", str: "string", bool: "bool", type(None): "null"}.get(
            type(value), "number"
        )
        raise bad_request(
            f"{self.label} cannot be handled as a {self.kind}: json: cannot unmarshal {name} into Go struct field "
            f"{self.kind}.{path} of type {wanted}"
        )


def canonical_quantity(text: str, path: str) -> str:
    """A quantity as the API prints it: ``1`` → ``"1"``, ``0.5`` → ``"500m"``, ``1000m`` → ``"1"``."""
    match = _QUANTITY.fullmatch(text)
    try:
        number = Decimal(match[1]) if match else Decimal("nan")
    except InvalidOperation:
        number = Decimal("nan")
    if match is None or number.is_nan():
        raise bad_request(
            f"{path}: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        )
    suffix = match[2] or ""
    if suffix not in ("", "m"):
        return text
    milli = number if suffix == "m" else number * 1000
    return str(int(milli / 1000)) if milli % 1000 == 0 else f"{milli.to_integral_value()}m"


def drop_empty(value: Any, schema: Schema) -> Any:
    """``value`` without empty maps and lists, as the built-in kinds print themselves. Changes it in place."""
    if schema.type == "list":
        for item in value:
            drop_empty(item, schema.item)
    if schema.type not in ("struct", "map"):
        return value
    for key in list(value):
        below, shape = value[key], schema.child(key)
        if below in ({}, []) and shape.type in ("map", "list"):
            if key not in schema.required and (schema.name, key) not in KEPT_EMPTY:
                del value[key]
        elif below == "" and (schema.name, key) == ("V1EnvVar", "value"):
            del value[key]
        elif isinstance(below, (dict, list)):
            drop_empty(below, shape)
    return value
