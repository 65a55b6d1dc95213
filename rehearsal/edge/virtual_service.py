"""VirtualService to Envoy routes, as Istio does it."""

from __future__ import annotations

import copy
from typing import Any

from rehearsal.client import Object
from rehearsal.edge.affinity import with_affinity
from rehearsal.edge.fields import Fields, TranslationError
from rehearsal.edge.matches import route_matches
from rehearsal.edge.mesh import Mesh
from rehearsal.edge.names import ClusterName, service_of
from rehearsal.edge.route_options import filter_options, header_operations, host_of, mirror_policies, retry_policy
from rehearsal.edge.translation import Route, Traffic, Translator

_OPTIONS = ("name", "match", "headers", "fault", "corsPolicy")
_FORWARDING = ("route", "rewrite", "timeout", "retries", "mirror", "mirrorPercentage", "mirrors")
_REDIRECT_CODES = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}


class VirtualServiceTranslator(Translator[Traffic]):
    """Translates ``networking.istio.io/v1`` VirtualServices; see ``translation.Translator``."""

    kind = "VirtualService"
    collection = "/apis/networking.istio.io/v1/virtualservices"

    def translate(self, item: Object, mesh: Mesh) -> Traffic:
        spec = Fields(item.get("spec", {}), "spec")
        spec.only(("hosts", "gateways", "http", "exportTo"))
        namespace = item["metadata"].get("namespace", "")
        hosts = tuple(_host(host, namespace, mesh) for host in spec.strings("hosts"))
        if not hosts:
            raise spec.refuse("hosts", "must name at least one host")
        routes: list[Route] = []
        clusters: set[ClusterName] = set()
        for index, fields in enumerate(spec.objects("http")):
            base, named = _base_route(fields, namespace, mesh)
            base["name"] = fields.string("name") or f"{namespace}/{item['metadata']['name']}/{index}"
            clusters |= named
            routes += _expanded(base, fields, namespace, mesh)
        if not routes:
            raise spec.refuse("http", "must hold at least one route")
        warnings = tuple(sorted({why for cluster in clusters if (why := mesh.missing(cluster))}))
        return Traffic(hosts, tuple(routes), frozenset(clusters), warnings)


def _host(host: str, namespace: str, mesh: Mesh) -> str:
    """A host that means a Service of this cluster gets its full name, any other stays."""
    service = service_of(host, namespace)
    return service.host if service and service in mesh.services else host


def _expanded(base: Route, fields: Fields, namespace: str, mesh: Mesh) -> list[Route]:
    """One route per match block, each with the affinity of the first destination that has one."""
    expanded: list[Route] = []
    balancer = _affinity(fields, namespace, mesh)
    for match in route_matches(fields):
        route = copy.deepcopy(base) | {"match": match}
        expanded += with_affinity(route, balancer) if balancer else [route]
    return expanded


def _affinity(fields: Fields, namespace: str, mesh: Mesh) -> Fields | None:
    for target in fields.objects("route"):
        balancer = mesh.policy(mesh.destination(target.object("destination"), namespace), "loadBalancer")
        if "consistentHash" in balancer:
            return balancer
    return None


def _base_route(fields: Fields, namespace: str, mesh: Mesh) -> tuple[Route, set[ClusterName]]:
    """An Envoy route but for its match, and the clusters it names."""
    options = filter_options(fields)
    base: Route = {"typed_per_filter_config": options} if options else {}
    kinds = [kind for kind in ("route", "redirect", "directResponse") if kind in fields]
    if len(kinds) != 1:
        raise TranslationError(f"{fields.path}: needs exactly one of route, redirect, directResponse")
    if kinds == ["route"]:
        fields.only(_OPTIONS + _FORWARDING)
        return _forward(base, fields, namespace, mesh)
    fields.only((*_OPTIONS, *kinds))
    base |= header_operations(fields)
    if kinds == ["redirect"]:
        return base | {"redirect": _redirect(fields.object("redirect"))}, set()
    return base | {"direct_response": _direct_response(fields.object("directResponse"))}, set()


def _forward(base: Route, fields: Fields, namespace: str, mesh: Mesh) -> tuple[Route, set[ClusterName]]:
    targets = list(fields.objects("route"))
    named = [mesh.destination(target.object("destination"), namespace) for target in targets]
    mirrors = [fields.object("mirror")] if "mirror" in fields else []
    mirrors += [mirror.object("destination") for mirror in fields.objects("mirrors")]
    mirrored = [mesh.destination(mirror, namespace) for mirror in mirrors]
    action: dict[str, Any] = {"timeout": fields.duration("timeout") or "0s"}
    action |= _split(targets, named)
    retries = retry_policy(fields)
    if retries:
        action["retry_policy"] = retries
    if mirrored:
        action["request_mirror_policies"] = mirror_policies(fields, [str(cluster) for cluster in mirrored])
    action |= _rewrite(fields, targets)
    operations = _merged(header_operations(fields), header_operations(targets[0]) if len(targets) == 1 else {})
    return base | operations | {"route": action}, {*named, *mirrored}


def _split(targets: list[Fields], named: list[ClusterName]) -> dict[str, Any]:
    """The destinations by weight, in the object's order. A single one gets everything, whatever its weight."""
    for target in targets:
        target.only(("destination", "weight", "headers"))
    weights = [target.integer("weight") for target in targets]
    if len(targets) == 1:
        return {"cluster": str(named[0])}
    if sum(weights) == 0:
        raise TranslationError(f"{targets[0].path.removesuffix('[0]')}: the weights sum to 0")
    shares = []
    for target, cluster, weight in zip(targets, named, weights, strict=True):
        share = {"name": str(cluster), "weight": weight} | header_operations(target)
        host = host_of(target)
        shares.append(share | ({"host_rewrite_literal": host} if host else {}))
    return {"weighted_clusters": {"clusters": shares}}


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return {key: first.get(key, []) + second.get(key, []) for key in {**first, **second}}


def _rewrite(fields: Fields, targets: list[Fields]) -> dict[str, Any]:
    rewrite = fields.object("rewrite")
    rewrite.only(("uri", "authority", "uriRegexRewrite"))
    action: dict[str, Any] = {}
    if "uri" in rewrite:
        action["prefix_rewrite"] = rewrite.string("uri")
    if "uriRegexRewrite" in rewrite:
        regex = rewrite.object("uriRegexRewrite")
        regex.only(("match", "rewrite"))
        action["regex_rewrite"] = {"pattern": {"regex": regex.string("match")}, "substitution": regex.string("rewrite")}
    host = rewrite.string("authority") or host_of(fields) or (host_of(targets[0]) if len(targets) == 1 else None)
    if host:
        action["host_rewrite_literal"] = host
    return action


def _redirect(redirect: Fields) -> dict[str, Any]:
    redirect.only(("uri", "authority", "scheme", "port", "redirectCode"))
    code = redirect.integer("redirectCode", 301)
    if code not in _REDIRECT_CODES:
        raise redirect.refuse("redirectCode", f"must be one of {sorted(_REDIRECT_CODES)}")
    action: dict[str, Any] = {"response_code": _REDIRECT_CODES[code]}
    names = {"uri": "path_redirect", "authority": "host_redirect", "scheme": "scheme_redirect"}
    action |= {ours: redirect.string(theirs) for theirs, ours in names.items() if theirs in redirect}
    if "port" in redirect:
        action["port_redirect"] = redirect.integer("port", least=1, most=65535)
    return action


def _direct_response(response: Fields) -> dict[str, Any]:
    response.only(("status", "body"))
    action: dict[str, Any] = {"status": response.integer("status", 200, least=200, most=599)}
    if "body" in response:
        body = response.object("body")
        body.only(("string",))
        action["body"] = {"inline_string": body.string("string")}
    return action
