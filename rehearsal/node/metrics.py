"""What Prometheus hears from the node: usage, limits and restarts of containers, the machine, Deployments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from rehearsal.node.options import NodeOptions
from rehearsal.node.quantity import parse_quantity
from rehearsal.node.usage import Usage
from rehearsal.objects import Object, is_pod_ready

LABELS = ["namespace", "pod", "container", "version", "deployment_type"]


@dataclass(frozen=True)
class ContainerFacts:
    """One container of a pod as the metrics see it."""

    pod: Object
    spec: Object
    restarts: int
    usage: Usage | None

    @property
    def labels(self) -> list[str]:
        metadata = self.pod["metadata"]
        labels: Mapping[str, str] = metadata.get("labels") or {}
        own = [labels.get("version", ""), labels.get("deployment-type", "")]
        return [metadata["namespace"], metadata["name"], self.spec["name"], *own]


class _Once:
    """A collector that gives prepared metrics."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def render_metrics(containers: Iterable[ContainerFacts], deployments: Iterable[Object], options: NodeOptions) -> bytes:
    """The page in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    known = list(containers)
    metrics = [*_usage(known), *_limits(known), *_pods(known), *_machine(options), *_deployments(list(deployments))]
    registry.register(_Once(metrics))
    return generate_latest(registry)


def _usage(containers: list[ContainerFacts]) -> Iterator[Metric]:
    cpu = CounterMetricFamily("container_cpu_usage_seconds", "Processor time used.", labels=LABELS)
    memory = GaugeMetricFamily("container_memory_working_set_bytes", "Memory in use.", labels=LABELS)
    restarts = CounterMetricFamily("kube_pod_container_status_restarts", "Restarts.", labels=LABELS)
    for each in containers:
        restarts.add_metric(each.labels, each.restarts)
        if each.usage is not None:
            cpu.add_metric(each.labels, each.usage.cpu_seconds)
            memory.add_metric(each.labels, each.usage.memory_bytes)
    yield from (cpu, memory, restarts)


def _limits(containers: list[ContainerFacts]) -> Iterator[Metric]:
    for part in ("limits", "requests"):
        family = GaugeMetricFamily(
            f"kube_pod_container_resource_{part}", f"Resource {part} of containers.", labels=[*LABELS, "resource"]
        )
        for each in containers:
            for resource, amount in ((each.spec.get("resources") or {}).get(part) or {}).items():
                family.add_metric([*each.labels, resource], float(parse_quantity(amount)))
        yield family


def _pods(containers: list[ContainerFacts]) -> Iterator[Metric]:
    ready = GaugeMetricFamily("kube_pod_status_ready", "Whether the pod is ready.", labels=["namespace", "pod"])
    pods = {each.pod["metadata"]["uid"]: each.pod for each in containers}
    for pod in pods.values():
        ready.add_metric([pod["metadata"]["namespace"], pod["metadata"]["name"]], is_pod_ready(pod))
    yield ready


def _machine(options: NodeOptions) -> Iterator[Metric]:
    cores = float(parse_quantity(options.cpu))
    memory = float(parse_quantity(options.memory))
    yield GaugeMetricFamily("machine_cpu_cores", "Declared processors of the node.", value=cores)
    yield GaugeMetricFamily("machine_memory_bytes", "Declared memory of the node.", value=memory)


def _deployments(deployments: list[Object]) -> Iterator[Metric]:
    families = {
        "spec_replicas": ("spec", "replicas"),
        "status_replicas": ("status", "replicas"),
        "status_replicas_ready": ("status", "readyReplicas"),
        "status_replicas_available": ("status", "availableReplicas"),
        "status_replicas_unavailable": ("status", "unavailableReplicas"),
    }
    for name, (part, field) in families.items():
        family = GaugeMetricFamily(
            f"kube_deployment_{name}", f"{field} in the {part} of Deployments.", labels=["namespace", "deployment"]
        )
        for each in deployments:
            metadata = each["metadata"]
            family.add_metric([metadata["namespace"], metadata["name"]], (each.get(part) or {}).get(field) or 0)
        yield family
