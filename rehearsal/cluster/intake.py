"""The way of a body into the server: decoded, completed, and put in its place."""

from __future__ import annotations

import secrets
from typing import Any

from rehearsal.cluster import errors
from rehearsal.cluster.decoding import Decoder, drop_empty
from rehearsal.cluster.defaults import apply_defaults, custom_defaults
from rehearsal.cluster.options import Options
from rehearsal.cluster.resources import Resource

Object = dict[str, Any]

_NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


def accept(resource: Resource, body: Any, options: Options) -> Object:
    """Decode a body and leave out what is empty, as the kind itself would."""
    item = decode(resource, body, options)
    if resource.custom:
        drop_empty(item["metadata"], resource.types.fields["metadata"])
    else:
        drop_empty(item, resource.types)
    return item


def decode(resource: Resource, body: Any, options: Options) -> Object:
    """Decode a body: the right kind, known fields, right types."""
    if not isinstance(body, dict):
        raise errors.bad_request(f"the object provided is unrecognized (must be of type {resource.kind})")
    kind, version = body.get("kind", resource.kind), body.get("apiVersion", resource.api_version)
    if kind != resource.kind or version != resource.api_version:
        raise _wrong_kind(resource, kind, version)
    label = f'{resource.kind} in version "{resource.version}"'
    decoder = Decoder(resource.kind, lenient=resource.custom, label=label)
    item: Object = decoder.decode(body, resource.types)
    item["kind"], item["apiVersion"] = resource.kind, resource.api_version
    if not isinstance(item.setdefault("metadata", {}), dict):
        raise errors.bad_request(f"{label} cannot be handled as a {resource.kind}: metadata must be an object")
    if resource.custom:
        item["metadata"] = Decoder(resource.kind, label=label).decode(
            item["metadata"], resource.types.fields["metadata"], "metadata"
        )
    _report_unknown(resource, decoder.unknown, options)
    return item


def _report_unknown(resource: Resource, unknown: list[str], options: Options) -> None:
    if not unknown or options.validation == "Ignore":
        return
    texts = [f'unknown field "{path}"' for path in sorted(set(unknown))]
    if options.validation == "Strict":
        label = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
        raise errors.bad_request(f"{label}: strict decoding error: {', '.join(texts)}")
    options.warnings += [text for text in texts if text not in options.warnings]


def fill(item: Object, resource: Resource) -> None:
    if resource.custom:
        custom_defaults(item, resource.types)
    else:
        apply_defaults(item, resource.kind)


def place(item: Object, resource: Resource, namespace: str, name: str = "") -> None:
    """Namespace and name of the path, which must not be at odds with those in the body."""
    metadata = item["metadata"]
    given = metadata.get("namespace", "")
    if resource.namespaced:
        if given and given != namespace:
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)
    if name:
        if metadata.get("name") and metadata["name"] != name:
            raise _other_name(metadata["name"], name)
        metadata["name"] = name
    elif not metadata.get("name") and metadata.get("generateName"):
        suffix = "".join(secrets.choice(_NAME_LETTERS) for _ in range(5))
        metadata["name"] = metadata["generateName"][:58] + suffix


def require_same_object(resource: Resource, item: Object, old: Object) -> None:
    """Optimistic concurrency: name, uid and resourceVersion, where given, must be those of the stored object."""
    metadata, before = item["metadata"], old["metadata"]
    if metadata.setdefault("name", before["name"]) != before["name"]:
        raise _other_name(metadata["name"], before["name"])
    if metadata.get("uid") not in (None, "", before["uid"]):
        raise errors.precondition(resource, before["name"], "UID", metadata["uid"], before["uid"])
    if metadata.get("resourceVersion") not in (None, "", before["resourceVersion"]):
        raise errors.conflict(resource, before["name"])


def _wrong_kind(resource: Resource, kind: str, version: str) -> errors.StatusError:
    if version != resource.api_version:
        wanted = f"does not match the expected API version ({resource.api_version})"
        return errors.bad_request(f"the API version in the data ({version}) {wanted}")
    short = version.rpartition("/")[2]
    why = f"converting ({short}.{kind}) to ({resource.group or 'core'}.{resource.kind}): unknown conversion"
    return errors.bad_request(f'{kind} in version "{short}" cannot be handled as a {resource.kind}: {why}')


def _other_name(given: str, wanted: str) -> errors.StatusError:
    return errors.bad_request(f"the name of the object ({given}) does not match the name on the URL ({wanted})")
