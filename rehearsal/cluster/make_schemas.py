"""Regenerates ``schemas.json``: fields and types of the built-in kinds, as the official Python client declares them.

Run ``python -m rehearsal.cluster.make_schemas`` after an upgrade of the ``kubernetes`` package. The API server itself
reads only the JSON file, so it starts without importing that large package.

One type is ``{"fields": {name: type}, "required": [name]}``. A type is a word (``string``, ``integer``, ``number``,
``boolean``, ``time``, ``bytes``, ``quantity``, ``int-or-string``, ``any``), the name of another type,
``[type`` for a list or ``{type`` for a map with string keys.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from kubernetes.client import models

from rehearsal.cluster.resources import BUILTIN

WORDS = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "datetime": "time",
    "bytes": "bytes",
    "object": "any",
}
INT_OR_STRING = {"targetPort", "maxSurge", "maxUnavailable", "minAvailable", "port"}
QUANTITY_MAPS = {"limits", "requests", "capacity", "allocatable", "hard", "used", "overhead", "allocatedResources"}
QUANTITIES = {"sizeLimit", "divisor", "averageValue"}


def word(declared: str, field: str) -> str:
    """The type word of one declared field, for example ``List[V1Container]`` → ``[V1Container``."""
    if match := re.fullmatch(r"List\[(.+)\]", declared):
        return "[" + word(match[1], "")
    if match := re.fullmatch(r"Dict\[str, (.+)\]", declared):
        return "{quantity" if field in QUANTITY_MAPS and match[1] == "str" else "{" + word(match[1], "")
    if declared == "object" and field in INT_OR_STRING:
        return "int-or-string"
    if declared == "str" and field in QUANTITIES:
        return "quantity"
    return WORDS.get(declared, declared)


def collect(name: str, types: dict[str, Any]) -> None:
    """Add type ``name`` and every type it reaches to ``types``."""
    if name in types:
        return
    model = getattr(models, name)
    fields = {
        json_name: word(model.openapi_types[python], json_name) for python, json_name in model.attribute_map.items()
    }
    required = [
        model.attribute_map[python]
        for python in model.openapi_types
        if model.model_fields.get(python) is not None and model.model_fields[python].is_required()
    ]
    types[name] = {"fields": fields, "required": required}
    for declared in fields.values():
        inner = declared.lstrip("[{")
        if hasattr(models, inner):
            collect(inner, types)


def main() -> None:
    types: dict[str, Any] = {}
    for resource in BUILTIN:
        collect(resource.model, types)
    for name in ("V1Scale", "V1DeleteOptions", "V1Eviction", "V1Binding", "AuthenticationV1TokenRequest"):
        collect(name, types)
    path = Path(__file__).with_name("schemas.json")
    lines = (f"{json.dumps(name)}: {json.dumps(types[name])}" for name in sorted(types))
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
