"""Label and field selectors, as lists, watches and collections of objects use them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from rehearsal.cluster.errors import bad_request

Object = dict[str, Any]
Test = Callable[[Object], bool]

_TOKEN = re.compile(r"\s*(?:(==|!=|=|!|,|\(|\)|>|<)|([^\s=!,()<>]+))")


def label_selector(text: str) -> Test:
    """A test of an object's labels. Raises StatusError (400) when ``text`` does not parse."""
    requirements = _Parser(text).requirements()
    return lambda item: all(test(item.get("metadata", {}).get("labels") or {}) for test in requirements)


class _Parser:
    """The grammar of ``labelSelector``: requirements joined by commas."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, bool]] = []
        position = 0
        while text[position:].strip():
            match = _TOKEN.match(text, position)
            if match is None:
                raise bad_request(f"unable to parse requirement: found '{text[position]}'")
            self.tokens.append((match[1] or match[2], match[2] is not None))
            position = match.end()
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def word(self, empty: bool = False) -> str:
        if self.at < len(self.tokens) and self.tokens[self.at][1]:
            self.at += 1
            return self.tokens[self.at - 1][0]
        if empty and self.peek() in ("", ",", ")"):
            return ""
        raise bad_request(f"unable to parse requirement: found '{self.peek()}', expected: identifier")

    def requirements(self) -> list[Callable[[Mapping[str, str]], bool]]:
        found = []
        while self.at < len(self.tokens):
            found.append(self._requirement())
            if self.peek() == ",":
                self.at += 1
                if not self.peek():
                    raise bad_request("unable to parse requirement: found '', expected: identifier after ','")
            elif self.peek():
                raise bad_request(
                    f"unable to parse requirement: found '{self.peek()}', expected: ',' or 'end of string'"
                )
        return found

    def _requirement(self) -> Callable[[Mapping[str, str]], bool]:
        if self.peek() == "!":
            self.at += 1
            key = self.word()
            return lambda labels: key not in labels
        key = self.word()
        operator = self.peek()
        if operator in ("", ","):
            return lambda labels: key in labels
        self.at += 1
        if operator in ("=", "==", "!="):
            value = self.word(empty=True)
            if operator == "!=":
                return lambda labels: labels.get(key) != value
            return lambda labels: labels.get(key) == value
        if operator in ("in", "notin"):
            values = self._values()
            if operator == "in":
                return lambda labels: labels.get(key) in values
            return lambda labels: labels.get(key) not in values
        if operator in (">", "<"):
            return _ordered(key, operator, self.word())
        expected = "in, notin, =, ==, !=, gt, lt"
        raise bad_request(f"unable to parse requirement: found '{operator}', expected: {expected}")

    def _values(self) -> set[str]:
        if self.peek() != "(":
            raise bad_request(f"unable to parse requirement: found '{self.peek()}', expected: '('")
        values = set()
        while self.peek() != ")":
            self.at += 1
            values.add(self.word(empty=True))
            if self.peek() not in (",", ")"):
                raise bad_request(f"unable to parse requirement: found '{self.peek()}', expected: ',' or ')'")
        self.at += 1
        return values


def _ordered(key: str, operator: str, limit: str) -> Callable[[Mapping[str, str]], bool]:
    def test(labels: Mapping[str, str]) -> bool:
        try:
            value, bound = int(labels[key]), int(limit)
        except (KeyError, ValueError):
            return False
        return value > bound if operator == ">" else value < bound

    return test


# Fields a selector may name beyond metadata.name and metadata.namespace.
_FIELDS: dict[str, set[str]] = {
    "Pod": {
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    },
    "Event": {
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "regarding.kind",
        "regarding.namespace",
        "regarding.name",
        "regarding.uid",
        "reason",
        "reportingComponent",
        "source",
        "type",
    },
    "Namespace": {"status.phase"},
    "Node": {"spec.unschedulable"},
    "Secret": {"type"},
    "ReplicaSet": {"status.replicas"},
    "Job": {"status.successful"},
    "Service": {"spec.clusterIP", "spec.type"},
}


def field_selector(text: str, kind: str) -> Test:
    """A test of an object's fields. Raises StatusError (400) for a field that ``kind`` does not offer."""
    allowed = {"metadata.name", "metadata.namespace"} | _FIELDS.get(kind, set())
    tests: list[Test] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = re.fullmatch(r"([^=!]+?)(==|!=|=)(.*)", part)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        path, operator, value = match.groups()
        if path not in allowed:
            raise bad_request(f"field label not supported: {path}")
        tests.append(_field_test(path, value, operator == "!="))
    return lambda item: all(test(item) for test in tests)


def _field_test(path: str, value: str, negate: bool) -> Test:
    keys = path.split(".")

    def test(item: Object) -> bool:
        node: Any = item
        for key in keys:
            node = node.get(key) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node = node.get("component", "")
        text = "" if node is None else str(node).lower() if isinstance(node, bool) else str(node)
        return (text == value) != negate

    return test


def match_labels(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector object selects ``labels``. None and the empty selector select nothing and everything."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for rule in selector.get("matchExpressions") or []:
        present, values = rule["key"] in labels, rule.get("values") or []
        chosen = {
            "In": present and labels.get(rule["key"]) in values,
            "NotIn": not present or labels.get(rule["key"]) not in values,
            "Exists": present,
            "DoesNotExist": not present,
        }
        if not chosen.get(rule["operator"], False):
            return False
    return True


def selector_text(selector: Object | None) -> str:
    """A LabelSelector as the text form of ``labelSelector``."""
    selector = selector or {}
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for rule in selector.get("matchExpressions") or []:
        key, values = rule["key"], ",".join(sorted(rule.get("values") or []))
        form = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
        parts.append(form.get(rule["operator"], f"!{key}"))
    return ",".join(parts)
