"""What the API does to objects: create, update, patch, apply and delete, in the order a real server does it."""

from __future__ import annotations

import copy
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from rehearsal.cluster import errors
from rehearsal.cluster.apply import Manager, Ownership, server_side_apply, track_update
from rehearsal.cluster.definitions import resources_of
from rehearsal.cluster.intake import accept, decode, fill, place, require_same_object
from rehearsal.cluster.options import DeleteOptions, Options
from rehearsal.cluster.patches import json_patch, merge_patch, strategic_patch
from rehearsal.cluster.resources import Registry, Resource
from rehearsal.cluster.scale import from_scale, to_scale
from rehearsal.cluster.services import ServiceAddresses
from rehearsal.cluster.store import Store, Stored, encode
from rehearsal.cluster.strategy import (
    NAMESPACES,
    empty,
    grace_seconds,
    is_released,
    keep,
    makes_generation,
    now,
    set_initial_status,
    unowned_here,
)
from rehearsal.cluster.validation import validate
from rehearsal.cluster.versions import convert

Object = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

# Built-in kinds that, like custom ones, are only replaced by who says which version is meant.
_CONDITIONAL = {"CustomResourceDefinition", "Lease", "PodDisruptionBudget"}


class Operations:
    """All writes. Every method either stores one new state or raises StatusError and stores nothing."""

    def __init__(self, store: Store, registry: Registry, addresses: ServiceAddresses) -> None:
        self.store = store
        self.registry = registry
        self.addresses = addresses

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
        item = accept(resource, body, options)
        place(item, resource, namespace)
        item["metadata"].pop("resourceVersion", None)
        self._require_namespace(resource, namespace)
        fill(item, resource)
        ownership = track_update(
            empty(resource),
            item,
            resource.types,
            Ownership(),
            self._manager(resource, options),
            unowned_here(resource, ""),
        )
        return self._create(item, resource, ownership, options)

    def _create(self, item: Object, resource: Resource, ownership: Ownership, options: Options) -> Object:
        metadata, moment = item["metadata"], now()
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": moment}
        for key in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
            metadata.pop(key, None)
        if resource.generation or resource.custom:
            metadata["generation"] = 1
        set_initial_status(item, resource)
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
        item = accept(resource, body, options)
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
            item = accept(resource, new, options)
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
        config = decode(resource, config, replace(options, validation="Strict"))
        place(config, resource, namespace, name)
        if old is None:
            return self._apply_create(resource, namespace, config, options), True
        manager = self._manager(resource, options, subresource, "Apply")
        ownership = Ownership.read(old)
        merged, ownership = server_side_apply(
            old, config, resource.types, ownership, manager, options.force, unowned_here(resource, subresource)
        )
        merged = accept(resource, merged, options)
        return self._replace(resource, old, merged, options, subresource, ownership), False

    def _apply_create(self, resource: Resource, namespace: str, config: Object, options: Options) -> Object:
        self._require_namespace(resource, namespace)
        manager = self._manager(resource, options, "", "Apply")
        _, ownership = server_side_apply(
            {}, config, resource.types, Ownership(), manager, True, unowned_here(resource, "")
        )
        item = accept(resource, config, options)
        fill(item, resource)
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
        require_same_object(resource, item, old)
        fill(item, resource)
        keep(resource, item, old, subresource)
        asked = metadata.pop("managedFields", None)
        ownership = applied or self._track(resource, old, item, asked, options, subresource)
        if resource.kind == "Service" and not resource.custom:
            self.addresses.keep(item, old)
        if makes_generation(resource, old, item):
            metadata["generation"] = before.get("generation", 0) + 1
        moment = now()
        metadata["managedFields"] = ownership.write(moment, Ownership.read(old))
        if not metadata["managedFields"]:
            del metadata["managedFields"]
        self._check(item, resource, old)
        if is_released(resource, item):
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
        return track_update(old, item, resource.types, ownership, manager, unowned_here(resource, subresource))

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
        grace = grace_seconds(resource, item, options)
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
        if is_released(resource, item):
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

    def _check(self, item: Object, resource: Resource, old: Object | None) -> None:
        causes = validate(item, resource, old)
        if causes:
            raise errors.invalid(resource, item["metadata"].get("name", ""), causes)

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
        return item

    def _undefine(self, item: Object) -> None:
        spec = item["spec"]
        self.registry.replace_custom(spec["group"], spec["names"]["plural"], [])
        self.store.drop((spec["group"], spec["names"]["plural"]))

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
