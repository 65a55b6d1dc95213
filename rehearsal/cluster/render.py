"""How objects are shown: whole, as metadata only, or as rows of a table."""

from __future__ import annotations

import json
from typing import Any

from rehearsal.cluster.resources import Resource
from rehearsal.cluster.store import Stored, encode
from rehearsal.cluster.tables import columns_of, row_of
from rehearsal.cluster.versions import convert

Object = dict[str, Any]


class Renderer:
    """Whole objects. As on a real server, items of a list of built-in kinds go without kind and version."""

    content_type = "application/json"

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        head = json.dumps({"kind": resource.kind, "apiVersion": resource.api_version}, separators=(",", ":"))
        self._head = head[:-1].encode() + b","

    def single(self, stored: Stored) -> bytes:
        if stored.raw.startswith(self._head):
            return stored.raw
        return encode(convert(stored.read(), self.resource))

    event = single

    def many(self, found: list[Stored], metadata: Object) -> bytes:
        resource = self.resource
        items = [self.single(stored) for stored in found]
        if not resource.custom:
            items = [b"{" + item[len(self._head) :] for item in items]
        head = encode({"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": metadata})
        return head[:-1] + b',"items":[' + b",".join(items) + b"]}"


class MetadataRenderer(Renderer):
    """``PartialObjectMetadata``."""

    content_type = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

    def single(self, stored: Stored) -> bytes:
        head = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
        return encode(head | {"metadata": stored.read()["metadata"]})

    event = single

    def many(self, found: list[Stored], metadata: Object) -> bytes:
        head = encode({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
        return head[:-1] + b',"items":[' + b",".join(self.single(stored) for stored in found) + b"]}"


class TableRenderer(Renderer):
    """``Table``: what ``kubectl get`` prints. ``include`` is None, Metadata or Object, as the request asks."""

    content_type = "application/json"

    def __init__(self, resource: Resource, include: str) -> None:
        super().__init__(resource)
        self.include = include or "Metadata"
        self._columns_sent = False

    def single(self, stored: Stored) -> bytes:
        return self._table([stored], {"resourceVersion": str(stored.revision)}, True)

    def event(self, stored: Stored) -> bytes:
        """Only the first table of a watch names its columns."""
        first, self._columns_sent = not self._columns_sent, True
        return self._table([stored], {"resourceVersion": str(stored.revision)}, first)

    def many(self, found: list[Stored], metadata: Object) -> bytes:
        return self._table(found, metadata, True)

    def _table(self, found: list[Stored], metadata: Object, columns: bool) -> bytes:
        rows = []
        for stored in found:
            item = convert(stored.read(), self.resource)
            row: Object = {"cells": row_of(item, self.resource)}
            if self.include == "Object":
                row["object"] = item
            elif self.include == "Metadata":
                partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
                row["object"] = partial | {"metadata": item["metadata"]}
            rows.append(row)
        table: Object = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
        table["columnDefinitions"] = columns_of(self.resource) if columns else []
        return encode(table | {"rows": rows})


def renderer(accept: str, resource: Resource, include: str) -> Renderer:
    """The way of showing objects that an Accept header asks for first."""
    for wanted in accept.split(","):
        parameters = wanted.replace(" ", "")
        if "as=Table" in parameters:
            return TableRenderer(resource, include)
        if "as=PartialObjectMetadata" in parameters:
            return MetadataRenderer(resource)
        if parameters.startswith(("application/json", "*/*", "application/*")):
            break
    return Renderer(resource)
