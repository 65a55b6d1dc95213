"""Everything Envoy is told, made of everything the cluster holds. Pure: objects in, configuration out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rehearsal.client import Object
from rehearsal.edge.affinity import with_affinity
from rehearsal.edge.clusters import cluster
from rehearsal.edge.endpoints import Endpoints, load_assignment
from rehearsal.edge.fields import TranslationError
from rehearsal.edge.http_route import HTTPRouteTranslator
from rehearsal.edge.ingress import IngressTranslator
from rehearsal.edge.mesh import Mesh, Rule
from rehearsal.edge.names import ClusterName
from rehearsal.edge.openshift_route import RouteTranslator
from rehearsal.edge.translation import Outcome, Status, Traffic, Translator, in_order, version_of
from rehearsal.edge.virtual_hosts import route_configuration
from rehearsal.edge.virtual_service import VirtualServiceTranslator

TRANSLATORS: tuple[Translator[Any], ...] = (
    VirtualServiceTranslator(),
    HTTPRouteTranslator(),
    IngressTranslator(),
    RouteTranslator(),
)
DESTINATION_RULES = "/apis/networking.istio.io/v1/destinationrules"
Identity = tuple[str, str, str]
# Which version of which object is in force, and the object as it was then.
Sources = dict[Identity, tuple[str, Object]]
Part = TypeVar("Part", Traffic, Rule)


@dataclass(frozen=True)
class Observed:
    """The objects a configuration is made of. ``traffic`` holds those the translators read, by kind."""

    services: list[Object] = field(default_factory=list)
    slices: list[Object] = field(default_factory=list)
    pods: Mapping[tuple[str, str], Object] = field(default_factory=dict)
    rules: list[Object] = field(default_factory=list)
    traffic: Mapping[str, list[Object]] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """Something to tell whoever wrote ``item``: ``reason`` is one CamelCase word, as in a Kubernetes Event."""

    item: Object
    reason: str
    message: str


@dataclass(frozen=True)
class Configuration:
    """What Envoy is to run: a RouteConfiguration, clusters and load assignments by cluster name.

    ``sources`` says which version of which object each part came from, ``statuses`` what to say of the objects once
    Envoy runs them.
    """

    routes: dict[str, Any]
    clusters: dict[str, dict[str, Any]]
    endpoints: dict[str, dict[str, Any]]
    sources: Sources
    problems: list[Problem]
    statuses: list[Status]


class Configurator:
    """Makes configurations, and remembers for each object the last version that was good.

    An object that can't be translated, or that Envoy refused, keeps its last good version in force.
    """

    def __init__(self, folder: Path, preferred_namespace: str, address: str = "") -> None:
        self._folder = folder
        self._preferred = preferred_namespace
        self._address = address
        self._accepted: Sources = {}
        self._refused: dict[tuple[Identity, str], str] = {}

    def configure(self, observed: Observed) -> Configuration:
        """The configuration for ``observed``, each object at its newest good version."""
        sources: Sources = {}
        problems: list[Problem] = []
        rules = [
            rule
            for item in in_order(observed.rules)
            if (rule := self._newest_good(item, "DestinationRule", self._rule, sources, problems)[0])
        ]
        endpoints = Endpoints(observed.slices, observed.pods)
        mesh = Mesh(observed.services, reversed(rules), observed.traffic, endpoints.count)
        traffic: list[Traffic] = []
        statuses: list[Status] = []
        names = mesh.clusters()
        for translator in TRANSLATORS:
            outcomes = self._outcomes(translator, mesh, sources, problems)
            parts = [outcome.part for outcome in outcomes if outcome.part]
            names.update(*(part.clusters for part in parts))
            traffic += translator.merge(parts)
            statuses += translator.statuses(outcomes, mesh, self._address)
        return Configuration(
            routes=route_configuration(traffic, mesh, self._preferred),
            clusters={str(name): cluster(name, mesh, endpoints_file(self._folder, name)) for name in sorted(names)},
            endpoints={str(name): load_assignment(name, endpoints.addresses(name, mesh)) for name in sorted(names)},
            sources=sources,
            problems=problems,
            statuses=statuses,
        )

    def accept(self, configuration: Configuration) -> None:
        """Envoy runs ``configuration``: its objects are good."""
        self._accepted = configuration.sources

    def refuse(self, configuration: Configuration, why: str = "refused by Envoy") -> list[Identity]:
        """Envoy refused ``configuration``: blame the objects that changed since the last good one, and name them."""
        blamed = []
        for identity, (version, _) in configuration.sources.items():
            if self._accepted.get(identity, ("", None))[0] != version:
                self._refused[identity, version] = why
                blamed.append(identity)
        return blamed

    def _outcomes(
        self,
        translator: Translator[Any],
        mesh: Mesh,
        sources: Sources,
        problems: list[Problem],
    ) -> list[Outcome[Any]]:
        """What becomes of each object of the translator's kind, oldest first."""

        def translate(item: Object) -> Traffic:
            part: Traffic = translator.translate(item, mesh)
            return part

        outcomes = []
        for item in in_order(mesh.objects.get(translator.kind, [])):
            part, error = self._newest_good(item, translator.kind, translate, sources, problems)
            outcomes.append(Outcome(item, part, error))
            if part:
                problems += [Problem(item, "ReferenceNotFound", text) for text in part.warnings]
                problems += [Problem(item, "Ignored", text) for text in part.ignored]
        return outcomes

    def _newest_good(
        self,
        item: Object,
        kind: str,
        translate: Callable[[Object], Part],
        sources: Sources,
        problems: list[Problem],
    ) -> tuple[Part | None, str]:
        """The item's newest good translation, if there is one, and what is wrong with a newer version."""
        identity = kind, item["metadata"].get("namespace", ""), item["metadata"]["name"]
        version = version_of(item)
        error = self._refused.get((identity, version), "")
        if not error:
            try:
                part = translate(item)
            except TranslationError as problem:
                error = str(problem)
                problems.append(Problem(item, "NotTranslated", f"{error}; the last good version stays in force"))
            else:
                sources[identity] = version, item
                return part, ""
        if identity not in self._accepted:
            return None, error
        # Translated anew: what stands behind it may have changed since.
        sources[identity] = self._accepted[identity]
        with suppress(TranslationError):
            return translate(sources[identity][1]), error
        return None, error

    def _rule(self, item: Object) -> Rule:
        """Reads a DestinationRule and tries it out, so that a fault in it is found here and not in its users."""
        rule = Rule.read(item)
        mesh = Mesh([], [rule])
        for subset in ("", *rule.subsets):
            name = ClusterName(rule.service, 80, subset)
            cluster(name, mesh, self._folder)
            with_affinity({"match": {}, "route": {}}, mesh.policy(name, "loadBalancer"))
        return rule


def endpoints_file(folder: Path, name: ClusterName | str) -> Path:
    """Where the load assignment of cluster ``name`` is written: Envoy wants one file per cluster."""
    return folder / "endpoints" / f"{str(name).replace('|', '_')}.json"
