"""CustomResourceDefinitions: which resources they add, and the status they get."""

from __future__ import annotations

from typing import Any

from rehearsal.cluster.resources import Resource
from rehearsal.cluster.schemas import from_openapi

Object = dict[str, Any]


def resources_of(definition: Object) -> list[Resource]:
    """One resource per served version."""
    spec = definition["spec"]
    names = spec["names"]
    storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
    return [
        Resource(
            spec["group"],
            version["name"],
            names["plural"],
            names["kind"],
            namespaced=spec["scope"] == "Namespaced",
            short_names=tuple(names.get("shortNames") or ()),
            categories=tuple(names.get("categories") or ()),
            subresources=tuple(sorted(version.get("subresources") or ())),
            singular=names.get("singular", ""),
            storage=storage,
            custom=True,
            schema=from_openapi((version.get("schema") or {}).get("openAPIV3Schema"), root=True),
            columns=tuple(version.get("additionalPrinterColumns") or ()),
        )
        for version in spec["versions"]
        if version.get("served")
    ]


def established(definition: Object, moment: str) -> Object:
    """The status of a definition that is served, as it is at once here."""
    spec = definition.get("spec") or {}
    conditions = [
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ]
    return {
        "acceptedNames": spec.get("names") or {},
        "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": moment, "reason": reason, "message": message}
            for kind, reason, message in conditions
        ],
        "storedVersions": [version["name"] for version in spec.get("versions") or [] if version.get("storage")],
    }
