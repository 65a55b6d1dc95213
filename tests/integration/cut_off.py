"""Modules as processes of their own, ended by a signal between two of their changes.

Between module and API stands a gate. It lets a given number of changes through and holds the next one, or the answer to
the last one, for ever: there the module is when it gets its signal. What it asks for after that goes through.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import yaml

import tests.conftest  # noqa: F401  (the collection's place)
from tests.integration.api_only import PROGRAM, environment, write_playbook
from tests.unit.plugins.web_server import Reply, Request, serve

PATIENCE = 60.0
ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Moment:
    """After ``changes`` of them were made; ``known``: the module has the answer to the last one, and sent the next."""

    changes: int
    known: bool

    def __str__(self) -> str:
        return f"{self.changes} made, {'the next on its way' if self.known else 'the answer lost'}"


class Gate:
    """``kubeconfig`` leads through it. ``reached`` is set when the moment has come, ``made`` counts the changes."""

    def __init__(self, kubeconfig: Path, moment: Moment | None) -> None:
        entry = yaml.safe_load(kubeconfig.read_text())
        self.entry = entry
        self._token = entry["users"][0]["user"]["token"]
        server = entry["clusters"][0]["cluster"]
        self._server = server["server"]
        authority = base64.b64decode(server["certificate-authority-data"]).decode()
        self._context = ssl.create_default_context(cadata=authority)
        self._moment = moment
        self._lock = threading.Lock()
        self._gone = threading.Event()
        self.kubeconfig = kubeconfig
        self.reached = threading.Event()
        self.made = 0

    def answer(self, request: Request) -> Reply:
        if request.method == "GET" or "dryRun" in request.path:
            return self._sent(request)
        with self._lock:  # one change at a time, so that their number says which
            if self._moment and self._moment.known and self.made == self._moment.changes and not self._gone.is_set():
                return self._hold()
            reply = self._sent(request)
            self.made += 1
            if self._moment and not self._moment.known and self.made == self._moment.changes:
                return self._hold()
            return reply

    def _hold(self) -> Reply:
        self.reached.set()
        self._gone.wait(PATIENCE)
        return Reply(None)

    def let_go(self) -> None:
        """The module was told to end: it gets no answer any more."""
        self._gone.set()

    def _sent(self, request: Request) -> Reply:
        headers: dict[str, str] = {
            name: request.headers[name] for name in ("accept", "content-type") if name in request.headers
        }
        headers["authorization"] = f"Bearer {self._token}"
        asked = urllib.request.Request(
            self._server + request.path, request.body or None, headers, method=request.method
        )
        try:
            with urllib.request.urlopen(asked, context=self._context, timeout=20) as reply:
                return Reply(reply.status, reply.read(), {"Date": reply.headers["Date"]})
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.read())


@contextlib.contextmanager
def gate(kubeconfig: Path, folder: Path, moment: Moment | None = None) -> Iterator[Gate]:
    """A gate in front of the API of ``kubeconfig``; without ``moment`` it only counts."""
    found = Gate(kubeconfig, moment)
    with serve(found.answer) as url:
        entry = found.entry
        entry["clusters"][0]["cluster"] = {"server": url}
        entry["users"][0]["user"] = {}
        found.kubeconfig = folder / "kubeconfig-gate"
        found.kubeconfig.write_text(yaml.safe_dump(entry))
        try:
            yield found
        finally:
            found.let_go()


def start(module: str, options: dict[str, Any]) -> subprocess.Popen[str]:
    """Start a module of the collection as Ansible would, by its ``main``; returns at once."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.cut_off", module, json.dumps(options)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a module that was left alone answers."""
    said, _nothing = process.communicate(timeout=PATIENCE)
    answer: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    assert process.returncode == 0, said
    return answer


def cut_off(
    kubeconfig: Path, folder: Path, moment: Moment, number: signal.Signals, module: str, options: dict[str, Any]
) -> None:
    """Run the module until ``moment``, send it the signal, and wait until it has ended by that."""
    with gate(kubeconfig, folder, moment) as between:
        process = start(module, {**options, "kubeconfig": str(between.kubeconfig)})
        assert between.reached.wait(PATIENCE), (
            process.communicate(timeout=5)[0] if process.poll() is not None else "late"
        )
        process.send_signal(number)
        between.let_go()
        said, _nothing = process.communicate(timeout=PATIENCE)
    assert process.returncode in (-number, 1), said
    assert '"changed"' not in said, "it was ended before it was through"


def cut_off_play(kubeconfig: Path, folder: Path, moment: Moment, task: dict[str, Any]) -> None:
    """Run the task by ansible-playbook until ``moment``, send that SIGTERM, and wait until all of it has ended."""
    play = write_playbook(folder / "play.yml", [task])
    with gate(kubeconfig, folder, moment) as between:
        run = subprocess.Popen(
            [str(PROGRAM), str(play)],
            cwd=folder,
            env=environment(folder, between.kubeconfig),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert between.reached.wait(PATIENCE), run.communicate(timeout=5)[0] if run.poll() is not None else "late"
        workers = psutil.Process(run.pid).children()
        run.send_signal(signal.SIGTERM)
        between.let_go()
        said, _nothing = run.communicate(timeout=PATIENCE)
        assert run.returncode == -signal.SIGTERM, said
        assert workers and psutil.wait_procs(workers, PATIENCE)[1] == []


def main() -> None:
    import importlib

    from ansible.module_utils.testing import patch_module_args

    module = importlib.import_module(f"ansible_collections.claude_enhancer.rollout.plugins.modules.{sys.argv[1]}")
    with patch_module_args(json.loads(sys.argv[2])):
        module.main()


if __name__ == "__main__":
    main()
