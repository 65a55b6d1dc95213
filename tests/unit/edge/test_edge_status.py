"""Conditions keep the time of their last change, and what is said already is not written again."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from rehearsal.client import KubeClient, Object
from rehearsal.edge.status import StatusWriter, with_times
from rehearsal.edge.translation import Status, version_of
from tests.unit.edge.edge_objects import split, virtual_service

EARLIER, NOW = "2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z"
CONDITIONS = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["Accepted", "ResolvedRefs", "Programmed"]),
            "status": st.sampled_from(["True", "False"]),
            "reason": st.sampled_from(["A", "B"]),
        }
    ),
    unique_by=lambda condition: condition["type"],
    max_size=3,
)
PARENTS = st.lists(
    st.fixed_dictionaries(
        {"parentRef": st.fixed_dictionaries({"name": st.sampled_from("abc")}), "conditions": CONDITIONS}
    ),
    unique_by=lambda parent: str(parent["parentRef"]),
    max_size=3,
)


def times(status: Any) -> dict[tuple[str, str], tuple[str, str]]:
    return {
        (parent["parentRef"]["name"], each["type"]): (each["status"], each["lastTransitionTime"])
        for parent in status
        for each in parent["conditions"]
    }


@given(parents=PARENTS)
def test_what_is_said_already_stays_as_it_is(parents: list[dict[str, Any]]) -> None:
    said = with_times(parents, None, EARLIER)
    assert with_times(parents, said, NOW) == said


@given(before=PARENTS, after=PARENTS)
def test_a_time_changes_with_the_status_and_only_then(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    said = with_times(before, None, EARLIER)
    known = times(said)
    for place, (status, time) in times(with_times(after, said, NOW)).items():
        unchanged = place in known and known[place][0] == status
        assert time == (EARLIER if unchanged else NOW)


def test_a_version_is_of_what_is_asked_and_not_of_its_status() -> None:
    item = virtual_service(split(5), version="1")
    same = virtual_service(split(5), version="2") | {"status": {"conditions": []}}
    assert version_of(same) == version_of(item)
    assert version_of(virtual_service(split(6))) != version_of(item)
    annotated = virtual_service(split(5))
    annotated["metadata"]["annotations"] = {"a": "b"}
    assert version_of(annotated) != version_of(item)


async def written(answers: list[int], status: Object) -> tuple[list[Object], list[Object]]:
    """What a server that gives these answers is sent within a moment, and what is remembered of it."""
    sent: list[Object] = []
    remembered: list[Object] = []

    async def answer(request: web.Request) -> web.Response:
        sent.append(await request.json())
        code = answers.pop(0) if answers else 200
        return web.json_response({"kind": "Route"} | sent[-1], status=code)

    app = web.Application()
    app.router.add_patch("/apis/routes/r/status", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with KubeClient(url, ssl.create_default_context(), "", "test") as client:
        writer = StatusWriter(client, remembered.append)
        writer.submit([Status({"status": status}, "/apis/routes/r", {"conditions": [{"type": "A", "status": "True"}]})])
        with suppress(TimeoutError):
            await asyncio.wait_for(writer.run(), 0.6)
    await runner.cleanup()
    return sent, remembered


@pytest.mark.parametrize(("answers", "times_sent"), [([], 1), ([500, 429], 3), ([404], 1)])
def test_a_status_is_written_as_soon_as_the_api_takes_it(answers: list[int], times_sent: int) -> None:
    accepted = answers != [404]
    sent, remembered = asyncio.run(written(answers, {}))
    assert len(sent) == times_sent
    assert len(remembered) == (1 if accepted else 0)
    assert sent[-1]["status"]["conditions"][0].keys() == {"type", "status", "lastTransitionTime"}


def test_a_status_that_says_so_already_is_not_written() -> None:
    known = {"conditions": [{"type": "A", "status": "True", "lastTransitionTime": EARLIER}], "other": 1}
    assert asyncio.run(written([], known)) == ([], [])
