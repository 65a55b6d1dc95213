"""Ports 9090, 9091 and 9092: what Prometheus and operators ask. Faults never reach these answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry

from rehearsal.app.answers import POD, BadRequest, answer, answer_error, make_application, read_json
from rehearsal.app.faults import FaultError
from rehearsal.app.metrics import CONTENT_TYPE, render
from rehearsal.app.pod import Pod


def make_http_monitoring(pod: Pod) -> web.Application:
    """The application of port 9090."""
    application = make_application(pod)
    application.router.add_get("/metrics", _metrics_of(pod.http_metrics.registry))
    return application


def make_agent_monitoring(pod: Pod) -> web.Application:
    """The application of port 9091."""
    application = make_application(pod)
    application.router.add_get("/metrics/agents", _metrics_of(pod.agent_metrics.registry))
    application.router.add_get("/health/agents", agent_health)
    application.router.add_get("/fault", show_faults)
    application.router.add_post("/fault", set_faults)
    return application


def make_workflow_monitoring(pod: Pod) -> web.Application:
    """The application of port 9092."""
    application = make_application(pod)
    application.router.add_get("/metrics/workflow", _metrics_of(pod.workflow_metrics.registry))
    return application


async def agent_health(request: web.Request) -> web.Response:
    """Answers 200 whatever the state: the state is in the body."""
    pod = request.app[POD]
    count = pod.agent_count()
    return answer(
        {
            "coordination_status": "healthy" if pod.coordinates() else "unhealthy",
            "agents_active": count.active,
            "agents_total": count.total,
            "agents_failed": count.failed,
            "failures": pod.agents.failures if pod.agents else [],
            "version": pod.settings.version,
        }
    )


async def show_faults(request: web.Request) -> web.Response:
    return answer(request.app[POD].faults.as_dict())


async def set_faults(request: web.Request) -> web.Response:
    """Put faults in force beside those there are; ``{}`` heals all."""
    pod = request.app[POD]
    try:
        faults = pod.faults.changed(await read_json(request), agent_count=pod.settings.agent_count)
        pod.set_faults(faults)
    except (BadRequest, FaultError) as error:
        return answer_error(400, str(error))
    except OSError as error:
        return answer_error(500, f"the faults can't be kept for a restart: {error}")
    return answer(faults.as_dict())


def _metrics_of(registry: CollectorRegistry) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=render(registry), headers={"Content-Type": CONTENT_TYPE})

    return metrics
