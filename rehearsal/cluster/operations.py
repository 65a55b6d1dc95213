"""What the API does to objects: create, update, patch, apply and delete, in the order a real server does it."""

from __future__ import annotations

import copy
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from rehearsal.cluster import errors
from rehearsal.cluster.apply import Manager, Ownership, server_side_apply, track_update
from rehearsal.cluster.decoding import Decoder, drop_empty
from rehearsal.cluster.defaults import apply_defaults, custom_defaults
from rehearsal.cluster.definitions import established, resources_of
from rehearsal.cluster.fieldsets import Paths
from rehearsal.cluster.patches import json_patch, merge_patch, strategic_patch
from rehearsal.cluster.resources import Registry, Resource
from rehearsal.cluster.scale import from_scale, to_scale
from rehearsal.cluster.services import ServiceAddresses
from rehearsal.cluster.store import Store, Stored, encode
from rehearsal.cluster.validation import validate
from rehearsal.cluster.versions import convert

Object = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

NAMESPACES = ("", "namespaces")
# Built-in kinds that, like custom ones, are only replaced by who says which version is meant.
_CONDITIONAL = {"CustomResourceDefinition", "Lease", "PodDisruptionBudget"}
_NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
# What an empty object of a kind already holds before anything is set, so that nobody owns it.
_TEMPLATE: Object = {"metadata": {}, "spec": {"containers": None}}
_EMPTY_SPECS: dict[str, Object] = {
    "Deployment": {"selector": None, "template": _TEMPLATE, "strategy": {}},
    "ReplicaSet": {"selector": None, "template": _TEMPLATE},
    "StatefulSet": {"selector": None, "template": _TEMPLATE, "updateStrategy": {}},
    "DaemonSet": {"selector": None, "template": _TEMPLATE, "updateStrategy": {}},
    "Job": {"template": _TEMPLATE},
    "Pod": {"containers": None},
}


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Options:
    """What a write was asked with, beside its body. ``warnings`` collects what the answer should warn of."""

    manager: str = "unknown"
    dry_run: bool = False
    validation: str = "Warn"
    force: bool = False
    warnings: list[str] = field(default_factory=list)


@dataclass
class DeleteOptions:
    """How to delete. ``grace`` in seconds, None for the kind's own; ``propagation`` as the API names it."""

    grace: int | None = None
    propagation: str = ""
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


class Operations:
    """All writes. Every method either stores one new state or raises StatusError and stores nothing."""

    def __init__(self, store: Store, registry: Registry, addresses: ServiceAddresses) -> None:
        self.store = store
        self.registry = registry
        self.addresses = addresses
        self.on_definition_change: Callable[[], None] = lambda: None

    # Reading

    def get(self, resource: Resource, namespace: str, name: str) -> Stored:
        stored = self.store.find(resource.key, namespace, name)
        if stored is None:
            raise errors.not_found(resource, name)
        return stored

    def read(self, resource: Resource, namespace: str, name: str) -> Object:
        """The object in the version of ``resource``."""
        return convert(self.get(resource, namespace, name).read(), resource)

    # Writing

    def create(self, resource: Resource, namespace: str, body: Any, options: Options) -> Object:
        item = self._accept(resource, body, options)
        self._place(item, resource, namespace)
        item["metadata"].pop("resourceVersion", None)
        self._require_namespace(resource, namespace)
        self._fill(item, resource)
        ownership = track_update(
            _empty(resource), item, resource.types, Ownership(), self._manager(resource, options), _reset(resource, "")
        )
        return self._create(item, resource, ownership, options)

    def _create(self, item: Object, resource: Resource, ownership: Ownership, options: Options) -> Object:
        metadata, moment = item["metadata"], now()
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": moment}
        for key in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
            metadata.pop(key, None)
        if resource.generation or resource.custom:
            metadata["generation"] = 1
        self._initial_status(item, resource)
        metadata["managedFields"] = ownership.write(moment, Ownership())
        self._check(item, resource, None)
        if self.store.find(resource.key, metadata.get("namespace", ""), metadata["name"]) is not None:
            raise errors.already_exists(resource, metadata["name"])
        if resource.kind == "Service" and not resource.custom:
            self.addresses.assign(item, options.dry_run)
        return self._store(item, resource, options)

    def update(
        self, resource: Resource, namespace: str, name: str, body: Any, options: Options, subresource: str = ""
    ) -> Object:
        """Replace an object (PUT)."""
        old = self.read(resource, namespace, name)
        if subresource == "scale":
            body = from_scale(old, body)
        item = self._accept(resource, body, options)
        if not item["metadata"].get("resourceVersion") and (resource.custom or resource.kind in _CONDITIONAL):
            cause = errors.wrong("metadata.resourceVersion", "0", "must be specified for an update")
            raise errors.invalid(resource, name, [cause])
        return self._replace(resource, old, item, options, subresource)

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        kind: str,
        body: Any,
        options: Options,
        subresource: str = "",
    ) -> tuple[Object, bool]:
        """Patch an object; says too whether it was created, which only an apply can do."""
        if kind == APPLY_PATCH:
            return self._apply(resource, namespace, name, body, options, subresource)
        old = self.read(resource, namespace, name)
        target = to_scale(old) if subresource == "scale" else old
        schema = resource.types
        if kind == JSON_PATCH:
            new = json_patch(target, body)
        elif kind == MERGE_PATCH:
            new = merge_patch(target, body)
        else:
            new = strategic_patch(target, body, schema)
        if subresource == "scale":
            new = from_scale(old, new)
        try:
            item = self._accept(resource, new, options)
        except errors.StatusError as error:
            raise errors.invalid_patch(encode(new).decode(), error.message.partition(": ")[2]) from None
        return self._replace(resource, old, item, options, subresource), False

    def _apply(
        self, resource: Resource, namespace: str, name: str, config: Any, options: Options, subresource: str
    ) -> tuple[Object, bool]:
        if not isinstance(config, dict):
            raise errors.bad_request("error decoding YAML: the patch must be an object")
        stored = self.store.find(resource.key, namespace, name)
        old = convert(stored.read(), resource) if stored else None
        if old is not None and subresource == "scale":
            config = _scale_config(old, config)
        if (config.get("metadata") or {}).get("managedFields"):
            raise errors.bad_request("metadata.managedFields must be nil")
        # Fields nobody declared can't be owned, so an apply refuses them whatever validation was asked for.
        config = self._decode(resource, config, replace(options, validation="Strict"))
        self._place(config, resource, namespace, name)
        if old is None:
            return self._apply_create(resource, namespace, config, options), True
        manager = self._manager(resource, options, subresource, "Apply")
        ownership = Ownership.read(old)
        merged, ownership = server_side_apply(
            old, config, resource.types, ownership, manager, options.force, _reset(resource, subresource)
        )
        merged = self._accept(resource, merged, options)
        return self._replace(resource, old, merged, options, subresource, ownership), False

    def _apply_create(self, resource: Resource, namespace: str, config: Object, options: Options) -> Object:
        self._require_namespace(resource, namespace)
        manager = self._manager(resource, options, "", "Apply")
        _, ownership = server_side_apply({}, config, resource.types, Ownership(), manager, True, _reset(resource, ""))
        item = self._accept(resource, config, options)
        self._fill(item, resource)
        return self._create(item, resource, ownership, options)

    def _replace(
        self,
        resource: Resource,
        old: Object,
        item: Object,
        options: Options,
        subresource: str,
        applied: Ownership | None = None,
    ) -> Object:
        """Store ``item`` in place of ``old``, keeping what a client can't change."""
        metadata, before = item["metadata"], old["metadata"]
        self._same_object(resource, item, old)
        self._fill(item, resource)
        self._keep(resource, item, old, subresource)
        asked = metadata.pop("managedFields", None)
        ownership = applied or self._track(resource, old, item, asked, options, subresource)
        if resource.kind == "Service" and not resource.custom:
            self.addresses.keep(item, old)
        if self._counts(resource, old, item):
            metadata["generation"] = before.get("generation", 0) + 1
        moment = now()
        metadata["managedFields"] = ownership.write(moment, Ownership.read(old))
        if not metadata["managedFields"]:
            del metadata["managedFields"]
        self._check(item, resource, old)
        if self._is_released(resource, item):
            return self._remove(resource, item, options)
        if item == old:
            return old
        return self._store(item, resource, options)

    def _track(
        self, resource: Resource, old: Object, item: Object, asked: Any, options: Options, subresource: str
    ) -> Ownership:
        """Ownership after a plain write; a client may also rewrite it itself, or clear it with an empty list."""
        ownership = Ownership.read(old)
        if asked is not None and asked != old["metadata"].get("managedFields"):
            ownership = Ownership.read({"metadata": {"managedFields": asked}})
            if not ownership.sets and asked != [{}] and asked != []:
                ownership = Ownership.read(old)
        manager = self._manager(resource, options, subresource)
        return track_update(old, item, resource.types, ownership, manager, _reset(resource, subresource))

    def delete(self, resource: Resource, namespace: str, name: str, options: DeleteOptions) -> tuple[Object, bool]:
        """Delete an object; the object as it is then, and whether it is gone already."""
        item = self.read(resource, namespace, name)
        metadata = item["metadata"]
        if options.uid and options.uid != metadata["uid"]:
            raise errors.precondition(resource, name, "UID", options.uid, metadata["uid"])
        if options.resource_version and options.resource_version != metadata["resourceVersion"]:
            found = metadata["resourceVersion"]
            raise errors.precondition(resource, name, "ResourceVersion", options.resource_version, found)
        plain = Options(dry_run=options.dry_run)
        grace = self._grace(resource, item, options)
        finalizers = list(metadata.get("finalizers") or [])
        wanted = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(options.propagation)
        if wanted and wanted not in finalizers:
            finalizers.append(wanted)
        held = bool(finalizers) or resource.key == NAMESPACES
        if not held and grace == 0:
            return self._remove(resource, item, plain), True
        marked = "deletionTimestamp" in metadata and grace >= metadata.get("deletionGracePeriodSeconds", 0)
        if marked and finalizers == (metadata.get("finalizers") or []):
            return item, False
        if finalizers:
            metadata["finalizers"] = finalizers
        moment = datetime.now(UTC) + timedelta(seconds=grace)
        metadata["deletionTimestamp"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata["deletionGracePeriodSeconds"] = grace
        if resource.generation or resource.custom:
            metadata["generation"] = metadata.get("generation", 0) + 1
        if resource.key == NAMESPACES:
            item.setdefault("status", {})["phase"] = "Terminating"
            del metadata["deletionGracePeriodSeconds"]
        return self._store(item, resource, plain), False

    def finalize_namespace(self, name: str, body: Any, options: Options) -> Object:
        """Set ``spec.finalizers`` of a namespace; without any left a terminating one goes."""
        resource = self._namespace_resource()
        item = self.read(resource, "", name)
        item["spec"] = {"finalizers": list((body.get("spec") or {}).get("finalizers") or [])}
        if self._is_released(resource, item):
            return self._remove(resource, item, options)
        return self._store(item, resource, options)

    def bind(self, namespace: str, name: str, body: Any, options: Options) -> None:
        """Assign a pod to a node, as a scheduler does."""
        resource = self._pods()
        item = self.read(resource, namespace, name)
        node = (body.get("target") or {}).get("name", "")
        if item["spec"].get("nodeName"):
            message = f'Operation cannot be fulfilled on pods/binding "{name}": pod {name} is already assigned to node'
            message += f' "{item["spec"]["nodeName"]}"'
            raise errors.StatusError(409, "Conflict", message, {"name": name, "kind": "pods/binding"})
        if not node:
            raise errors.bad_request("target.name is required")
        item["spec"]["nodeName"] = node
        condition = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now()}
        status = item.setdefault("status", {})
        others = [c for c in status.get("conditions") or [] if c["type"] != "PodScheduled"]
        status["conditions"] = [*others, condition]
        self._store(item, resource, options)

    # Steps

    def _accept(self, resource: Resource, body: Any, options: Options) -> Object:
        """Decode a body and leave out what is empty, as the kind itself would."""
        item = self._decode(resource, body, options)
        if resource.custom:
            drop_empty(item["metadata"], resource.types.fields["metadata"])
        else:
            drop_empty(item, resource.types)
        return item

    def _decode(self, resource: Resource, body: Any, options: Options) -> Object:
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
        self._report_unknown(resource, decoder.unknown, options)
        return item

    def _report_unknown(self, resource: Resource, unknown: list[str], options: Options) -> None:
        if not unknown or options.validation == "Ignore":
            return
        texts = [f'unknown field "{path}"' for path in sorted(set(unknown))]
        if options.validation == "Strict":
            label = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
            raise errors.bad_request(f"{label}: strict decoding error: {', '.join(texts)}")
        options.warnings += [text for text in texts if text not in options.warnings]

    def _fill(self, item: Object, resource: Resource) -> None:
        if resource.custom:
            custom_defaults(item, resource.types)
        else:
            apply_defaults(item, resource.kind)

    def _place(self, item: Object, resource: Resource, namespace: str, name: str = "") -> None:
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

    def _require_namespace(self, resource: Resource, namespace: str) -> None:
        if not resource.namespaced:
            return
        stored = self.store.find(NAMESPACES, "", namespace)
        if stored is None:
            raise errors.not_found(self._namespace_resource(), namespace)
        if b'"deletionTimestamp"' in stored.raw:
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            error = errors.forbidden(resource, "", why)
            cause = {"reason": "NamespaceTerminating", "field": "metadata.namespace"}
            cause["message"] = f"namespace {namespace} is being terminated"
            error.details = (error.details or {}) | {"causes": [cause]}
            raise error

    def _same_object(self, resource: Resource, item: Object, old: Object) -> None:
        """Optimistic concurrency: name, uid and resourceVersion, where given, must be those of the stored object."""
        metadata, before = item["metadata"], old["metadata"]
        if metadata.setdefault("name", before["name"]) != before["name"]:
            raise _other_name(metadata["name"], before["name"])
        if metadata.get("uid") not in (None, "", before["uid"]):
            raise errors.precondition(resource, before["name"], "UID", metadata["uid"], before["uid"])
        if metadata.get("resourceVersion") not in (None, "", before["resourceVersion"]):
            raise errors.conflict(resource, before["name"])

    def _keep(self, resource: Resource, item: Object, old: Object, subresource: str) -> None:
        """Carry over what this write can't touch."""
        metadata, before = item["metadata"], old["metadata"]
        kept = ("namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
        for key in (*kept, "generation", "resourceVersion", "generateName"):
            metadata.pop(key, None)
            if key in before:
                metadata[key] = before[key]
        if subresource == "status":
            status = item.get("status")
            for key in list(item):
                if key not in ("status", "metadata"):
                    del item[key]
            item |= {key: value for key, value in old.items() if key not in ("status", "metadata")}
            item["status"] = status if status is not None else {}
            # Of a built-in kind a status update may still change annotations and finalizers.
            held = ("labels", "ownerReferences") + (("annotations", "finalizers") if resource.custom else ())
            for key in held:
                metadata.pop(key, None)
                if key in before:
                    metadata[key] = before[key]
            return
        if resource.has_status:
            item.pop("status", None)
            if "status" in old:
                item["status"] = old["status"]
        if resource.key == NAMESPACES:
            item["spec"] = old.get("spec", {})
        if resource.kind == "Pod" and not resource.custom and old["spec"].get("nodeName"):
            item["spec"].setdefault("nodeName", old["spec"]["nodeName"])

    def _counts(self, resource: Resource, old: Object, item: Object) -> bool:
        """Whether this change makes a new generation."""
        if resource.custom:
            left = {k: v for k, v in old.items() if k not in ("metadata", "status" if resource.has_status else "")}
            right = {k: v for k, v in item.items() if k not in ("metadata", "status" if resource.has_status else "")}
            return left != right
        if not resource.generation:
            return False
        return any(old.get(key) != item.get(key) for key in ("spec", "endpoints", "ports"))

    def _initial_status(self, item: Object, resource: Resource) -> None:
        if resource.custom:
            if resource.has_status:
                item.pop("status", None)
            return
        if not resource.has_status:
            return
        if resource.kind != "Node":
            item["status"] = {}
        if resource.key == NAMESPACES:
            item["spec"] = {"finalizers": ["kubernetes"]}
            item["status"] = {"phase": "Active"}
        elif resource.kind == "Service" or resource.kind == "Ingress":
            item["status"] = {"loadBalancer": {}}
        elif resource.kind == "Pod":
            item["status"] = {"phase": "Pending", "qosClass": _quality(item["spec"])}
        elif resource.kind == "ReplicaSet" or resource.kind == "StatefulSet":
            item["status"] = {"replicas": 0}
        elif resource.kind == "CustomResourceDefinition":
            item["status"] = established(item, now())

    def _check(self, item: Object, resource: Resource, old: Object | None) -> None:
        causes = validate(item, resource, old)
        if causes:
            raise errors.invalid(resource, item["metadata"].get("name", ""), causes)

    def _is_released(self, resource: Resource, item: Object) -> bool:
        """Whether a deleted object has nothing left that holds it."""
        metadata = item["metadata"]
        if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
            return False
        if resource.key == NAMESPACES:
            return not (item.get("spec") or {}).get("finalizers")
        return metadata.get("deletionGracePeriodSeconds", 0) == 0

    def _grace(self, resource: Resource, item: Object, options: DeleteOptions) -> int:
        """Seconds a pod gets to end; nothing else has any."""
        if resource.kind != "Pod" or resource.custom:
            return 0
        spec = item.get("spec") or {}
        if not spec.get("nodeName") or (item.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return 0
        if options.grace is not None:
            return max(options.grace, 0)
        return int(spec.get("terminationGracePeriodSeconds", 30))

    def _remove(self, resource: Resource, item: Object, options: Options) -> Object:
        """Take the object out of the store; its last state keeps the version it had."""
        if options.dry_run:
            return item
        metadata = item["metadata"]
        version = metadata["resourceVersion"]
        self.store.delete(resource.key, metadata.get("namespace", ""), metadata["name"], copy.deepcopy(item))
        metadata["resourceVersion"] = version
        if resource.kind == "CustomResourceDefinition" and not resource.custom:
            self._undefine(item)
        return item

    def _store(self, item: Object, resource: Resource, options: Options) -> Object:
        if options.dry_run:
            return item
        stored = self.store.put(resource.key, _in_storage_version(item, resource, self.registry))
        item["metadata"]["resourceVersion"] = str(stored.revision)
        if resource.kind == "CustomResourceDefinition" and not resource.custom:
            spec = item["spec"]
            self.registry.replace_custom(spec["group"], spec["names"]["plural"], resources_of(item))
            self.on_definition_change()
        return item

    def _undefine(self, item: Object) -> None:
        spec = item["spec"]
        self.registry.replace_custom(spec["group"], spec["names"]["plural"], [])
        self.store.drop((spec["group"], spec["names"]["plural"]))
        self.on_definition_change()

    def _manager(
        self, resource: Resource, options: Options, subresource: str = "", operation: str = "Update"
    ) -> Manager:
        return Manager(options.manager, operation, resource.api_version, subresource)

    def _namespace_resource(self) -> Resource:
        return _known(self.registry, "", "v1", "namespaces")

    def _pods(self) -> Resource:
        return _known(self.registry, "", "v1", "pods")


def _known(registry: Registry, group: str, version: str, plural: str) -> Resource:
    resource = registry.find(group, version, plural)
    if resource is None:
        raise LookupError(f"{plural} is a built-in resource and must be served")
    return resource


def _empty(resource: Resource) -> Object:
    """An object of the kind with nothing set."""
    if resource.custom:
        return {}
    fields = resource.types.fields
    empty: Object = {key: {} for key in ("metadata", "spec", "status") if key in fields}
    if resource.kind in _EMPTY_SPECS:
        empty["spec"] = _EMPTY_SPECS[resource.kind]
    return empty


def _reset(resource: Resource, subresource: str) -> Paths:
    """Fields that a write to this (sub)resource does not take, so that it can't own them either."""
    if not resource.has_status:
        return set()
    if subresource == "status":
        return {("f:spec",), ("f:metadata", "f:labels")}
    return {("f:status",)}


def _quality(spec: Object) -> str:
    """The quality-of-service class a pod gets by its resources."""
    containers = (spec.get("containers") or []) + (spec.get("initContainers") or [])
    resources = [container.get("resources") or {} for container in containers]
    if not any(r.get("requests") or r.get("limits") for r in resources):
        return "BestEffort"
    limited = all({"cpu", "memory"} <= set(r.get("limits") or {}) for r in resources)
    if limited and all((r.get("requests") or r["limits"]) == r["limits"] for r in resources):
        return "Guaranteed"
    return "Burstable"


def _in_storage_version(item: Object, resource: Resource, registry: Registry) -> Object:
    group, plural = resource.key
    if not resource.storage or (resource.storage, group) == (resource.version, resource.group):
        return item
    return convert(copy.deepcopy(item), _known(registry, group, resource.storage, plural))


def _scale_config(old: Object, config: Object) -> Object:
    """An applied Scale as the part of the object it stands for."""
    replicas = (config.get("spec") or {}).get("replicas")
    metadata = {"name": old["metadata"]["name"], "namespace": old["metadata"]["namespace"]}
    return {"apiVersion": old["apiVersion"], "kind": old["kind"], "metadata": metadata, "spec": {"replicas": replicas}}


def _wrong_kind(resource: Resource, kind: str, version: str) -> errors.StatusError:
    if version != resource.api_version:
        wanted = f"does not match the expected API version ({resource.api_version})"
        return errors.bad_request(f"the API version in the data ({version}) {wanted}")
    short = version.rpartition("/")[2]
    why = f"converting ({short}.{kind}) to ({resource.group or 'core'}.{resource.kind}): unknown conversion"
    return errors.bad_request(f'{kind} in version "{short}" cannot be handled as a {resource.kind}: {why}')


def _other_name(given: str, wanted: str) -> errors.StatusError:
    return errors.bad_request(f"the name of the object ({given}) does not match the name on the URL ({wanted})")
