"""Errors become failures of a module in one place."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import errors


class Exited(Exception):
    pass


class FakeModule:
    def __init__(self) -> None:
        self.exits: list[tuple[str, dict[str, t.Any]]] = []

    def fail_json(self, **result: t.Any) -> t.NoReturn:
        self.exits.append(("fail", result))
        raise Exited

    def exit_json(self, **result: t.Any) -> t.NoReturn:
        self.exits.append(("exit", result))
        raise Exited


def run(work: t.Callable[[t.Any], dict[str, t.Any]]) -> list[tuple[str, dict[str, t.Any]]]:
    module = FakeModule()
    with pytest.raises(Exited):
        errors.run(t.cast(t.Any, module), work)
    return module.exits


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InputError("no"), "input"),
        (errors.NotRoutedError("no"), "not_routed"),
        (errors.SourceDownError("no"), "source_down"),
        (errors.GuardError("no"), "guard"),
        (errors.UnreachableError("no", reason="timeout"), "unreachable"),
        (errors.ConflictError("no", status=409), "conflict"),
    ],
)
def test_each_error_has_a_name_to_compare_with(error: errors.RolloutError, code: str) -> None:
    assert error.code == code


def test_a_result_leaves_once() -> None:
    assert run(lambda _module: {"changed": True}) == [("exit", {"changed": True})]


def test_an_error_leaves_with_its_details() -> None:
    def work(_module: t.Any) -> t.NoReturn:
        raise errors.ForbiddenError("not allowed", status=403, reason="Forbidden", who="ops")

    assert run(work) == [
        ("fail", {"msg": "not allowed", "error": "forbidden", "status": 403, "reason": "Forbidden", "who": "ops"})
    ]


def test_details_never_replace_the_message() -> None:
    assert errors.RolloutError("said", error="x", msg="y").payload() == {"msg": "said", "error": "rollout"}


def test_an_error_that_nobody_foresaw_is_not_hidden() -> None:
    module = FakeModule()
    with pytest.raises(ZeroDivisionError):
        errors.run(t.cast(t.Any, module), lambda _module: {"x": 1 // 0})
    assert module.exits == []
