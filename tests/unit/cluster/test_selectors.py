"""Label and field selectors."""

from __future__ import annotations

import pytest

from rehearsal.cluster.errors import StatusError
from rehearsal.cluster.selectors import field_selector, label_selector, match_labels, selector_text


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        ("a=1", {"a": "1"}, True),
        ("a==1", {"a": "2"}, False),
        ("a!=1", {}, True),
        ("a", {"a": ""}, True),
        ("!a", {"a": ""}, False),
        ("a in (1, 2),b", {"a": "2", "b": "x"}, True),
        ("a in (1,2)", {}, False),
        ("a notin (1)", {}, True),
        ("a notin (1)", {"a": "1"}, False),
        ("a=", {"a": ""}, True),
        ("size>3", {"size": "4"}, True),
        ("size<3", {"size": "big"}, False),
        ("example.com/a-b=c.d_e", {"example.com/a-b": "c.d_e"}, True),
    ],
)
def test_label_selectors(selector: str, labels: dict[str, str], expected: bool) -> None:
    assert label_selector(selector)({"metadata": {"labels": labels}}) is expected


@pytest.mark.parametrize("selector", ["a===b", "a in", "a in (1", "=b", "a b", "a,", "a=b c"])
def test_label_selectors_that_do_not_parse(selector: str) -> None:
    with pytest.raises(StatusError) as refused:
        label_selector(selector)
    assert refused.value.code == 400


def test_field_selectors() -> None:
    pod = {"metadata": {"name": "a", "namespace": "n"}, "status": {"phase": "Running"}, "spec": {}}
    assert field_selector("metadata.name=a,status.phase!=Failed", "Pod")(pod)
    assert field_selector("spec.nodeName=", "Pod")(pod), "an unset field is the empty text"
    assert not field_selector("metadata.namespace==m", "Pod")(pod)
    with pytest.raises(StatusError, match="field label not supported"):
        field_selector("spec.color=red", "Pod")


def test_selectors_of_objects() -> None:
    selector = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["b", "a"]},
            {"key": "old", "operator": "DoesNotExist"},
        ],
    }
    assert match_labels(selector, {"app": "web", "tier": "a"})
    assert not match_labels(selector, {"app": "web", "tier": "a", "old": "yes"})
    assert match_labels({}, {"any": "thing"}) and not match_labels(None, {})
    assert selector_text(selector) == "app=web,tier in (a,b),!old"
