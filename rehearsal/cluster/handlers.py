"""What each HTTP method does on a resource."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from rehearsal.cluster import errors, protobuf, reviews
from rehearsal.cluster.auth import Authenticator, Authorizer
from rehearsal.cluster.bodies import answer, read_body
from rehearsal.cluster.operations import (
    APPLY_PATCH,
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_PATCH,
    Operations,
)
from rehearsal.cluster.options import DeleteOptions, Options
from rehearsal.cluster.pki import User
from rehearsal.cluster.pods import Connector
from rehearsal.cluster.render import Renderer, renderer
from rehearsal.cluster.resources import Resource
from rehearsal.cluster.routes import Target
from rehearsal.cluster.scale import to_scale
from rehearsal.cluster.selectors import field_selector, label_selector
from rehearsal.cluster.store import Stored
from rehearsal.cluster.versions import convert
from rehearsal.cluster.watch import Watch, WatchRequest, error_line

Object = dict[str, Any]

_PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)
# Without a Content-Type aiohttp says application/octet-stream; a real server then reads JSON too.
_BODY_TYPES = ("application/json", "application/yaml", "application/octet-stream", protobuf.CONTENT_TYPE)
# Kinds whose deletion is answered with the object that went, not with a Status.
_ANSWER_OBJECT = {("", "pods"), ("", "services"), ("", "serviceaccounts"), ("", "namespaces")}


class Handlers:
    """Dispatch of resource requests. ``watching`` is told of each watch once its answer has begun."""

    def __init__(
        self,
        operations: Operations,
        authenticator: Authenticator,
        authorizer: Authorizer,
        watching: Callable[[web.BaseRequest], None],
    ) -> None:
        self.operations = operations
        self.store = operations.store
        self.authenticator = authenticator
        self.authorizer = authorizer
        self.watching = watching
        self.connector = Connector(operations)

    async def close(self) -> None:
        await self.connector.close()

    async def handle(
        self, request: web.BaseRequest, user: User, resource: Resource, target: Target
    ) -> web.StreamResponse:
        if target.subresource == "proxy":
            return await self.connector.proxy(request, target)
        if target.subresource == "log":
            return await self.connector.logs(request, target)
        method = request.method
        if method == "GET":
            return await self._get(request, resource, target)
        if method == "POST":
            return await self._post(request, user, resource, target)
        if method in ("PUT", "PATCH", "DELETE") and target.name:
            return await getattr(self, f"_{method.lower()}")(request, resource, target)
        if method == "DELETE" and "deletecollection" in resource.verbs:
            return await self._delete_collection(request, resource, target)
        raise errors.method_not_allowed()

    # Reading

    async def _get(self, request: web.BaseRequest, resource: Resource, target: Target) -> web.StreamResponse:
        if "get" not in resource.verbs:
            raise errors.method_not_allowed()
        render = renderer(request.headers.get("Accept", ""), resource, request.query.get("includeObject", ""))
        if target.name:
            stored = self.operations.get(resource, target.namespace, target.name)
            if target.subresource == "scale":
                return answer(to_scale(stored.read()))
            if target.subresource in ("binding", "eviction", "token", "finalize"):
                raise errors.method_not_allowed()
            return answer(render.single(stored), content_type=render.content_type)
        selected = _selection(request, resource)
        if request.query.get("watch") in ("1", "true"):
            return await self._watch(request, resource, target, selected, render)
        return self._list(request, resource, target, selected, render)

    def _list(
        self,
        request: web.BaseRequest,
        resource: Resource,
        target: Target,
        selected: Callable[[Stored], bool],
        render: Renderer,
    ) -> web.Response:
        query = request.query
        found = [s for s in self.store.all(resource.key, target.namespace) if selected(s)]
        revision = self.store.revision
        match = query.get("resourceVersionMatch", "")
        if match == "Exact" and query.get("resourceVersion") not in (str(revision), None):
            raise errors.expired("The provided resource version is too old")
        if query.get("continue"):
            revision, after = _read_token(query["continue"])
            found = [s for s in found if (s.namespace, s.name) > after]
        metadata: Object = {"resourceVersion": str(revision)}
        limit = _number(query.get("limit"), "limit") or 0
        if limit and len(found) > limit:
            last = found[limit - 1]
            metadata["continue"] = _write_token(revision, last)
            if not query.get("labelSelector") and not query.get("fieldSelector"):
                metadata["remainingItemCount"] = len(found) - limit
            found = found[:limit]
        return answer(render.many(found, metadata), content_type=render.content_type)

    async def _watch(
        self,
        request: web.BaseRequest,
        resource: Resource,
        target: Target,
        selected: Callable[[Stored], bool],
        render: Renderer,
    ) -> web.StreamResponse:
        query = request.query
        asked = WatchRequest(
            resource,
            target.namespace,
            query.get("resourceVersion", ""),
            selected,
            render.event,
            bookmarks=query.get("allowWatchBookmarks") in ("1", "true"),
            initial_events=query.get("sendInitialEvents") in ("1", "true"),
        )
        asked.timeout = _number(query.get("timeoutSeconds"), "timeoutSeconds") or asked.timeout
        try:
            watch = Watch(self.store, asked)
        except errors.StatusError as error:
            if error.code != 410:
                raise
            # That a version is too old is told in the stream, not by its status.
            return web.Response(body=error_line(error), content_type=render.content_type)
        response = web.StreamResponse(
            headers={"Content-Type": render.content_type, "Cache-Control": "no-cache, private"}
        )
        response.enable_chunked_encoding()
        try:
            await response.prepare(request)
            self.watching(request)
            await watch.run(response.write)
            await response.write_eof()
        finally:
            watch.close()
        return response

    # Writing

    async def _post(
        self, request: web.BaseRequest, user: User, resource: Resource, target: Target
    ) -> web.StreamResponse:
        if target.name and target.subresource not in ("binding", "eviction", "token"):
            raise errors.method_not_allowed()
        if "create" not in resource.verbs or (resource.namespaced and not target.namespace):
            raise errors.method_not_allowed()
        body = await self._body(request, resource)
        options = _options(request)
        if target.subresource == "token":
            return answer(reviews.issue_token(self.operations, self.authenticator, resource, target, body), 201)
        if target.subresource == "binding":
            self.operations.bind(target.namespace, target.name, body, options)
            return answer(_success(None), 201)
        if target.subresource == "eviction":
            return self._evict(resource, target, body, options)
        if resource.verbs == ("create",):
            return answer(reviews.review(resource, body, user, self.authorizer, options), 201)
        created = self.operations.create(resource, target.namespace, body, options)
        return answer(created, 201, warnings=options.warnings)

    async def _put(self, request: web.BaseRequest, resource: Resource, target: Target) -> web.StreamResponse:
        body = await self._body(request, resource)
        options = _options(request)
        if target.subresource == "finalize":
            return answer(self.operations.finalize_namespace(target.name, body, options))
        self._writable(target)
        item = self.operations.update(resource, target.namespace, target.name, body, options, target.subresource)
        return answer(_shown(item, target), warnings=options.warnings)

    async def _patch(self, request: web.BaseRequest, resource: Resource, target: Target) -> web.StreamResponse:
        kind = request.content_type
        self._writable(target)
        if kind not in _PATCH_TYPES:
            raise errors.StatusError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
        if resource.custom and kind == STRATEGIC_PATCH:
            accepted = ", ".join((JSON_PATCH, MERGE_PATCH, APPLY_PATCH))
            message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
            raise errors.StatusError(415, "UnsupportedMediaType", message)
        options = _options(request)
        if kind == APPLY_PATCH and not request.query.get("fieldManager"):
            raise _no_manager()
        body = await read_body(request, resource.kind)
        item, created = self.operations.patch(
            resource, target.namespace, target.name, kind, body, options, target.subresource
        )
        return answer(_shown(item, target), 201 if created else 200, warnings=options.warnings)

    async def _delete(self, request: web.BaseRequest, resource: Resource, target: Target) -> web.StreamResponse:
        if target.subresource:
            raise errors.method_not_allowed()
        options = await _delete_options(request)
        item, gone = self.operations.delete(resource, target.namespace, target.name, options)
        if not gone or resource.key in _ANSWER_OBJECT:
            return answer(item)
        details = {
            "name": target.name,
            "group": resource.group,
            "kind": resource.plural,
            "uid": item["metadata"]["uid"],
        }
        return answer(_success({key: value for key, value in details.items() if value}))

    async def _delete_collection(
        self, request: web.BaseRequest, resource: Resource, target: Target
    ) -> web.StreamResponse:
        options = await _delete_options(request)
        selected = _selection(request, resource)
        found = [s for s in self.store.all(resource.key, target.namespace) if selected(s)]
        items = [self.operations.delete(resource, s.namespace, s.name, options)[0] for s in found]
        metadata = {"resourceVersion": str(self.store.revision)}
        body = {"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": metadata, "items": items}
        return answer(body)

    def _evict(self, resource: Resource, target: Target, body: Any, options: Options) -> web.Response:
        """Delete a pod unless a disruption budget with its status forbids it."""
        stored = self.operations.get(resource, target.namespace, target.name)
        reviews.check_disruption(self.store, stored)
        asked = (body or {}).get("deleteOptions") or {}
        delete = DeleteOptions(asked.get("gracePeriodSeconds"), dry_run=options.dry_run)
        self.operations.delete(resource, target.namespace, target.name, delete)
        return answer(_success(None), 201)

    def _writable(self, target: Target) -> None:
        if target.subresource not in ("", "status", "scale"):
            raise errors.method_not_allowed()

    async def _body(self, request: web.BaseRequest, resource: Resource) -> Any:
        if request.content_type not in _BODY_TYPES:
            message = (
                "the body of the request was in an unknown format - accepted media types include: "
                "application/json, application/yaml"
            )
            raise errors.StatusError(415, "UnsupportedMediaType", message)
        body = await read_body(request, resource.kind)
        if not isinstance(body, dict):
            message = (
                f"the object provided is unrecognized (must be of type {resource.kind}): couldn't get version/kind"
            )
            raise errors.bad_request(message)
        return body


def _shown(item: Object, target: Target) -> Object:
    return to_scale(item) if target.subresource == "scale" else item


def _success(details: Object | None) -> Object:
    status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return status | ({"details": details} if details else {})


def _no_manager() -> errors.StatusError:
    cause = errors.required("fieldManager", "is required for apply patch")
    details = {
        "group": "meta.k8s.io",
        "kind": "PatchOptions",
        "causes": [{"reason": cause.reason, "message": cause.message, "field": cause.field}],
    }
    message = f'PatchOptions.meta.k8s.io "" is invalid: fieldManager: {cause.message}'
    return errors.StatusError(422, "Invalid", message, details)


def _number(value: str | None, name: str) -> int | None:
    if value in (None, ""):
        return None
    try:
        return int(str(value))
    except ValueError:
        raise errors.bad_request(f"{name}: invalid value {value!r}: must be a whole number") from None


def _selection(request: web.BaseRequest, resource: Resource) -> Callable[[Stored], bool]:
    """A test of labels and fields; fields are only decoded when a field selector asks for them."""
    labels = request.query.get("labelSelector", "")
    fields = request.query.get("fieldSelector", "")
    by_label = label_selector(labels) if labels else None
    by_field = field_selector(fields, resource.kind) if fields else None

    def selected(stored: Stored) -> bool:
        if by_label is not None and not by_label({"metadata": {"labels": stored.labels}}):
            return False
        return by_field is None or by_field(convert(stored.read(), resource))

    return selected


def _options(request: web.BaseRequest) -> Options:
    query = request.query
    dry_run = query.getall("dryRun", [])
    if any(value not in ("All", "") for value in dry_run):
        raise errors.bad_request(f"dryRun: Unsupported value: {dry_run[0]!r}: supported values: 'All'")
    manager = query.get("fieldManager") or request.headers.get("User-Agent", "unknown").partition("/")[0]
    return Options(
        manager=manager,
        dry_run="All" in dry_run,
        validation=query.get("fieldValidation") or "Warn",
        force=query.get("force") in ("1", "true"),
    )


async def _delete_options(request: web.BaseRequest) -> DeleteOptions:
    """From the body, or from the query for what it does not say."""
    body = await read_body(request, "DeleteOptions") or {}
    query, conditions = request.query, body.get("preconditions") or {}
    grace = body.get("gracePeriodSeconds")
    if grace is None:
        grace = _number(query.get("gracePeriodSeconds"), "gracePeriodSeconds")
    propagation = body.get("propagationPolicy") or query.get("propagationPolicy") or ""
    if propagation not in ("", "Background", "Foreground", "Orphan"):
        raise errors.bad_request(f"propagationPolicy: Unsupported value: {propagation!r}")
    if body.get("orphanDependents") and not propagation:
        propagation = "Orphan"
    return DeleteOptions(
        grace=grace,
        propagation=propagation,
        uid=conditions.get("uid", ""),
        resource_version=conditions.get("resourceVersion", ""),
        dry_run="All" in (body.get("dryRun") or []) or query.get("dryRun") == "All",
    )


def _write_token(revision: int, last: Stored) -> str:
    return base64.urlsafe_b64encode(json.dumps([revision, last.namespace, last.name]).encode()).decode()


def _read_token(token: str) -> tuple[int, tuple[str, str]]:
    try:
        revision, namespace, name = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        raise errors.bad_request("continue key is not valid") from None
    return int(revision), (namespace, name)
