"""release_rollback killed at each of its requests: run again it ends, and a release is not gone on with unasked."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal as record
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import SystemClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import JournalError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.expected_world import (
    Difference,
    compare,
    expected,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Author, Journal
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_store import LeaseStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import lease
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.release_world import look
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.resume import RESUME, cut_off, decide
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback import Asked, roll_back
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_steps import Step
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import open_provider, set_weight
from rehearsal.world import NAMESPACE
from tests.integration.api_only import TRAFFIC, api, candidate_weight, forget_releases
from tests.integration.test_release_rollback import (
    BLUE,
    CANDIDATE,
    ENTRY,
    FACTS,
    SNAPSHOT,
    STABLE,
    VERSIONS,
    a_deployment,
    entry_selector,
    put,
)

BLOCK = 93
STAGES = [{"name": "canary", "weight": 5}, {"name": "full", "weight": 100}]
PLAN = {**FACTS, "release_stages": STAGES, "release_candidate": {"version": "5.1"}}
LEASE = lease(NAMESPACE, f"{NAMESPACE}-release-lock")
ME = Author("ann", "ops1")
MOST = 60
"""Requests within which this part of a rollback must be over."""


class Killed(BaseException):
    """SIGKILL: no handler of the code under test runs to any effect, since no request gets through any more."""


class Mortal(Cluster):
    """Dies at its request number ``left``: before it is sent, or when it is done but not yet answered."""

    left = 0
    answered = False
    lock = threading.Lock()

    def _send(self, method: str, url: str, headers: Any, data: bytes | None) -> Any:
        with self.lock:
            self.left -= 1
            last = self.left == 0
            dead = self.left < 0 or (last and not self.answered)
        if dead:
            raise Killed
        response = super()._send(method, url, headers, data)
        if last:
            raise Killed
        return response


class Silent:
    def step(self, step: Step) -> None:
        """Nobody watches."""


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("api")
    with api(home, BLOCK):
        yield home / "kubeconfig"


@pytest.fixture(scope="module")
def cluster(kubeconfig: Path) -> Cluster:
    return Cluster.from_options({"kubeconfig": str(kubeconfig)})


def stand(cluster: Cluster, weight: int, begun: tuple[str, ...], ended: tuple[str, ...]) -> None:
    """A release in progress as its stages left it."""
    forget_releases(cluster)
    if cluster.find(LEASE):
        cluster.delete(LEASE)
    put(cluster, BLUE, a_deployment(BLUE, STABLE, 3))
    put(cluster, ENTRY, {"spec": {"selector": CANDIDATE if weight == 100 else STABLE, "ports": [{"port": 80}]}})
    set_weight(open_provider("istio", cluster, TRAFFIC), weight, guard=False)
    store = JournalStore(cluster, NAMESPACE, NAMESPACE, ME)
    store.open("5.1-a", VERSIONS, PLAN, SNAPSHOT)
    for stage in begun:
        store.begin(stage)
        if stage in ended:
            store.end(stage, {"verdict": "pass"})


def traffic_back(cluster: Cluster) -> dict[str, Any]:
    """The part of rollback.yml that users wait for, as a person starts it."""
    asked = Asked("error_rate_high", whole=False, verify_timeout=5.0)
    return roll_back(cluster, NAMESPACE, NAMESPACE, asked, SystemClock(), Silent())


def killed_at(kubeconfig: Path, request: int, *, answered: bool) -> bool:
    """Whether it died there, and wasn't over before."""
    mortal = Mortal.from_options({"kubeconfig": str(kubeconfig)})
    assert isinstance(mortal, Mortal)
    mortal.left, mortal.answered = request, answered
    with contextlib.suppress(Killed):
        traffic_back(mortal)
        return False
    return True


def journal_of(cluster: Cluster) -> Journal:
    found = JournalStore(cluster, NAMESPACE, NAMESPACE).read()
    assert found is not None
    return found


def differing(cluster: Cluster) -> list[Difference]:
    """What deploy.yml says that isn't as the journal has it, but for pods, which nothing runs here."""
    journal = journal_of(cluster)
    must = expected(journal)
    found = compare(must, look(cluster, NAMESPACE, journal.header["plan"], must)).differences
    return [one for one in found if one.variable in ("release_traffic", "release_entry_service")]


def refusal(cluster: Cluster) -> str:
    """Why deploy.yml doesn't go on with the release; empty where it does."""
    journal = journal_of(cluster)
    try:
        decide(journal, RESUME, "new", VERSIONS, ME)
    except JournalError as error:
        return error.message
    return " ".join(
        [cut_off(LeaseStore(cluster, NAMESPACE, NAMESPACE).read(), journal),
         *(one.sentence for one in differing(cluster))]
    ).strip()  # fmt: skip


STANDS = {
    "between two stages": (5, ("canary",), ("canary",)),
    "within a stage": (5, ("canary",), ()),
    "after the switch": (100, ("canary", "full"), ("canary", "full")),
}


@pytest.mark.parametrize("answered", [False, True], ids=["unsent", "unanswered"])
@pytest.mark.parametrize("where", STANDS)
def test_killed_anywhere_it_is_finished_by_the_next_and_nobody_goes_on_over_it(
    kubeconfig: Path, cluster: Cluster, where: str, answered: bool
) -> None:
    weight, begun, ended = STANDS[where]
    seen: set[str] = set()
    for request in range(1, MOST):
        stand(cluster, weight, begun, ended)
        before = (candidate_weight(cluster), entry_selector(cluster))
        died = killed_at(kubeconfig, request, answered=answered)
        after = (candidate_weight(cluster), entry_selector(cluster))
        said = refusal(cluster)
        if "rolling_back" in said or "is being taken back by" in said:
            seen.add("journal" if journal_of(cluster).state == record.ROLLING_BACK else "lock")
        elif said:
            seen.add("world")
            assert "a rollback seems to have begun" in said
        elif after != before:
            # What the stage is to set, it sets when it is run again, with all of its gates.
            seen.add("stage")
            assert where == "within a stage"
        if said:
            assert "claude_enhancer.rollout.rollback" in said
            assert "release_resume=restart" in said
        done = traffic_back(cluster)
        assert not done.get("failed"), (request, done)
        assert (candidate_weight(cluster), entry_selector(cluster)) == (0, STABLE)
        assert journal_of(cluster).state == record.ROLLING_BACK
        lock = LeaseStore(cluster, NAMESPACE, NAMESPACE).read()
        assert lock is not None
        assert lock.holder == ""
        if not died:
            break
    else:
        pytest.fail(f"not over within {MOST} requests")
    assert seen == {"journal", "lock", "stage" if where == "within a stage" else "world"}
