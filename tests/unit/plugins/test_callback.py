"""What the release clock makes of a playbook run by a real ansible-playbook."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PLAN = """
        application: shop
        namespace: shop
        stable: {version: "5.0", deployment: a}
        candidate: {version: "%s", deployment: b}
        traffic: {provider: istio, name: shop, stable: {host: a}, candidate: {host: b}}
        stages: [{name: canary, starts: -1, minutes: 3, weight: %s}]
"""
PLAYBOOK = f"""
- name: Canary start
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Lay the release on the clock
      claude_enhancer.rollout.release_plan: {PLAN % ("5.1", "5")}
    - name: Change something
      ansible.builtin.command: "true"
      changed_when: true
    - name: Pass over
      ansible.builtin.command: "true"
      when: false
    - name: Go through
      ansible.builtin.command: "true"
      changed_when: item == 2
      loop: [1, 2]
    - name: Say
      ansible.builtin.debug:
        msg: a word to people
- name: Expand
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Fail and go on
      ansible.builtin.command: "false"
      ignore_errors: true
    - name: Keep it hidden
      ansible.builtin.fail:
        msg: the secret word
      no_log: true
      ignore_errors: true
    - name: Check a bad plan
      claude_enhancer.rollout.release_plan: {PLAN % ("5.0", "101")}
"""


def play(folder: Path, *options: str, written: str = PLAYBOOK) -> subprocess.CompletedProcess[str]:
    path = folder / "play.yml"
    path.write_text(written)
    env = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build" / "collections"),
        "ANSIBLE_STDOUT_CALLBACK": "claude_enhancer.rollout.release_clock",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_HOME": str(folder),
    }
    program = Path(sys.executable).with_name("ansible-playbook")
    return subprocess.run(
        [str(program), *options, str(path)],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    return play(tmp_path_factory.mktemp("quiet"))


def without_times(text: str) -> list[str]:
    return [re.sub(r"\d\d:\d\d:\d\d", "NOW", line) for line in text.splitlines()]


def test_only_what_changed_or_failed_is_shown(quiet: subprocess.CompletedProcess[str]) -> None:
    lines = without_times(quiet.stdout)
    assert quiet.returncode == 2
    assert lines[1:5] == [
        "NOW   +0:00   Canary start",
        "NOW  changed  Change something",
        "NOW  changed  Go through (2)",
        "          a word to people",
    ]
    assert "Pass over" not in quiet.stdout


def test_the_clock_of_the_plan_is_shown_once_it_is_known(quiet: subprocess.CompletedProcess[str]) -> None:
    heading = next(line for line in quiet.stdout.splitlines() if line.endswith("Expand"))
    assert re.fullmatch(r"\d\d:\d\d:\d\d   \+0:0\d   T-0:5\d   Expand", heading)


def test_a_failure_is_shown_in_full_with_each_problem(quiet: subprocess.CompletedProcess[str]) -> None:
    lines = without_times(quiet.stdout)
    at = lines.index("NOW  FAILED  Check a bad plan")
    assert lines[at + 1 : at + 4] == [
        "          2 problems:",
        "          - candidate: version: '5.0' is stable's version too: name the one to release",
        "          - stage canary: weight: 101 is not a whole number from 0 to 100",
    ]
    assert "NOW  failed, ignored  Fail and go on" in lines


def test_the_last_lines_say_what_decided_the_exit(quiet: subprocess.CompletedProcess[str]) -> None:
    *_rest, recap, ended = quiet.stdout.splitlines()
    assert re.fullmatch(r"localhost: 6 ok, 3 changed, 1 failed, 1 skipped, 2 ignored; 0:\d\d", recap), quiet.stdout
    assert ended == "ended by  Check a bad plan: 2 problems"


def test_what_is_not_to_be_logged_stays_hidden(quiet: subprocess.CompletedProcess[str]) -> None:
    assert "Keep it hidden" in quiet.stdout
    assert "the secret word" not in quiet.stdout + quiet.stderr


def test_more_is_shown_when_asked_for(tmp_path: Path) -> None:
    lines = without_times(play(tmp_path, "-v").stdout)
    assert "NOW  ok       Lay the release on the clock" in lines
    assert "NOW  skipped  Pass over" in lines
    assert "NOW  ok       Go through (1)" in lines


def test_plays_after_the_end_of_a_release_have_no_heading(tmp_path: Path) -> None:
    over = """
- name: Take back
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Have no stage follow
      ansible.builtin.set_fact:
        preflight_ends_here: true
- name: Not reached
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Pass over
      ansible.builtin.command: "true"
      when: not (preflight_ends_here | default(false))
"""
    done = play(tmp_path, written=over)
    assert done.returncode == 0, done.stderr
    assert "Take back" in done.stdout
    assert "Not reached" not in done.stdout
