"""Everything Envoy is told, made of everything the cluster holds. Pure: objects in, configuration out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rehearsal.client import Object
from rehearsal.edge.affinity import with_affinity
from rehearsal.edge.clusters import cluster
from rehearsal.edge.endpoints import Endpoints, load_assignment
from rehearsal.edge.fields import TranslationError
from rehearsal.edge.mesh import Mesh, Rule
from rehearsal.edge.names import ClusterName
from rehearsal.edge.translation import Traffic, Translator, in_order
from rehearsal.edge.virtual_hosts import route_configuration
from rehearsal.edge.virtual_service import VirtualServiceTranslator

TRANSLATORS: tuple[Translator, ...] = (VirtualServiceTranslator(),)
DESTINATION_RULES = "/apis/networking.istio.io/v1/destinationrules"
Identity = tuple[str, str, str]
Part = TypeVar("Part", Traffic, Rule)


@dataclass(frozen=True)
class Observed:
    """The objects a configuration is made of. ``traffic`` holds those of each translator, by its kind."""

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

    ``sources`` says which version of which object each part came from.
    """

    routes: dict[str, Any]
    clusters: dict[str, dict[str, Any]]
    endpoints: dict[str, dict[str, Any]]
    sources: dict[Identity, tuple[str, Traffic | Rule]]
    problems: list[Problem]


class Configurator:
    """Makes configurations, and remembers for each object the last version that was good.

    An object that can't be translated, or that Envoy refused, keeps its last good version in force.
    """

    def __init__(self, folder: Path, preferred_namespace: str) -> None:
        self._folder = folder
        self._preferred = preferred_namespace
        self._accepted: dict[Identity, tuple[str, Traffic | Rule]] = {}
        self._refused: set[tuple[Identity, str]] = set()

    def configure(self, observed: Observed) -> Configuration:
        """The configuration for ``observed``, each object at its newest good version."""
        sources: dict[Identity, tuple[str, Traffic | Rule]] = {}
        problems: list[Problem] = []
        rules = self._read(in_order(observed.rules), "DestinationRule", self._rule, sources, problems)
        mesh = Mesh(observed.services, reversed(rules))
        traffic: list[Traffic] = []
        for translator in TRANSLATORS:
            items = in_order(observed.traffic.get(translator.kind, []))

            def translate(item: Object, translator: Translator = translator) -> Traffic:
                return translator.translate(item, mesh)

            traffic += self._read(items, translator.kind, translate, sources, problems)
        names = mesh.clusters().union(*(part.clusters for part in traffic))
        endpoints = Endpoints(observed.slices, observed.pods)
        return Configuration(
            routes=route_configuration(traffic, mesh, self._preferred),
            clusters={str(name): cluster(name, mesh, endpoints_file(self._folder, name)) for name in sorted(names)},
            endpoints={str(name): load_assignment(name, endpoints.addresses(name, mesh)) for name in sorted(names)},
            sources=sources,
            problems=problems,
        )

    def accept(self, configuration: Configuration) -> None:
        """Envoy runs ``configuration``: its objects are good."""
        self._accepted = configuration.sources

    def refuse(self, configuration: Configuration) -> list[Identity]:
        """Envoy refused ``configuration``: blame the objects that changed since the last good one, and name them."""
        blamed = []
        for identity, (version, _) in configuration.sources.items():
            if self._accepted.get(identity, ("", None))[0] != version:
                self._refused.add((identity, version))
                blamed.append(identity)
        return blamed

    def _read(
        self,
        items: Iterable[Object],
        kind: str,
        translate: Callable[[Object], Part],
        sources: dict[Identity, tuple[str, Traffic | Rule]],
        problems: list[Problem],
    ) -> list[Part]:
        """Every item's newest good translation, in the items' order; what went wrong is added to ``problems``."""
        parts: list[Part] = []
        for item in items:
            metadata = item["metadata"]
            identity = kind, metadata.get("namespace", ""), metadata["name"]
            version = metadata.get("resourceVersion", "")
            good: tuple[str, Any] | None = self._accepted.get(identity)
            if (identity, version) not in self._refused:
                try:
                    good = version, translate(item)
                except TranslationError as error:
                    problems.append(Problem(item, "NotTranslated", f"{error}; the last good version stays in force"))
            if good:
                sources[identity] = good
                parts.append(good[1])
                problems += [Problem(item, "ReferenceNotFound", text) for text in getattr(good[1], "warnings", ())]
        return parts

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
