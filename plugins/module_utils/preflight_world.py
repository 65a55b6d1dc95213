# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The world a release is about to begin in, asked without changing anything: every obstacle, told once."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock, SystemClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, deployment, service
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.endpoints import selector_of
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ForbiddenError,
    InputError,
    LockError,
    NotFoundError,
    RolloutError,
    SourceDownError,
    UnreachableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.expected_world import (
    Difference,
    Findings,
    at_the_start,
    compare,
    expected,
    goes_on,
    of_inventory,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Journal
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Claim, Lock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_store import LeaseStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.prometheus import (
    PROMETHEUS,
    PrometheusSource,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.preflight_facts import (
    Facts,
    Read,
    needs,
    versions,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.release_world import look
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.resume import (
    RESUME,
    Resume,
    cut_off,
    decide,
    fresh_id,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import open_provider
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.owners import owner_findings
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.probing import PROBE_SPEC, probe

_REQUESTS = 20
# A message of a module names its options first, such as ``stable, candidate: ...``.
_OPTIONS = re.compile(r"[a-z_.]+(, [a-z_.]+)*")
_UNAUTHORIZED = 401
# For how long a world that doesn't fit the journal may still come to: a watchdog at its work, a pod that gets ready.
_PATIENCE = 10.0
_POLL = 0.5


class World:
    """Asks about the variables that are sound. ``problems``, ``warnings``, ``notices`` and ``snapshot`` grow with each
    question; ``resume`` is what becomes of a release in progress, and ``release_id`` that of the one to be opened.

    ``lock_seen`` is the tenure of the lock when the world was asked. ``lock_wait`` are the seconds to wait for a lock
    that is held before anything else is asked; with ``take_over`` it doesn't matter who holds it.
    """

    def __init__(
        self,
        facts: Facts,
        read: Read,
        asked: str = RESUME,
        clock: Clock | None = None,
        *,
        lock_wait: float = 0.0,
        take_over: bool = False,
    ) -> None:
        self._facts = facts
        self._read = read
        self._asked = asked
        self._clock: Clock = clock or SystemClock()
        self._lock_wait = lock_wait
        self._take_over = take_over
        self._lock: Lock | None = None
        self.lock_seen = ""
        self._namespace = str(facts.get("release_namespace"))
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.notices: list[str] = []
        self.snapshot: dict[str, t.Any] = {}
        self.journal: Journal | None = None
        self._store: JournalStore | None = None
        self.resume = Resume(asked)
        self.release_id = str(read.timeline.get("release_id", "a new one"))

    def ask_journal_only(self, connection: t.Mapping[str, t.Any]) -> None:
        """Ask nothing but whether there is a release to take back: that must not wait for anything else."""
        self._ask_cluster(connection, {"release_application": self._ask_lock, "": self._ask_journal})

    def ask(self, connection: t.Mapping[str, t.Any]) -> None:
        """Ask cluster, source of measurements and edge; ``connection`` are the options of ``CLUSTER_ARGUMENTS``."""
        questions = {
            "release_application": self._ask_lock,
            "": self._ask_journal,
            "release_traffic": self._ask_traffic,
            "release_entry_service": self._ask_entry_service,
            "release_stable": self._ask_stable,
            "release_canary_drain": self._ask_drain,
        }
        self._ask_cluster(connection, questions)
        for variable, question in (("release_prometheus", self._ask_source), ("release_edge", self._ask_edge)):
            if self._read.sound(variable):
                self._note(variable, question)

    def _note(self, variable: str, question: t.Callable[[], None]) -> None:
        """Ask; what goes wrong is a problem of ``variable``. Raises what makes every other question pointless."""
        try:
            question()
        except RolloutError as error:
            lost = isinstance(error, UnreachableError) or getattr(error, "status", 0) == _UNAUTHORIZED
            if lost:
                raise
            for problem in error.details.get("problems") or [error.message]:
                self._tell(variable, problem, at_server=isinstance(error, ForbiddenError))

    def _tell(self, variable: str, problem: str, *, at_server: bool = False) -> None:
        options, colon, rest = problem.partition(": ")
        if at_server:
            said = f"release_cluster: {problem}"
        elif variable and _OPTIONS.fullmatch(options):
            said = f"{', '.join(f'{variable}.{option}' for option in options.split(', '))}{colon}{rest}"
        else:
            said = f"{variable}: {problem}" if variable else problem
        if said not in self.problems:
            self.problems.append(said)

    # ---- the cluster

    def _ask_cluster(self, connection: t.Mapping[str, t.Any], questions: t.Mapping[str, t.Callable[[], None]]) -> None:
        try:
            # No write is ever meant here; one that is sent is a question to the API server.
            self._cluster = Cluster.from_options(connection, dry_run=True)
            for variable, question in questions.items():
                if self._read.sound("release_namespace") and (not variable or self._read.sound(variable)):
                    self._note(variable, question)
            if not self.resume.take_back and not self.resume.ends:
                self._note("", self._prove)
        except RolloutError as error:
            self._tell("release_cluster", error.message, at_server=True)

    def _ask_lock(self) -> None:
        """First of all: what another controller is still changing is no state to begin from, or to return to."""
        store = LeaseStore(self._cluster, self._namespace, str(self._facts["release_application"]))
        claim = Claim("a release that is checked")
        try:
            store.acquire(claim, wait=self._lock_wait, force=self._take_over)
        except LockError as error:
            self.problems.append(error.message)
        except NotFoundError as error:
            if not error.served:
                raise
            # There is no such namespace, which everything asked next says too.
        self._lock = store.read()
        self.lock_seen = self._lock.tenure if self._lock else ""

    def _ask_journal(self) -> None:
        if not self._read.sound("release_application"):
            return
        store = JournalStore(self._cluster, self._namespace, str(self._facts["release_application"]))
        self.journal = store.read()
        self._store = store
        self.release_id = fresh_id(self.release_id, self.journal)
        self.resume = decide(self.journal, self._asked, self.release_id, versions(self._facts), store.author)
        if self.resume.notice:
            self.notices.append(self.resume.notice)

    def _prove(self) -> None:
        """That the world is as the journal says, or as a release begins in; what differs is a problem."""
        store, journal = self._store, self.journal
        if store is None:
            return  # told: whether there is a release isn't known
        if journal is None or journal.closed:
            self._tell_findings(self._beginning())
        elif self.resume.goes_on:
            taken_back = "" if self._take_over else cut_off(self._lock, journal)
            if taken_back:
                self.problems.append(taken_back)
            self._tell_findings(self._settled(store, journal), of_inventory(journal, self._facts))
            self.notices.insert(0, f"release {journal.release_id} is taken up: {goes_on(journal)}")

    def _tell_findings(self, findings: Findings, others: t.Iterable[Difference] = ()) -> None:
        for difference in (*findings.differences, *others):
            if not any(problem.endswith(f": {difference.what}") for problem in self.problems):
                self._tell(difference.variable, difference.sentence)
        self.notices += findings.notices

    def _settled(self, store: JournalStore, journal: Journal) -> Findings:
        """What still differs after it had time to come right, with the journal as it is then."""
        ends = self._clock.monotonic() + _PATIENCE
        while True:
            must = expected(journal)
            found = compare(must, look(self._cluster, self._namespace, journal.header["plan"], must))
            if not found.differences or self._clock.monotonic() + _POLL > ends:
                return found
            self._clock.sleep(_POLL)
            journal = store.read() or journal

    def _beginning(self) -> Findings:
        variables = ("release_traffic", "release_entry_service")
        facts = {name: self._facts.get(name) for name in variables if self._read.sound(name)}
        must = at_the_start(facts)
        return compare(must, look(self._cluster, self._namespace, facts, must))

    def _ask_traffic(self) -> None:
        traffic = dict(self._facts["release_traffic"])
        provider = open_provider(traffic.pop("provider", "istio"), self._cluster, traffic)
        state = provider.read()
        self.snapshot["weight"] = state.weight
        provider.plan(100, state, strict=True)  # refuses routes that can't be split
        problems = [backend.problem for backend in provider.backends().values() if backend.problem]
        problems += provider.obstacles(state)
        if not (self._facts.get("release_guard") or {}).get("takeover"):
            problems += owner_findings(state)
        for problem in problems:
            self._tell("release_traffic", problem)

    def _ask_entry_service(self) -> None:
        name = str(self._facts["release_entry_service"]["name"])
        try:
            self.snapshot["entry_selector"] = selector_of(self._cluster.get(service(self._namespace, name)))
        except NotFoundError:
            raise InputError(
                f"name: there is no Service {name} in namespace {self._namespace}; apply it first"
            ) from None

    def _ask_stable(self) -> None:
        name = str(self._facts["release_stable"]["deployment"])
        try:
            found = self._cluster.get(deployment(self._namespace, name))
        except NotFoundError:
            raise InputError(
                f"deployment: there is no Deployment {name} in namespace {self._namespace}; name the one that serves"
            ) from None
        self.snapshot["stable_replicas"] = int(found["spec"].get("replicas", 1))

    def _ask_drain(self) -> None:
        """Whether the objects that the clean-up of the canary changes are there; the API server judges the patches."""
        for entry in self._facts.get("release_canary_drain") or []:
            missing = [key for key in ("api_version", "kind", "name", "patch") if not entry.get(key)]
            if missing:
                raise InputError(f"{', '.join(missing)}: is missing in {dict(entry)!r}; give it in the inventory")
            where = self._cluster.locate(entry["api_version"], entry["kind"], self._namespace, entry["name"])
            if self._cluster.find(where) is None:
                raise InputError(f"name: there is no {where}; apply it first, or leave it out")
            self._cluster.patch(where, entry["patch"], kind="json")

    # ---- what measures, and what users meet

    def _ask_source(self) -> None:
        options = PROMETHEUS.validate(dict(self._facts["release_prometheus"]))
        source = PrometheusSource.from_options(options, versions(self._facts))
        try:
            asked = needs(self._facts)
            source.check(asked)
            # What is new in the candidate is unknown until it runs.
            self.warnings += [f"release_metrics: {one}" for one in source.unknown(asked)]
            self.warnings += [f"release_prometheus: {one}" for one in source.warnings]
        except SourceDownError as error:
            raise InputError(f"url: {error.message}; start it, or give the address of one that runs") from error
        except RolloutError as error:
            for problem in error.details.get("problems") or [error.message]:
                self._tell("release_metrics", problem)
        finally:
            source.close()

    def _ask_edge(self) -> None:
        edge, named = self._facts["release_edge"], versions(self._facts)
        if len(named) < 2:  # told by the plan
            return
        asked = {
            **{key: edge[key] for key in ("url", "host", "path", "version_header")},
            "stable_version": named["stable"],
            "candidate_version": named["candidate"],
            "requests": _REQUESTS,
        }
        seen = probe(PROBE_SPEC.validate(asked), SystemClock())
        if seen["unrecognised"]:
            statuses = ", ".join(f"{count} times {status}" for status, count in sorted(seen["statuses"].items()))
            raise InputError(
                f"{seen['unrecognised']} of {seen['asked']} answers of {edge['url']} (host {edge['host']}, path"
                f" {edge['path']}) name neither {named['stable']} nor {named['candidate']} in the header"
                f" {edge['version_header']} (status: {statuses}); check host, path and version_header"
            )
