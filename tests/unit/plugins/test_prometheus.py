"""The Prometheus source against a small server that says what each test wants it to say."""

from __future__ import annotations

import base64
import collections.abc
import json
import math
import threading
import time
import typing as t
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    InputError,
    QueryError,
    SourceDownError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import read_conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import Measurement
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.prometheus import PrometheusSource

HOST = "127.71.0.1"
NOW = 1_790_000_000.0


class Stub:
    """A server whose ``answers`` map a query to a vector (value, list of (labels, value)) or to (status, body)."""

    def __init__(self) -> None:
        self.answers: dict[str, t.Any] = {"time()": (200, body("scalar", [NOW, str(NOW)]))}
        self.asked: list[dict[str, str]] = []
        self.headers: list[t.Any] = []
        self.connections = 0
        self.delay = 0.0
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                stub.connections += 1
                super().setup()

            def do_GET(self) -> None:
                time.sleep(stub.delay)
                fields = {key: values[0] for key, values in parse_qs(urlparse(self.path).query).items()}
                stub.asked.append(fields)
                stub.headers.append(self.headers)
                status, content = stub.reply(fields["query"])
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_arguments: t.Any) -> None:
                pass

        self.server = ThreadingHTTPServer((HOST, 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://{HOST}:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def reply(self, query: str) -> tuple[int, bytes]:
        answer = self.answers.get(query, [])
        if isinstance(answer, tuple):
            return answer
        series = answer if isinstance(answer, list) else [({}, answer)]
        return 200, body("vector", [{"metric": labels, "value": [NOW, str(value)]} for labels, value in series])

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def body(kind: str, result: t.Any, **more: t.Any) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more}).encode()


def refusal(kind: str, text: str) -> bytes:
    return json.dumps({"status": "error", "errorType": kind, "error": text}).encode()


@pytest.fixture
def stub() -> collections.abc.Iterator[Stub]:
    server = Stub()
    yield server
    server.close()


RATIO = {"kind": "ratio", "bad": "bad[$window]", "total": "total[$window]", "window": "5s"}


def measure(stub: Stub, entry: dict[str, t.Any], **keywords: t.Any) -> Measurement:
    bound = {"below": 0.5}
    condition = read_conditions({"m": entry}, [{"metric": "m", **bound}]).criteria[0]
    source = PrometheusSource([stub.url])
    return source.measure([(condition.metric, condition.window)], **keywords)["m", condition.window]


def test_all_queries_of_a_look_are_asked_at_one_time_over_one_connection(stub: Stub) -> None:
    stub.answers |= {"bad[5s]": 3, "total[5s]": 100}
    measured = measure(stub, RATIO)
    assert (measured.bad, measured.total, measured.at, measured.problem) == (3, 100, NOW, "")
    assert measured.queries == {"bad": "bad[5s]", "total": "total[5s]"}
    assert [asked.get("time") for asked in stub.asked] == [None, f"{NOW:.3f}", f"{NOW:.3f}"]
    assert stub.connections == 1


@pytest.mark.parametrize(
    ("answers", "more", "reason"),
    [
        ({"total[5s]": 100}, {}, "the query 'bad' answered nothing (set bad_absent_is_zero if"),
        ({"bad[5s]": 1}, {}, "the query 'total' answered nothing"),
        ({}, {"bad_absent_is_zero": True}, "the query 'total' answered nothing"),
        ({"bad[5s]": "NaN", "total[5s]": 100}, {}, "the query 'bad' answered NaN"),
        ({"bad[5s]": 1, "total[5s]": "+Inf"}, {}, "the query 'total' answered inf"),
        ({"bad[5s]": -1, "total[5s]": 100}, {}, "the query 'bad' answered -1, which is no count"),
        ({"bad[5s]": 300, "total[5s]": 100}, {}, "300 bad of 100 in total: the two queries don't"),
    ],
)  # fmt: skip
def test_what_is_no_ratio_is_no_evidence(stub: Stub, answers: dict[str, t.Any], more: dict, reason: str) -> None:
    stub.answers |= answers
    measured = measure(stub, RATIO | more)
    assert measured.problem == "no_evidence"
    assert measured.reason.startswith(reason)


def test_absent_failures_are_zero_only_when_said(stub: Stub) -> None:
    stub.answers["total[5s]"] = 100
    measured = measure(stub, RATIO | {"bad_absent_is_zero": True})
    assert (measured.bad, measured.total, measured.problem) == (0, 100, "")


def test_buckets_are_summed_by_edge_and_put_in_order(stub: Stub) -> None:
    stub.answers["b"] = [
        ({"le": "+Inf", "pod": "a"}, 10), ({"le": "0.5", "pod": "a"}, 9), ({"le": "0.1", "pod": "a"}, 5),
        ({"le": "0.1", "pod": "b"}, 1), ({"le": "0.5", "pod": "b"}, 1), ({"le": "+Inf", "pod": "b"}, 2),
    ]  # fmt: skip
    assert measure(stub, {"kind": "quantile", "buckets": "b"}).buckets == ((0.1, 6), (0.5, 10), (math.inf, 12))


@pytest.mark.parametrize(
    ("series", "reason"),
    [
        ([], "answered nothing"),
        ([({}, 1)], "without the label le"),
        ([({"le": "0.1"}, 1)], "no bucket +Inf"),
        ([({"le": "wide"}, 1)], "le='wide', which is no bucket edge"),
        ([({"le": "0.1"}, "NaN"), ({"le": "+Inf"}, 1)], "answered NaN"),
    ],
)
def test_what_is_no_histogram_is_no_evidence(stub: Stub, series: list, reason: str) -> None:
    stub.answers["b"] = series
    measured = measure(stub, {"kind": "quantile", "buckets": "b"})
    assert measured.problem == "no_evidence"
    assert reason in measured.reason


def test_gauges_keep_their_series_and_an_increase_is_one_number(stub: Stub) -> None:
    stub.answers["g"] = [({"pod": "a"}, 61), ({"pod": "b"}, 60)]
    assert measure(stub, {"kind": "gauge", "query": "g"}).values == (61, 60)
    assert measure(stub, {"kind": "increase", "query": "g"}).values == (121,)


def test_a_missing_gauge_is_no_evidence_unless_said(stub: Stub) -> None:
    assert measure(stub, {"kind": "gauge", "query": "g"}).problem == "no_evidence"
    assert measure(stub, {"kind": "gauge", "query": "g", "absent_is_zero": True}).values == (0.0,)


def test_the_age_is_by_the_sources_own_clock(stub: Stub) -> None:
    stub.answers |= {"agents": 61, "max(timestamp(agents))": NOW - 75}
    assert measure(stub, {"kind": "gauge", "query": "agents"}).age == 75


def test_a_partial_answer_says_so_and_remarks_on_style_do_not_count(stub: Stub) -> None:
    vector = [{"metric": {}, "value": [NOW, "1"]}]
    stub.answers["g"] = (200, body("vector", vector, warnings=["store b is down", "PromQL warning: no counter"]))
    assert measure(stub, {"kind": "gauge", "query": "g"}).partial == "store b is down"


def test_a_query_that_does_not_parse_names_metric_and_query(stub: Stub) -> None:
    stub.answers["g{"] = (400, refusal("bad_data", "unexpected end of input"))
    with pytest.raises(QueryError) as caught:
        measure(stub, {"kind": "gauge", "query": "g{"}, strict=True)
    assert caught.value.message == ("metric m: Prometheus refused the query 'g{': bad_data: unexpected end of input")
    assert measure(stub, {"kind": "gauge", "query": "g{"}).problem == "no_evidence"


def test_native_histograms_are_named(stub: Stub) -> None:
    stub.answers["g"] = (200, body("vector", [{"metric": {}, "histogram": [NOW, {}]}]))
    with pytest.raises(QueryError, match="answers with native histograms"):
        measure(stub, {"kind": "gauge", "query": "g"}, strict=True)


def test_a_matrix_is_no_answer(stub: Stub) -> None:
    stub.answers["g[5s]"] = (200, body("matrix", []))
    with pytest.raises(QueryError, match="answers with a matrix"):
        measure(stub, {"kind": "gauge", "query": "g[5s]"}, strict=True)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((503, b"upstream gone"), "answered 503, which is no answer of its API"),
        ((401, b""), "answered 401 (check prometheus.token, or username and password)"),
        ((302, b""), "answered 302 (a redirect: give the URL it leads to)"),
        ((200, b"<html>"), "answered 200, which is no answer of its API"),
        ((503, refusal("timeout", "query timed out")), "answered 503: timeout: query timed out"),
    ],
)
def test_a_source_that_cannot_answer_is_down(stub: Stub, answer: tuple[int, bytes], reason: str) -> None:
    stub.answers["g"] = answer
    measured = measure(stub, {"kind": "gauge", "query": "g"})
    assert measured.problem == "source_down"
    assert reason in measured.reason


def two_gauges() -> list:
    catalogue = {name: {"kind": "gauge", "query": name} for name in ("g", "h")}
    read = read_conditions(catalogue, [{"metric": name, "below": 1} for name in catalogue])
    return [(condition.metric, condition.window) for condition in read.criteria]


def test_a_silent_source_costs_one_timeout_however_much_is_asked(stub: Stub) -> None:
    stub.delay = 1.0
    source = PrometheusSource([stub.url], timeout=0.2)
    begun = time.monotonic()
    measured = source.measure(two_gauges())
    assert time.monotonic() - begun < 0.5
    assert {one.problem for one in measured.values()} == {"source_down"}
    assert "no answer within 0.2 s" in measured["g", 60.0].reason


def test_the_next_url_is_asked_and_then_kept(stub: Stub) -> None:
    stub.answers |= {"g": 0.5, "h": 0.5}
    source = PrometheusSource([f"http://{HOST}:1", stub.url + "/"])
    assert {one.problem for one in source.measure(two_gauges()).values()} == {""}
    assert source.queries == 1 + len(stub.asked)


def test_when_nobody_answers_all_are_named() -> None:
    source = PrometheusSource([f"http://{HOST}:1", f"http://{HOST}:2"])
    with pytest.raises(SourceDownError) as caught:
        source.check(two_gauges())
    assert f"http://{HOST}:1 does not answer" in caught.value.message
    assert f"http://{HOST}:2 does not answer" in caught.value.message
    assert "object at" not in caught.value.message


def test_credentials_are_sent(stub: Stub) -> None:
    PrometheusSource.from_options({"url": stub.url, "token": "secret"}).measure([])
    PrometheusSource.from_options({"url": stub.url, "username": "ops", "password": "word"}).measure([])
    basic = base64.b64encode(b"ops:word").decode()
    assert [headers["Authorization"] for headers in stub.headers] == ["Bearer secret", f"Basic {basic}"]


@pytest.mark.parametrize("options", [{"url": "prometheus:9090"}, {"url": "http://x", "timeout": 0}])
def test_options_that_cannot_work_are_named(options: dict[str, t.Any]) -> None:
    with pytest.raises(InputError, match=r"^prometheus\.(url|timeout): "):
        PrometheusSource.from_options(options)


def test_check_asks_each_query_once(stub: Stub) -> None:
    stub.answers |= {"g": 1, "max(timestamp(g))": NOW}
    asked = PrometheusSource([stub.url]).check(two_gauges() * 2)
    assert [(entry["metric"], entry["role"], entry["series"]) for entry in asked] == [
        ("g", "query", 1), ("g", "freshness", 1), ("h", "query", 0), ("h", "freshness", 0),
    ]  # fmt: skip
