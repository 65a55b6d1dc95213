"""What a long history costs: opening, writing and reading the journal with ever more finished releases beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, config_map
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import RolloutError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from rehearsal.world import NAMESPACE
from tests.bench import report
from tests.bench.figures import Measurements
from tests.bench.stand import Stand

RELEASES = (10, 100, 1000)
LIMIT = 1.0
APPLICATION = "history"
KIB = 1024
VERSIONS = {"stable": "5.0", "candidate": "5.1"}
# As large as that of the production inventory, and what nine stages leave behind.
PLAN = {"release_stages": [{"name": "canary"}], "facts": "p" * 40 * KIB}
RESULTS = [40 * KIB] * 4
ACTIONS = ("open", "append", "read", "list", "read the oldest")


def name_of(action: str, releases: int) -> str:
    return f"journal: {action}, {releases} releases"


class Histories:
    """``runs`` measurements of each action at each number of releases."""

    def __init__(self, stand: Stand, runs: int, say: Callable[[str], None]) -> None:
        cluster = Cluster.from_options({"kubeconfig": str(stand.world.kubeconfig)})
        self._store = JournalStore(cluster, NAMESPACE, APPLICATION)
        self._runs = runs
        self._say = say
        self._made = 0
        self._times = Measurements([name_of(action, number) for number in RELEASES for action in ACTIONS], runs)
        self.problems: list[str] = []

    def run(self) -> None:
        """Measure everything; what can't be measured becomes a problem."""
        try:
            for number in RELEASES:
                while self._made < number:
                    self._release()
                for _run in range(self._runs):
                    self._measure(number)
                self._say(f"a history of {number} releases")
        except RolloutError as error:
            self.problems.append(f"history: {error.message}")
            self._say(f"FAILED: {error.message}")
        finally:
            self._forget()
        self.problems += self._times.problems()
        slow = [one.name for one in self._times.all() if (one.maximum or 0.0) >= LIMIT]
        if slow:
            self.problems.append(f"{', '.join(slow)}: took {LIMIT:g} s or more")

    def _release(self) -> None:
        self._open()
        self._store.begin("canary")
        for size in RESULTS:
            self._store.record("note", data={"text": "x" * size})
        self._store.end("canary", {"verdict": "pass"})
        self._store.close("done")

    def _open(self) -> None:
        self._made += 1
        self._store.open(f"5.1-{self._made:04d}", VERSIONS, PLAN, {}, keep=max(RELEASES))

    def _measure(self, number: int) -> None:
        """One run of each action; the release that is opened for it counts to the next number."""
        oldest = str(self._store.history()[0]["release_id"])
        work: dict[str, Callable[[], Any]] = {
            "open": self._open,
            "append": lambda: self._store.record("note", data={"text": "x" * KIB}),
            "read": self._store.read,
            "list": self._store.history,
            "read the oldest": lambda: self._store.read(oldest),
        }
        for action, do in work.items():
            began = time.monotonic()
            do()
            self._times.add({name_of(action, number): time.monotonic() - began})
        self._store.close("done")

    def _forget(self) -> None:
        cluster = self._store.cluster
        for item in cluster.list(config_map(NAMESPACE), label_selector={"app.kubernetes.io/part-of": APPLICATION}):
            cluster.delete(config_map(NAMESPACE, item["metadata"]["name"]))

    def document(self) -> dict[str, Any]:
        """Everything found, ready for JSON; times in seconds."""
        return {"limit": LIMIT, "measurements": [one.document() for one in self._times.all()]}

    def lines(self) -> list[str]:
        """Everything found, as a person reads it."""
        kib = (len(str(PLAN)) + sum(RESULTS)) // KIB
        return [*report.times([], self._times.all()), f"journals of {kib} KiB each, asked within one process", ""]
