"""The controller manager of the rehearsal cluster, speaking only the Kubernetes API."""

from __future__ import annotations

import asyncio

from rehearsal.client import KubeClient
from rehearsal.controllers.caches import Caches
from rehearsal.controllers.deployment import DeploymentController
from rehearsal.controllers.endpoints import EndpointsController
from rehearsal.controllers.garbage import GarbageCollector
from rehearsal.controllers.namespace import NamespaceController
from rehearsal.controllers.replicaset import ReplicaSetController
from rehearsal.events import EventRecorder
from rehearsal.world import World


async def run(world: World, client: KubeClient) -> None:
    """Reconcile Deployments, ReplicaSets, Endpoints, namespaces and owned objects until cancelled."""
    caches = Caches(client)
    deployment_events = EventRecorder(client, "deployment-controller", world.host)
    replica_set_events = EventRecorder(client, "replicaset-controller", world.host)
    garbage = GarbageCollector(client, caches)
    queues = [
        DeploymentController(client, caches, deployment_events).queue,
        ReplicaSetController(client, caches, replica_set_events).queue,
        EndpointsController(client, caches).queue,
        NamespaceController(client, caches).queue,
        garbage.queue,
        garbage.owners,
    ]
    async with asyncio.TaskGroup() as group:
        for collection in caches.all():
            group.create_task(collection.run())
        group.create_task(deployment_events.run())
        group.create_task(replica_set_events.run())
        await caches.synced()
        for queue in queues:
            group.create_task(queue.run())
