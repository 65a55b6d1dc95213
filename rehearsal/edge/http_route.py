"""HTTPRoute to Envoy routes, as the Gateway API asks of a controller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rehearsal.client import Object
from rehearsal.edge import gateways
from rehearsal.edge.fields import Fields, TranslationError
from rehearsal.edge.gateways import CONTROLLER, Attachment, attachments, condition
from rehearsal.edge.http_route_filters import Filters, read_filters
from rehearsal.edge.http_route_matches import rule_matches
from rehearsal.edge.mesh import Mesh
from rehearsal.edge.names import ClusterName, ServiceName
from rehearsal.edge.persistence import SessionCookie, Side, kept, share, weighted
from rehearsal.edge.route_options import safe_retries
from rehearsal.edge.translation import Outcome, Ranked, Route, Status, Traffic, Translator, by_rank, object_path

_RULE = ("name", "matches", "filters", "backendRefs", "timeouts", "sessionPersistence")
_BROKEN: Route = {"direct_response": {"status": 500}}


@dataclass(frozen=True)
class HTTPRouteTraffic(Traffic):
    """``unresolved`` are reason and message of each backendRef that names no backend."""

    rules: tuple[Ranked, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    unresolved: tuple[tuple[str, str], ...] = ()


@dataclass
class _Backends:
    """The backendRefs of one rule: those that can be used, and the weight of those that can't."""

    sides: list[Side] = field(default_factory=list)
    broken: int = 0

    @property
    def total(self) -> int:
        return self.broken + sum(side.weight for side in self.sides)


class HTTPRouteTranslator(Translator[HTTPRouteTraffic]):
    """Translates ``gateway.networking.k8s.io/v1`` HTTPRoutes; see ``translation.Translator``."""

    kind = "HTTPRoute"
    collection = f"/apis/{gateways.GROUP}/v1/httproutes"
    related = gateways.COLLECTIONS

    def translate(self, item: Object, mesh: Mesh) -> HTTPRouteTraffic:
        spec = Fields(item.get("spec", {}), "spec")
        spec.only(("parentRefs", "hostnames", "rules"))
        attached = attachments(spec, item["metadata"].get("namespace", ""), mesh)
        reader = _RuleReader(item, mesh, tuple(dict.fromkeys(host for one in attached for host in one.hosts)))
        for index, rule in enumerate(spec.objects("rules")):
            reader.read(rule, index)
        return HTTPRouteTraffic(
            hosts=reader.hosts,
            clusters=frozenset(reader.clusters),
            warnings=tuple(message for _, message in reader.unresolved),
            rules=tuple(reader.ranked),
            attachments=tuple(attached),
            unresolved=tuple(reader.unresolved),
        )

    def merge(self, parts: Sequence[HTTPRouteTraffic]) -> Sequence[Traffic]:
        return by_rank(rule for part in parts for rule in part.rules)

    def statuses(self, outcomes: Sequence[Outcome[HTTPRouteTraffic]], mesh: Mesh, address: str) -> list[Status]:
        found = [_status(outcome, mesh) for outcome in outcomes]
        attached = [one for outcome in outcomes if outcome.part for one in outcome.part.attachments]
        return [status for status in found if status] + list(gateways.statuses(attached, mesh, address))


class _RuleReader:
    """Reads the rules of one HTTPRoute, and gathers what they come to."""

    def __init__(self, item: Object, mesh: Mesh, hosts: tuple[str, ...]) -> None:
        self._metadata = item["metadata"]
        self._namespace: str = item["metadata"].get("namespace", "")
        self._mesh = mesh
        self.hosts = hosts
        self.ranked: list[Ranked] = []
        self.clusters: set[ClusterName] = set()
        self.unresolved: list[tuple[str, str]] = []

    def read(self, rule: Fields, index: int) -> None:
        rule.only(_RULE)
        backends = self._backends(rule)
        cookie = session_cookie(rule)
        timeouts = _timeouts(rule)
        age = self._metadata.get("creationTimestamp") or "", self._namespace, self._metadata["name"]
        for at, (rank, match) in enumerate(rule_matches(rule)):
            prefix = match.get("path_separated_prefix", match.get("prefix", ""))
            filters = read_filters(rule, prefix, self._resolved)
            self.clusters.update(filters.mirrors)
            name = rule.string("name") or str(index)
            base: Route = {"name": f"{self._namespace}/{self._metadata['name']}/{name}/{at}", "match": match}
            routes = self._forwarded(filters.apply(base), filters, timeouts, backends, cookie)
            self.ranked.append(Ranked((*rank, *age, index, at), self.hosts, tuple(routes)))

    def _forwarded(
        self, base: Route, filters: Filters, timeouts: Route, backends: _Backends, cookie: SessionCookie | None
    ) -> list[Route]:
        if "redirect" in base:
            return [base]
        if backends.total == 0 or backends.total == backends.broken:
            return [base | _BROKEN]
        base["route"] = timeouts | filters.action
        used = [side for side in backends.sides if side.weight]
        routes = kept(base, [side for side in used if self._mesh.is_ready(side.cluster)], cookie)
        if backends.broken:
            plain = {key: value for key, value in base.items() if key != "route"}
            routes.append(share(plain | _BROKEN, backends.broken, backends.total))
        return [*routes, weighted(base, backends.sides, cookie)]

    def _backends(self, rule: Fields) -> _Backends:
        found = _Backends()
        for reference in rule.objects("backendRefs"):
            reference.only(("group", "kind", "namespace", "name", "port", "weight", "filters"))
            weight = reference.integer("weight", 1, most=1_000_000)
            cluster = self._resolved(reference)
            if cluster is None:
                found.broken += weight
                continue
            filters = read_filters(reference, "", self._resolved)
            if filters.action or filters.redirect:
                raise reference.refuse("filters", "may only modify headers here")
            found.sides.append(Side(cluster, weight, filters.operations))
        return found

    def _resolved(self, reference: Fields) -> ClusterName | None:
        """The cluster that a backendRef means; None, and a note why, where it means none."""
        namespace = reference.string("namespace", self._namespace)
        service = ServiceName(namespace, reference.string("name"))
        kind = reference.string("group"), reference.string("kind", "Service")
        port = reference.integer("port", least=1, most=65535)
        if kind != ("", "Service"):
            return self._note("InvalidKind", f"{reference.path}: {kind[1]} is no kind of backend")
        if namespace != self._namespace:
            why = f"{reference.path}: is in namespace {namespace}, and this edge reads no ReferenceGrant"
            return self._note("RefNotPermitted", why)
        cluster = ClusterName(service, port)
        missing = self._mesh.missing(cluster)
        if missing:
            return self._note("BackendNotFound", f"{reference.path}: {missing}")
        self.clusters.add(cluster)
        return cluster

    def _note(self, reason: str, message: str) -> ClusterName | None:
        """Note why a backendRef means no cluster."""
        if (reason, message) not in self.unresolved:
            self.unresolved.append((reason, message))
        return None


def _timeouts(rule: Fields) -> dict[str, Any]:
    timeouts = rule.object("timeouts")
    timeouts.only(("request", "backendRequest"))
    retries = safe_retries()
    if "backendRequest" in timeouts:
        retries["per_try_timeout"] = timeouts.duration("backendRequest")
    return {"timeout": timeouts.duration("request") or "0s", "retry_policy": retries}


def session_cookie(rule: Fields) -> SessionCookie | None:
    """The cookie of a rule's sessionPersistence; None without one."""
    if "sessionPersistence" not in rule:
        return None
    persistence = rule.object("sessionPersistence")
    persistence.only(("sessionName", "type", "absoluteTimeout", "cookieConfig"))
    if persistence.string("type", "Cookie") != "Cookie":
        raise persistence.refuse("type", "must be Cookie")
    lifetime = persistence.object("cookieConfig").string("lifetimeType", "Session")
    timeout = persistence.duration("absoluteTimeout")
    if lifetime == "Permanent" and not timeout:
        raise TranslationError(f"{persistence.path}.absoluteTimeout: is needed where lifetimeType is Permanent")
    age = round(float(timeout.removesuffix("s"))) if timeout and lifetime == "Permanent" else None
    return SessionCookie(persistence.string("sessionName", "gateway-session"), max_age=age)


def _status(outcome: Outcome[HTTPRouteTraffic], mesh: Mesh) -> Status | None:
    """The conditions of each parentRef, beside what other controllers said of theirs."""
    item = outcome.item
    spec, namespace = Fields(item.get("spec", {}), "spec"), item["metadata"].get("namespace", "")
    try:
        attached = attachments(spec, namespace, mesh)
    except TranslationError:
        attached = list(outcome.part.attachments) if outcome.part else []
    unresolved = outcome.part.unresolved if outcome.part else ()
    known = (item.get("status") or {}).get("parents") or []
    others = [parent for parent in known if parent.get("controllerName") != CONTROLLER]
    ours = []
    for one in attached:
        reason, message = one.reason, one.message
        if outcome.error and reason == "Accepted":
            reason, message = "UnsupportedValue", outcome.error
        resolved, why = next(iter(unresolved), ("ResolvedRefs", ""))
        conditions = [
            condition(item, "Accepted", reason, reason == "Accepted", message),
            condition(item, "ResolvedRefs", resolved, not unresolved, why),
        ]
        ours.append({"parentRef": one.reference, "controllerName": CONTROLLER, "conditions": conditions})
    if not ours and len(others) == len(known):
        return None
    return Status(item, object_path(HTTPRouteTranslator.collection, item), {"parents": others + ours})
