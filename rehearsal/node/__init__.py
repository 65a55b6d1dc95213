"""The node of the rehearsal cluster: runs pods as processes, speaking only the Kubernetes API."""

from __future__ import annotations

from rehearsal.client import KubeClient
from rehearsal.node.node import Node
from rehearsal.world import World


async def run(world: World, client: KubeClient) -> None:
    """Be the world's node until cancelled; then all its processes, addresses and folders are gone."""
    await Node(world, client).run()
