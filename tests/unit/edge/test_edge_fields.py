"""Fields are read strictly, and what is refused is named by its path."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.edge.fields import Fields, TranslationError
from rehearsal.edge.names import ClusterName, ServiceName, service_of


@pytest.mark.parametrize(
    ("written", "read"),
    [("2s", "2s"), ("250ms", "0.25s"), ("1h30m", "5400s"), ("1.5s", "1.5s"), ("0s", "0s"), (".5s", "0.5s")],
)
def test_durations(written: str, read: str) -> None:
    assert Fields({"timeout": written}, "route").duration("timeout") == read


@pytest.mark.parametrize("written", ["2", "s", "2 s", "-1s", "1d", "", "2sx"])
def test_what_is_no_duration_is_refused_by_path(written: str) -> None:
    with pytest.raises(TranslationError, match=r"spec\.http\[0\]\.timeout: must be a duration"):
        Fields({"timeout": written}, "spec.http[0]").duration("timeout")


@pytest.mark.parametrize(
    ("reader", "value"),
    [("integer", "5"), ("integer", True), ("integer", -1), ("string", 5.1), ("boolean", "true"), ("strings", [1]),
     ("string_map", {"a": 1}), ("percent", {"value": 101}), ("percent", {"value": "5"}), ("object", [])],
)  # fmt: skip
def test_another_type_than_asked_is_refused(reader: str, value: Any) -> None:
    with pytest.raises(TranslationError, match=r"^spec\.field: "):
        getattr(Fields({"field": value}, "spec"), reader)("field")


def test_an_unknown_field_is_refused_and_a_null_one_is_not() -> None:
    Fields({"known": 1, "gone": None}, "spec").only(("known",))
    with pytest.raises(TranslationError, match=r"spec\.odd: is not supported"):
        Fields({"known": 1, "odd": {}}, "spec").only(("known",))


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("api", ServiceName("here", "api")),
        ("api.there", ServiceName("there", "api")),
        ("api.there.svc", ServiceName("there", "api")),
        ("api.there.svc.cluster.local", ServiceName("there", "api")),
        ("api.example.com", None),
        ("*", None),
        ("", None),
    ],
)
def test_which_service_a_host_means(host: str, service: ServiceName | None) -> None:
    assert service_of(host, "here") == service


def test_clusters_are_named_as_istio_names_them() -> None:
    name = ClusterName(ServiceName("claude-enhancer", "claude-enhancer"), 80, "candidate")
    assert str(name) == "outbound|80|candidate|claude-enhancer.claude-enhancer.svc.cluster.local"
