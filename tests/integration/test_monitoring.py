"""The filters alert_rules and dashboard under a real ansible-playbook, with the production inventory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.alert_rules import alert_rules
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.dashboards import dashboard
from tests.unit.plugins.inventory_values import inventory, versions

PROGRAM = Path(sys.executable).with_name("ansible-playbook")
HOSTS = Path(__file__).resolve().parents[2] / "inventories" / "claude_enhancer" / "hosts.yml"
VERSIONS = {"stable": "{{ release_stable.version }}", "candidate": "{{ release_candidate.version }}"}
FILTER = "claude_enhancer.rollout"
RULES = f"release_alerts | {FILTER}.alert_rules(release_metrics, versions=versions, labels=release_alert_labels)"
DASHBOARD = f"item.value | {FILTER}.dashboard(release_metrics, versions, release_stages)"


def copy(name: str, content: str) -> dict[str, Any]:
    return {"ansible.builtin.copy": {"dest": f"{{{{ folder }}}}/{name}", "mode": "0644", "content": content}}


PLAY: list[dict[str, Any]] = [
    {
        "hosts": "all",
        "gather_facts": False,
        "vars": {"versions": VERSIONS},
        "tasks": [
            copy("rules.yml", f"{{{{ {RULES} | to_nice_yaml(indent=2, width=1000) }}}}"),
            copy("{{ item.key }}.json", f"{{{{ {DASHBOARD} | to_json }}}}")
            | {"loop": "{{ release_dashboards | dict2items }}"},
        ],
    }
]


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    play = folder / "play.yml"
    play.write_text(yaml.safe_dump(PLAY, sort_keys=False))
    command = [str(PROGRAM), "-i", str(HOSTS), str(play), "-e", f"folder={folder}", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.skipif(not PROGRAM.exists(), reason="there is no ansible-playbook")
def test_a_playbook_writes_what_the_inventory_describes(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    values = inventory()
    metrics = values["release_metrics"]
    expected = alert_rules(values["release_alerts"], metrics, versions(), labels=values["release_alert_labels"])
    assert yaml.safe_load((tmp_path / "rules.yml").read_text()) == expected
    for name, described in values["release_dashboards"].items():
        written = json.loads((tmp_path / f"{name}.json").read_text())
        assert written == dashboard(described, metrics, versions(), values["release_stages"])


@pytest.mark.skipif(not PROGRAM.exists(), reason="there is no ansible-playbook")
def test_a_mistake_ends_the_task_before_anything_is_written(tmp_path: Path) -> None:
    wrong = [{"alert": "A", "metric": "eror_rate", "above": 2, "severity": "P1", "for": "soon"}]
    done = run(tmp_path, "-e", json.dumps({"release_alerts": wrong}))
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert "alert A: metric: 'eror_rate' is not in the catalogue (did you mean" in said
    assert "alert A: for: 'soon' is not a duration" in said
    assert not (tmp_path / "rules.yml").exists()
