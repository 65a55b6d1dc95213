"""The Kubernetes objects a world starts with: namespace, kinds of traffic objects, the application in version 5.0."""

from __future__ import annotations

import asyncio
import string
from pathlib import Path

import yaml

from rehearsal.app.agents import make_agent_files
from rehearsal.client import ApiError, KubeClient, Object
from rehearsal.world import NAMESPACE, World

STABLE = "5.0"
# As of a person's ``kubectl apply --server-side``: nothing else is to look like the owner of these objects.
MANAGER = "kubectl"
FOLDER = Path(__file__).parent
CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
PLURALS = {
    "Namespace": "namespaces",
    "CustomResourceDefinition": "customresourcedefinitions",
    "Secret": "secrets",
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "Service": "services",
    "DestinationRule": "destinationrules",
    "VirtualService": "virtualservices",
    "GatewayClass": "gatewayclasses",
    "Gateway": "gateways",
    "HTTPRoute": "httproutes",
    "IngressClass": "ingressclasses",
    "Ingress": "ingresses",
    "Route": "routes",
    "PodDisruptionBudget": "poddisruptionbudgets",
}
# libyaml's parser takes a tenth of the time, where PyYAML was built with it.
_LOADER: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(world: World, blue_replicas: int) -> list[Object]:
    """All objects in the order they are applied, with this world's facts in them."""
    facts = {"postgres_dsn": world.postgres_dsn, "blue_replicas": str(blue_replicas)}
    objects: list[Object] = []
    for path in sorted(FOLDER.glob("*.yaml")):
        text = string.Template(path.read_text()).substitute(facts)
        objects += [item for item in yaml.load_all(text, Loader=_LOADER) if item]
    first = next(index for index, item in enumerate(objects) if item["kind"] == "Deployment")
    objects.insert(first, _config_map(f"claude-enhancer-{STABLE}-agents", make_agent_files(STABLE)))
    return objects


def path_of(item: Object) -> str:
    """The API path of an object of a kind this folder holds."""
    group = item["apiVersion"]
    root = f"/apis/{group}" if "/" in group else f"/api/{group}"
    namespace = item["metadata"].get("namespace")
    inside = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{inside}/{PLURALS[item['kind']]}/{item['metadata']['name']}"


async def apply(client: KubeClient, objects: list[Object]) -> None:
    """Apply in order; a custom resource waits until its kind is established. Raises ApiError."""
    for item in objects:
        await client.apply(path_of(item), item, MANAGER)
        if item["kind"] == "CustomResourceDefinition":
            await _wait_established(client, item["metadata"]["name"])


async def _wait_established(client: KubeClient, name: str) -> None:
    while True:
        definition = await client.get(f"{CRD_PATH}/{name}")
        conditions = definition.get("status", {}).get("conditions", [])
        if any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
            break
        await asyncio.sleep(0.05)
    await _wait_served(client, definition)


async def _wait_served(client: KubeClient, definition: Object) -> None:
    """A real kube-apiserver answers 404 for a moment after a kind is established."""
    spec = definition["spec"]
    version = next(v["name"] for v in spec["versions"] if v["storage"])
    while True:
        try:
            await client.get(f"/apis/{spec['group']}/{version}/{spec['names']['plural']}", limit="1")
            return
        except ApiError as error:
            if error.status != 404:
                raise
        await asyncio.sleep(0.05)


def _config_map(name: str, data: dict[str, str]) -> Object:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app": "claude-enhancer", "version": STABLE}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
