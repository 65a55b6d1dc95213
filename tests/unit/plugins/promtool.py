"""Prometheus' own judgement of rules: what it parses, and what fires on which samples."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: make setup installs it")
STEP = 15
"""Seconds between two samples, and between two looks at the rules."""


class Case(NamedTuple):
    """Samples, ``values`` in promtool's notation by series, and the rules that must fire ``minutes`` after the first.

    ``firing`` counts the alerts by name; an alert not named there must not fire.
    """

    values: Mapping[str, str]
    firing: Mapping[str, int]
    minutes: float = 10


def check(folder: Path, groups: Mapping[str, Any]) -> str:
    """What ``promtool check rules`` says; the test fails where it finds a fault."""
    return _run("check", "rules", str(_written(folder / "rules.yml", groups)))


def check_expressions(folder: Path, expressions: Iterable[str]) -> str:
    """The same for expressions by themselves."""
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    return check(folder, {"groups": [{"name": "expressions", "rules": rules}]})


def run_cases(folder: Path, rules: Mapping[str, Any], cases: Iterable[Case]) -> None:
    """Fails unless exactly what each case says fires. Series have no labels that the rules don't give or drop."""
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    bare = [{key: rule[key] for key in ("alert", "expr", "for")} for rule in alerts]
    by_name = list(dict.fromkeys(rule["alert"] for rule in bare))
    # One rule is one alert, so that counting them needs no labels.
    for number, rule in enumerate(bare):
        rule["labels"] = {"rule": str(number)}
        rule["expr"] = f"group({rule['expr']})"
    _written(folder / "rules.yml", {"groups": [{"name": "all", "rules": bare}]})
    tests = [
        {
            "interval": f"{STEP}s",
            "input_series": [{"series": series, "values": values} for series, values in case.values.items()],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertstate="firing",alertname="{name}"}}) or vector(0)',
                    "eval_time": f"{case.minutes * 60:.0f}s",
                    "exp_samples": [{"labels": "{}", "value": case.firing.get(name, 0)}],
                }
                for name in by_name
            ],
        }
        for case in cases
    ]
    said = {"rule_files": ["rules.yml"], "evaluation_interval": f"{STEP}s", "tests": tests}
    _run("test", "rules", str(_written(folder / "tests.yml", said)))


def _written(file: Path, data: Any) -> Path:
    file.write_text(yaml.safe_dump(data, sort_keys=False, width=1000))
    return file


def _run(*arguments: str) -> str:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
