"""The probe: what counts say, when a split is proven, and asking a real server on loopback."""

from __future__ import annotations

import itertools
import json
import random
import socket
import threading
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import FakeClock, SystemClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    InputError,
    NotRoutedError,
    SourceDownError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.asker import Recogniser
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.counted import CountedSampler
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.probe import (
    Answer,
    Expectation,
    Sample,
    Versions,
    count,
    prove,
    quantile,
    take_sample,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.probing import PROBE_SPEC, probe
from tests.unit.plugins.web_server import Reply, Request, serve

VERSIONS = Versions("5.0", "5.1")


def sample(stable: int, candidate: int, unknown: int = 0) -> Sample:
    answers = (
        [Answer(200, 0.01, "5.0")] * stable + [Answer(200, 0.01, "5.1")] * candidate + [Answer(503, 0.01)] * unknown
    )
    return count(answers, VERSIONS, 1.0)


def options(url: str, **changes: t.Any) -> dict[str, t.Any]:
    given = {
        "url": url,
        "version_header": "x-version",
        "stable_version": "5.0",
        "candidate_version": "5.1",
        "requests": 40,
        "rate": 5000,
    }
    return PROBE_SPEC.validate({key: value for key, value in {**given, **changes}.items() if value is not None})


@pytest.mark.parametrize(
    ("expected", "seen", "proven"),
    [
        (5, sample(380, 20), True),
        (5, sample(400, 0), False),
        (5, sample(320, 80), False),
        (20, sample(320, 80), True),
        (50, sample(210, 190), True),
        (50, sample(320, 80), False),
        (0, sample(400, 0), True),
        (0, sample(399, 1), False),
        (100, sample(0, 400), True),
        (100, sample(1, 399), False),
        (50, sample(200, 199, 1), False),
        (0, sample(399, 0, 1), False),
    ],
)
def test_a_split_is_proven_or_doubted(expected: int, seen: Sample, proven: bool) -> None:
    assert (Expectation(expected).doubt(seen) == "") is proven


def test_tolerance_widens_what_is_taken() -> None:
    assert Expectation(50, tolerance=25).doubt(sample(320, 80)) == ""
    assert Expectation(100, tolerance=1).doubt(sample(4, 396)) == ""
    assert Expectation(100, tolerance=1).doubt(sample(5, 395)) != ""


@given(st.integers(1, 99), st.integers(0, 2**32))
def test_a_true_split_is_hardly_ever_doubted(weight: int, seed: int) -> None:
    draw = random.Random(seed)
    doubts = 0
    for _look in range(3):
        candidate = sum(draw.random() * 100 < weight for _request in range(200))
        doubts += bool(Expectation(weight, confidence=0.9999).doubt(sample(200 - candidate, candidate)))
    assert doubts < 2


def test_counts_keep_failures_apart_from_sides() -> None:
    answers = [Answer(200, 0.1, "5.0"), Answer(500, 0.2, "5.1"), Answer(200, 0.3, "4.9"), Answer(0, 5.0, error="gone")]
    found = count(answers, VERSIONS, 1.0)
    assert (found.stable, found.candidate, found.unrecognised, found.failures) == (1, 1, 2, 2)
    assert found.statuses == {"200": 2, "500": 1, "no answer": 1}
    assert found.latency == (0.1, 0.2, 0.3)
    assert found.share == 50


def test_nothing_recognised_is_no_share_and_no_knowledge() -> None:
    found = sample(0, 0, 5)
    assert found.share is None
    assert found.interval(0.999) == (0, 100)


@given(st.lists(st.floats(0, 10), min_size=1), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_quantiles_are_values_that_were_seen(values: list[float], part: float) -> None:
    ordered = sorted(values)
    found = quantile(ordered, part)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= part * len(ordered)


def test_it_asks_again_until_the_split_is_seen() -> None:
    samples = iter([sample(400, 0), sample(400, 0), sample(380, 20)])
    found, looks = prove(lambda: next(samples), Expectation(5), within=10, clock=FakeClock())
    assert (found.candidate, looks) == (20, 3)


def test_it_fails_with_what_was_seen_once_time_is_over() -> None:
    clock = FakeClock()
    with pytest.raises(NotRoutedError, match=r"expect_weight: 5 % was not seen within 3 s: 0 of 400") as caught:
        prove(lambda: sample(400, 0), Expectation(5), within=3, clock=clock)
    assert 2 < clock.monotonic() <= 3
    assert caught.value.details["stable"] == 400
    assert caught.value.details["interval"][0] == 0


def test_without_an_expectation_it_looks_once() -> None:
    assert prove(lambda: sample(3, 1, 1), Expectation(), within=10, clock=FakeClock())[1] == 1


def test_the_rate_is_kept() -> None:
    moments: list[float] = []
    clock = FakeClock()

    def ask() -> Answer:
        moments.append(clock.monotonic())
        return Answer(200, 0.0, "5.0")

    take_sample(ask, VERSIONS, requests=11, concurrency=1, rate=10, clock=clock)
    assert moments == pytest.approx([number / 10 for number in range(11)])


def test_concurrency_is_kept() -> None:
    under_way, most, lock, meet = 0, 0, threading.Lock(), threading.Barrier(3)

    def ask() -> Answer:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        meet.wait(5)
        with lock:
            under_way -= 1
        return Answer(200, 0.0, "5.0")

    take_sample(ask, VERSIONS, requests=30, concurrency=3, rate=1e6, clock=SystemClock())
    assert most == 3


def test_the_edge_is_asked_as_told_and_without_a_memory() -> None:
    seen: list[Request] = []

    def answer(request: Request) -> Reply:
        seen.append(request)
        return Reply(headers={"X-Version": "5.1", "Set-Cookie": "session=same; Path=/"})

    with serve(answer) as url:
        result = probe(
            options(url, host="shop.example.com", path="health", headers={"x-a": 1}, expect_weight=100), SystemClock()
        )
    assert (result["share"], result["candidate"], result["failures"], result["looks"]) == (100, 40, 0, 1)
    assert {(request.path, request.headers["host"], request.headers["x-a"]) for request in seen} == {
        ("/health", "shop.example.com", "1")
    }
    assert not any("cookie" in request.headers for request in seen)


def test_a_session_cookie_is_new_in_each_request() -> None:
    cookies: list[str] = []

    def answer(request: Request) -> Reply:
        cookies.append(request.headers["cookie"])
        return Reply(headers={"X-Version": "5.0"})

    with serve(answer) as url:
        probe(options(url, session_cookie="claude-session"), SystemClock())
    assert len(set(cookies)) == 40
    assert all(cookie.startswith("claude-session=") for cookie in cookies)


@pytest.mark.parametrize(
    "how",
    [
        {"version_key": "build.0.version"},
        {"version_pattern": '"version": "([^"]+)"'},
    ],
)
def test_sides_are_told_by_the_body_too(how: dict[str, str]) -> None:
    turns = itertools.cycle(["5.0", "5.0", "5.0", "5.1"])

    def answer(_request: Request) -> Reply:
        return Reply(body=json.dumps({"build": [{"version": next(turns)}]}).encode())

    with serve(answer) as url:
        result = probe(options(url, version_header=None, concurrency=1, **how), SystemClock())
    assert (result["stable"], result["candidate"]) == (30, 10)


@pytest.mark.parametrize(
    ("recogniser", "body"),
    [
        (Recogniser(key="a.b"), b"not json"),
        (Recogniser(key="a.b"), b'{"a": 1}'),
        (Recogniser(key="1"), b"[0]"),
        (Recogniser(pattern="v(x)?"), b"v"),
        (Recogniser(pattern="v(.)"), b""),
    ],
)
def test_a_body_that_names_no_version_is_no_sides(recogniser: Recogniser, body: bytes) -> None:
    assert recogniser.version({}, body) == ""


@pytest.mark.parametrize(
    ("recogniser", "version"),
    [
        (Recogniser(header="x-pod", pattern="^(shop-canary|shop-green)-"), "shop-green"),
        (Recogniser(key="image", pattern=":(.+)$"), "5.1"),
        (Recogniser(header="x-none", pattern="(.+)"), ""),
    ],
)
def test_a_pattern_takes_the_version_out_of_what_names_it(recogniser: Recogniser, version: str) -> None:
    assert recogniser.version({"x-pod": "shop-green-7f9-abc"}, b'{"image": "shop:5.1"}') == version


def test_redirects_are_answers() -> None:
    with serve(lambda _request: Reply(302, headers={"Location": "/x", "X-Version": "5.0"})) as url:
        assert probe(options(url), SystemClock())["statuses"] == {"302": 40}


@pytest.mark.parametrize("expect_weight", [None, 5])
def test_an_edge_that_is_not_there_is_named(expect_weight: int | None) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        with pytest.raises(
            SourceDownError, match=rf"url: none of 40 requests to {url} was answered .*refused"
        ) as caught:
            probe(options(url, expect_weight=expect_weight, within=0.3), SystemClock())
    assert caught.value.details["failures"] == 40


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"url": "edge"}, "url: must be like http://host:port"),
        ({"expect_weight": 101}, "expect_weight: must be from 0 to 100 percent, not 101"),
        ({"requests": 0}, "requests: must be more than 0, not 0"),
        ({"rate": -1}, "rate: must be more than 0"),
        ({"timeout": 0}, "timeout: must be more than 0 seconds"),
        ({"confidence": 1}, "confidence: must be"),
        ({"tolerance": -1}, "tolerance: must be"),
        ({"candidate_version": "5.0"}, "candidate_version: is '5.0' like stable_version"),
        ({"version_header": None, "version_pattern": "("}, "version_pattern: .*isn't a regular expression"),
        ({"version_header": None, "version_pattern": "x"}, "version_pattern: 'x' needs a group"),
        ({"version_header": None}, "version_header, version_key, version_pattern"),
        ({"version_key": "a"}, r"mutually exclusive: version_header\|version_key"),
        ({"ca_path": "/nowhere.pem"}, "ca_path: the file /nowhere.pem"),
    ],
)
def test_bad_options_are_named_before_anything_is_asked(changes: dict[str, t.Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        probe(options(**{"url": "http://127.0.0.1:1", **changes}), SystemClock())


class Counters:
    """Two counters that grow by ``per_read`` with each reading, and fall back to 0 where ``restarts`` says."""

    def __init__(self, stable: float, candidate: float, *, restart_at: int = -1) -> None:
        self.reads = 0
        self._growth = {"stable": stable, "candidate": candidate}
        self._now: dict[str, float] = {"stable": 1000.0, "candidate": 1000.0}
        self._restart_at = restart_at

    def __call__(self) -> t.Any:
        self.reads += 1
        if self.reads == self._restart_at:
            self._now = dict.fromkeys(self._now, 0.0)
        self._now = {side: value + self._growth[side] for side, value in self._now.items()}
        return dict(self._now)


def counted(read: t.Callable[[], t.Any], *, requests: int = 400, within: float = 20.0) -> Sample:
    return CountedSampler(read, requests=requests, within=within, clock=FakeClock())()


def test_a_counted_sample_is_what_was_counted_meanwhile() -> None:
    found = counted(Counters(80, 20))
    assert (found.stable, found.candidate, found.asked) == (320, 80, 400)


def test_counters_that_fell_begin_the_sample_afresh() -> None:
    found = counted(Counters(80, 20, restart_at=3))
    assert (found.stable, found.candidate) == (320, 80)


def test_a_side_without_a_series_got_no_request() -> None:
    numbers = itertools.count(0, 100)
    found = counted(lambda: {"stable": float(next(numbers)), "candidate": None})
    assert (found.stable, found.candidate) == (400, 0)
    assert Expectation(0).doubt(found) == ""


def test_each_counted_sample_begins_where_the_one_before_ended() -> None:
    read = Counters(80, 20)
    sampler = CountedSampler(read, requests=100, within=20.0, clock=FakeClock())
    assert [sampler().asked, sampler().asked, read.reads] == [100, 100, 3]


def test_a_split_of_users_is_proven_by_the_counters_of_prometheus() -> None:
    counts = itertools.count(1)

    def answer(request: Request) -> Reply:
        if "time%28%29" in request.path:
            return Reply(body=b'{"status":"success","data":{"resultType":"scalar","result":[1,"1795168800"]}}')
        per_read = 19 if "5.0" in request.path else 1
        value = str(per_read * next(counts) * 10)
        data = {"resultType": "vector", "result": [{"metric": {}, "value": [1, value]}]}
        return Reply(body=json.dumps({"status": "success", "data": data}).encode())

    with serve(answer) as url:
        asked = {
            "prometheus": {"url": url},
            "counters": {"stable": 'requests{version="5.0"}', "candidate": 'requests{version="5.1"}'},
            "requests": 300,
            "expect_weight": 5,
        }
        seen = probe(PROBE_SPEC.validate(asked), FakeClock())
    assert seen["asked"] >= 300
    assert seen["share"] == pytest.approx(5, abs=0.5)


def test_too_few_counted_requests_prove_nothing() -> None:
    few = CountedSampler(Counters(1, 0), requests=400, within=5, clock=FakeClock())
    with pytest.raises(NotRoutedError, match=r"only \d+ requests came in of the 400 that a sample needs"):
        prove(few, Expectation(0, at_least=400), within=0, clock=FakeClock())


def test_no_counted_request_is_not_success() -> None:
    still = CountedSampler(lambda: {"stable": 7.0, "candidate": 7.0}, requests=10, within=2, clock=FakeClock())
    with pytest.raises(NotRoutedError, match=r"counters: no request was counted on either side by the mesh within 3 s"):
        prove(still, Expectation(0), within=3, clock=FakeClock(), where="the mesh")
