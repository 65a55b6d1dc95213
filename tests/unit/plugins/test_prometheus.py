"""The Prometheus source against a small server that says what each test wants it to say."""

from __future__ import annotations

import base64
import collections.abc
import json
import math
import pathlib
import ssl
import threading
import time
import typing as t
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import pytest
import trustme

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import FakeClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    InputError,
    QueryError,
    SourceDownError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.answers import Reply
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import Metric
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import read_conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import Measurement
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.prometheus import PrometheusSource
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.samples import Gap, Samples, Series
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.transport import Transport

HOST = "127.71.0.1"
NOW = 1_790_000_000.0


class Stub:
    """A server whose ``answers`` map a query to what it answers.

    That is a vector (value, list of (labels, value)), or (status, body) and perhaps headers. Queries over a range of
    time have ``range `` in front, and what is no query is mapped by its path.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
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
                status, content, *headers = stub.reply(urlparse(self.path).path.removeprefix("/api/v1/"), fields)
                self.send_response(status)
                for name, value in (headers[0] if headers else {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_arguments: t.Any) -> None:
                pass

        self.server = ThreadingHTTPServer((HOST, 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://{HOST}:{self.server.server_address[1]}"
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
            self.url = self.url.replace("http:", "https:")
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def reply(self, path: str, fields: dict[str, str]) -> tuple[t.Any, ...]:
        asked = {"query": "", "query_range": "range "}.get(path)
        answer = self.answers.get(path if asked is None else asked + fields["query"], [])
        if isinstance(answer, tuple):
            return answer
        series = answer if isinstance(answer, list) else [({}, answer)]
        return 200, body("vector", [{"metric": labels, "value": [NOW, str(value)]} for labels, value in series])

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def body(kind: str, result: t.Any, **more: t.Any) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more}).encode()


def matrix(*series: tuple[dict[str, str], list[tuple[float, t.Any]]]) -> tuple[int, bytes]:
    entries = [{"metric": labels, "values": [[at, str(value)] for at, value in samples]} for labels, samples in series]
    return 200, body("matrix", entries)


def source(*urls: str, **options: t.Any) -> PrometheusSource:
    return PrometheusSource.from_options({"urls": list(urls), **options})


def refusal(kind: str, text: str) -> bytes:
    return json.dumps({"status": "error", "errorType": kind, "error": text}).encode()


@pytest.fixture
def stub() -> collections.abc.Iterator[Stub]:
    server = Stub()
    yield server
    server.close()


BUCKETS = {"kind": "quantile", "buckets": "sum(b) by (le)"}
RATIO = {"kind": "ratio", "bad": "bad[$window]", "total": "total[$window]", "window": "5s"}


def need(entry: dict[str, t.Any]) -> tuple[Metric, float]:
    read = read_conditions({"m": entry}, [{"metric": "m", "below": 0.5}], versions={"candidate": "5.1"}).criteria[0]
    return read.metric, read.window


def measure(stub: Stub, entry: dict[str, t.Any], **keywords: t.Any) -> Measurement:
    metric, window = need(entry)
    return source(stub.url).measure([(metric, window)], **keywords)["m", window]


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
    stub.answers["sum(b) by (le)"] = [
        ({"le": "+Inf", "pod": "a"}, 10), ({"le": "0.5", "pod": "a"}, 9), ({"le": "0.1", "pod": "a"}, 5),
        ({"le": "0.1", "pod": "b"}, 1), ({"le": "0.5", "pod": "b"}, 1), ({"le": "+Inf", "pod": "b"}, 2),
    ]  # fmt: skip
    assert measure(stub, BUCKETS).buckets == ((0.1, 6), (0.5, 10), (math.inf, 12))


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
    stub.answers["sum(b) by (le)"] = series
    measured = measure(stub, BUCKETS)
    assert measured.problem == "no_evidence"
    assert reason in measured.reason


def test_gauges_keep_their_series_and_an_increase_is_one_number(stub: Stub) -> None:
    stub.answers["g"] = stub.answers["delta(g)"] = [({"pod": "a"}, 61), ({"pod": "b"}, 60)]
    assert measure(stub, {"kind": "gauge", "query": "g"}).values == (61, 60)
    assert measure(stub, {"kind": "increase", "query": "delta(g)"}).values == (121,)


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
        ((401, b""), "answered 401 (check prometheus.token, or username and password, or client_cert)"),
        ((302, b""), "answered 302 (a redirect: give the URL it leads to)"),
        (
            (301, b"", {"Location": "https://prometheus.example.com/"}),
            "answered 301 (a redirect to https://prometheus.example.com/: give the URL it leads to)",
        ),
        (
            (302, b"", {"Location": "https://sso.example.com/start?state=secret"}),
            "answered 302 (a redirect to the login https://sso.example.com/start: check prometheus.token, or username",
        ),
        ((200, b"<html>"), "answered 200 (a page of HTML, such as a login or a proxy's: check prometheus.url;"),
        ((502, b"Bad", {"Content-Type": "text/html"}), "answered 502 (a page of HTML"),
        ((200, b'{"status": "ok"}'), "answered 200, which is no answer of its API"),
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
    begun = time.monotonic()
    measured = source(stub.url, timeout=0.2).measure(two_gauges())
    assert time.monotonic() - begun < 0.5
    assert {one.problem for one in measured.values()} == {"source_down"}
    assert "no answer within 0.2 s" in measured["g", 60.0].reason


def test_a_source_that_goes_down_within_a_look_is_asked_no_more(stub: Stub) -> None:
    stub.answers["g"] = (503, b"gone")
    stub.answers["h"] = 0.5
    measured = source(stub.url).measure(two_gauges())
    assert {one.problem for one in measured.values()} == {"source_down"}
    assert [asked["query"] for asked in stub.asked] == ["time()", "g"]


def test_the_next_url_is_asked_and_then_kept(stub: Stub) -> None:
    stub.answers |= {"g": 0.5, "h": 0.5}
    transport = Transport([f"http://{HOST}:1", stub.url + "/"])
    assert {one.problem for one in PrometheusSource(transport).measure(two_gauges()).values()} == {""}
    assert transport.requests == 1 + len(stub.asked)
    assert transport.url == stub.url


def test_when_nobody_answers_all_are_named() -> None:
    with pytest.raises(SourceDownError) as caught:
        source(f"http://{HOST}:1", f"http://{HOST}:2").check(two_gauges())
    assert f"http://{HOST}:1 does not answer" in caught.value.message
    assert f"http://{HOST}:2 does not answer" in caught.value.message
    assert "object at" not in caught.value.message


def test_credentials_are_sent(stub: Stub) -> None:
    source(stub.url, token="secret").measure([])
    source(stub.url, username="ops", password="wört").measure([])
    basic = base64.b64encode("ops:wört".encode()).decode()
    assert [headers["Authorization"] for headers in stub.headers] == ["Bearer secret", f"Basic {basic}"]


def test_options_that_cannot_work_are_named_all_at_once(tmp_path: pathlib.Path) -> None:
    missing, broken = tmp_path / "missing.pem", tmp_path / "broken.pem"
    broken.write_text("no certificate")
    options = {"url": "prometheus:9090", "timeout": 0, "ca_path": str(broken)}
    with pytest.raises(InputError) as caught:
        PrometheusSource.from_options(options | {"client_cert": str(missing), "client_key": str(missing)})
    problems = caught.value.details["problems"]
    assert [problem.split(":")[0] for problem in problems] == [
        "prometheus.url", "prometheus.timeout", "prometheus.ca_path", "prometheus.client_cert",
    ]  # fmt: skip
    assert f"{missing} with client_key {missing} can't be used: No such file or directory" in problems[3]


def test_a_password_in_the_url_is_refused_and_not_shown() -> None:
    with pytest.raises(InputError, match=r"^prometheus\.url: holds a password") as caught:
        source("https://ops:secret@prometheus:9090")
    assert "secret" not in caught.value.message


def test_check_asks_each_query_once(stub: Stub) -> None:
    stub.answers |= {"g": 1, "max(timestamp(g))": NOW}
    asked = source(stub.url).check(two_gauges() * 2)
    assert [(entry["metric"], entry["role"], entry["series"]) for entry in asked] == [
        ("g", "query", 1), ("g", "freshness", 1), ("h", "query", 0), ("h", "freshness", 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            body("vector", [{"metric": {}, "value": [NOW, "many"]}]),
            "it answers with 'many' as a value, which is no",
        ),
        (body("vector", [{"metric": {}, "value": []}]), "it answers with [] as a value, which is no number"),
        (body("vector", [{"value": [NOW, "1"]}]), "a series that has no labels"),
        (body("vector", "all"), "it answers with 'all', which is no list of series"),
        (body("string", [NOW, "1"]), "it answers with a string"),
        (json.dumps({"status": "success"}).encode(), "it answers with a None"),
    ],
)
def test_what_is_no_number_is_named(stub: Stub, content: bytes, reason: str) -> None:
    stub.answers["g"] = (200, content)
    measured = measure(stub, {"kind": "gauge", "query": "g"})
    assert measured.problem == "no_evidence"
    assert reason in measured.reason
    with pytest.raises(QueryError):
        source(stub.url).check(two_gauges())


@pytest.mark.parametrize(
    "answer", [(200, body("scalar", [NOW, "NaN"])), (200, body("vector", [])), (422, refusal("execution", "no"))]
)
def test_a_source_without_a_clock_is_down(stub: Stub, answer: tuple[int, bytes]) -> None:
    stub.answers["time()"] = answer
    assert measure(stub, {"kind": "gauge", "query": "g"}).problem == "source_down"


def test_a_counter_is_asked_for_its_growth_over_the_window(stub: Stub) -> None:
    stub.answers |= {"sum(increase(b_total[5s]))": 3, 'sum(increase(t_total{version="5.1"}[5s]))': 100}
    stub.answers['max(timestamp(t_total{version="5.1"}))'] = NOW - 2
    entry = {"kind": "ratio", "bad": "b_total", "total": 't_total{version="$candidate"}', "window": "5s"}
    metric, window = need(entry)
    asked = PrometheusSource.from_options({"url": stub.url}, {"candidate": "5.1"})
    measured = asked.measure([(metric, window)])["m", window]
    assert (measured.bad, measured.total, measured.age) == (3, 100, 2)


# ---- raw samples


def test_samples_are_asked_for_from_their_own_times_on_at_one_time(stub: Stub) -> None:
    stub.answers['c{a="b"}[12500ms]'] = matrix(({"pod": "x"}, [(NOW - 9, 4), (NOW - 4, 7)]))
    stub.answers["d[60s]"] = matrix()
    read = source(stub.url).samples({'c{a="b"}': NOW - 12.5, "d": NOW - 60})
    assert read['c{a="b"}'] == Samples(NOW - 12.5, NOW, (Series({"pod": "x"}, [(NOW - 9, 4.0), (NOW - 4, 7.0)]),))
    assert read["d"] == Samples(NOW - 60, NOW)
    assert [asked.get("time") for asked in stub.asked] == [None, f"{NOW:.3f}", f"{NOW:.3f}"]


def test_samples_and_measurements_of_one_look_share_its_time(stub: Stub) -> None:
    asked = source(stub.url)
    at = asked.now()
    asked.measure(two_gauges(), at=at)
    asked.samples({"c": at - 5}, at=at)
    assert {fields.get("time") for fields in stub.asked[1:]} == {f"{NOW:.3f}"}


def test_where_a_series_ended_is_no_sample_of_it(stub: Stub) -> None:
    """VictoriaMetrics answers with its staleness markers."""
    stub.answers["c[5s]"] = matrix(({"pod": "a"}, [(NOW - 2, 7), (NOW - 1, "NaN")]), ({"pod": "b"}, [(NOW, "NaN")]))
    (series,) = source(stub.url).samples({"c": NOW - 5})["c"].series
    assert (series.labels, series.samples) == ({"pod": "a"}, [(NOW - 2, 7.0)])


@pytest.mark.parametrize(
    ("answer", "problem", "reason"),
    [
        (matrix(({}, [(NOW, "+Inf")])), "no_evidence", "counter c: the counter answered inf"),
        (matrix(({}, [(NOW, -1)])), "no_evidence", "counter c: the counter answered -1, which is no count"),
        (matrix(({"le": "wide"}, [(NOW, 1)])), "no_evidence", "le='wide', which is no bucket edge"),
        (
            matrix(({"le": "1", "pod": "a"}, [(NOW, 1)]), ({"le": "+Inf", "pod": "b"}, [(NOW, 1)])),
            "no_evidence",
            "counter c: the counter has no bucket +Inf",
        ),
        (matrix(({}, [(NOW, 1), (NOW, "x")])), "no_evidence", "counter c: it answers with 'x' as a value, which is no"),
        ((200, body("vector", [])), "no_evidence", "counter c: it answers with a vector, and series of numbers over"),
        (
            (200, body("matrix", [{"metric": {}, "histograms": []}])),
            "no_evidence",
            "counter c: it answers with native histograms",
        ),
        ((400, refusal("bad_data", "parse error")), "no_evidence", "counter c: bad_data: parse error"),
        ((503, b"gone"), "source_down", "answered 503"),
    ],
)
def test_samples_that_are_none_say_why(stub: Stub, answer: tuple[int, bytes], problem: str, reason: str) -> None:
    stub.answers["c[5s]"] = answer
    read = source(stub.url).samples({"c": NOW - 5})["c"]
    assert (read.problem, read.series) == (problem, ())
    assert reason in read.reason


def test_strictly_a_counter_that_is_refused_is_an_error(stub: Stub) -> None:
    stub.answers["c[5s]"] = (400, refusal("bad_data", "parse error"))
    with pytest.raises(QueryError, match="parse error"):
        source(stub.url).samples({"c": NOW - 5}, strict=True)


def test_samples_of_a_source_that_is_down_cost_one_timeout(stub: Stub) -> None:
    stub.delay = 1.0
    begun = time.monotonic()
    read = source(stub.url, timeout=0.2).samples({"c": NOW - 5, "d": NOW - 5})
    assert time.monotonic() - begun < 0.5
    assert {one.problem for one in read.values()} == {"source_down"}


# ---- a gauge over time

GAUGE = {"kind": "gauge", "query": 'g{version="$candidate"}', "max_age": "20s"}


def course(stub: Stub, *, absent_is_zero: bool = False, **keywords: t.Any) -> t.Any:
    metric, _window = need({**GAUGE, "absent_is_zero": absent_is_zero})
    asked = PrometheusSource.from_options({"url": stub.url}, {"candidate": "5.1"})
    return asked.course(metric, 60, 10, **keywords)


def points(*values: t.Any, first: int = 0) -> list[tuple[float, t.Any]]:
    return [(NOW - 60 + 10 * place, value) for place, value in enumerate(values, first) if value is not None]


def test_a_course_leaves_out_what_is_stale_or_no_number(stub: Stub) -> None:
    # Prometheus went on giving the last value while no sample came from the second to the fifth point.
    newest = points(*(NOW - 60 + seconds for seconds in (0, 10, 10, 10, 10, 50, 60)))
    stub.answers['range g{version="5.1"}'] = matrix(({"pod": "a"}, points(1, 1, 1, 1, 1, 2, "NaN")))
    stub.answers['range max(timestamp(g{version="5.1"}))'] = matrix(({}, newest))
    read = course(stub)
    assert read.series == (({"pod": "a"}, points(1, 1, 1, 1, None, 2)),)
    assert read.gaps == (Gap(NOW - 50, NOW - 10, 1), Gap(NOW - 10, NOW, 1))
    fields = stub.asked[1]
    assert (fields["start"], fields["end"], fields["step"]) == (f"{NOW - 60:.3f}", f"{NOW:.3f}", "10.000")


def test_a_pod_that_came_or_went_is_no_gap_and_one_that_was_away_is(stub: Stub) -> None:
    stub.answers['range max(timestamp(g{version="5.1"}))'] = matrix(({}, points(*(NOW for _ in range(7)))))
    stub.answers['range g{version="5.1"}'] = matrix(
        ({"pod": "a"}, points(1, 1, 1)),
        ({"pod": "b"}, points(1, 1, 1, 1, first=3)),
        ({"pod": "c"}, points(1, None, None, 1, 1, 1, 1)),
    )
    assert course(stub).gaps == (Gap(NOW - 60, NOW - 30, 1),)


def test_no_series_at_all_is_one_gap(stub: Stub) -> None:
    stub.answers['range g{version="5.1"}'] = stub.answers['range max(timestamp(g{version="5.1"}))'] = matrix()
    assert course(stub).gaps == (Gap(NOW - 60, NOW, 0),)


def test_no_series_is_0_where_that_is_said_and_stale_is_not(stub: Stub) -> None:
    newest = points(None, None, *(NOW - 60 + seconds for seconds in (20, 20, 20, 20)), None)
    stub.answers['range g{version="5.1"}'] = matrix(({"pod": "a"}, points(None, None, 1, 1, 1, 1)))
    stub.answers['range max(timestamp(g{version="5.1"}))'] = matrix(({}, newest))
    read = course(stub, absent_is_zero=True)
    assert read.series == (({"pod": "a"}, points(None, None, 1, 1, 1)), ({}, points(0, 0, None, None, None, None, 0)))
    assert read.gaps == (Gap(NOW - 40, NOW, 1),)


def test_a_course_that_fails_says_so(stub: Stub) -> None:
    stub.answers['range g{version="5.1"}'] = (400, refusal("bad_data", "no"))
    assert (course(stub).problem, course(stub).series) == ("no_evidence", ())
    with pytest.raises(QueryError, match="metric m: Prometheus refused the query"):
        course(stub, strict=True)
    stub.answers["time()"] = (503, b"")
    assert course(stub).problem == "source_down"


# ---- names


def test_names_that_nobody_has_are_told_with_what_was_meant(stub: Stub) -> None:
    stub.answers["label/__name__/values"] = (
        200,
        json.dumps({"status": "success", "data": ["requests_total"]}).encode(),
    )
    stub.answers["labels"] = (200, json.dumps({"status": "success", "data": ["status", "version"]}).encode())
    entry = {"kind": "ratio", "bad": 'requests_total{verson="5.1",status!~"2.."}', "total": "reqests_total"}
    assert source(stub.url).unknown([need(entry)]) == [
        "metric m: no series requests_total has the label verson (did you mean version?)",
        "metric m: there is no series reqests_total (did you mean requests_total?)",
    ]


def test_a_source_that_does_not_tell_names_is_no_hindrance(stub: Stub) -> None:
    stub.answers["label/__name__/values"] = (404, b"not here")
    assert source(stub.url).unknown(two_gauges())[0].startswith("names of series and labels can't be checked: ")


# ---- the source's clock


class Answering:
    """A transport whose clock, ``ahead`` of ours, is all that it tells."""

    url = "http://prometheus"

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.ahead = 0.0

    def get(self, _path: str, _fields: t.Any) -> Reply:
        return Reply({"resultType": "scalar", "result": [0, str(self.clock.now() + self.ahead)]})


def test_a_clock_that_differs_or_jumps_is_told() -> None:
    clock = FakeClock(NOW)
    answering = Answering(clock)
    asked = PrometheusSource(t.cast(Transport, answering), clock=clock)
    assert asked.skew is None
    asked.now()
    assert (asked.skew, asked.warnings) == (0.0, ())
    answering.ahead = -30.0
    clock.advance(10)
    assert asked.now() == NOW - 20
    assert [text.split(":")[0] for text in asked.warnings] == [
        "the clock of Prometheus at http", "the clock of Prometheus is 0",
    ]  # fmt: skip
    assert "moved -20 s while 10 s passed" in asked.warnings[0]
    assert "is 0:30 behind ours" in asked.warnings[1]
    clock.advance(10)
    asked.now()
    assert len(asked.warnings) == 1
    answering.ahead = 3.0
    clock.advance(10)
    asked.now()
    clock.advance(10)
    asked.now()
    assert (asked.skew, asked.warnings) == (3.0, ())


# ---- TLS


@pytest.fixture
def tls(tmp_path: pathlib.Path) -> collections.abc.Iterator[tuple[Stub, dict[str, str]]]:
    """A server that asks for a certificate, and the options that satisfy it."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    authority.issue_cert(HOST).configure_cert(context)
    ours = authority.issue_cert("ops@example.com")
    files = {name: str(tmp_path / name) for name in ("ca_path", "client_cert", "client_key")}
    authority.cert_pem.write_to_path(files["ca_path"])
    ours.cert_chain_pems[0].write_to_path(files["client_cert"])
    ours.private_key_pem.write_to_path(files["client_key"])
    server = Stub(context)
    yield server, files
    server.close()


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_both_sides_prove_who_they_are(tls: tuple[Stub, dict[str, str]]) -> None:
    server, files = tls
    assert source(server.url, **files).now() == NOW
    anonymous = {"ca_path": files["ca_path"]}
    with pytest.raises(SourceDownError, match="does not answer: "):
        source(server.url, **anonymous).now()
    with pytest.raises(SourceDownError, match="certificate verify failed"):
        source(server.url, client_cert=files["client_cert"], client_key=files["client_key"]).now()
    assert source(server.url, **(files | {"ca_path": None}), validate_certs=False).now() == NOW
