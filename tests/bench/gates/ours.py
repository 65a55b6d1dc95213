"""Our own rule: the collection's triggers and criteria over every stage, looked at as ``stage_watch`` does.

Triggers act at once. At a stage's planned end all criteria must pass; while one does not, the stage is extended, and at
the end of that the release is held. Without fresh samples or requests nothing passes, and the grace ends the stage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.analysis import (
    Criterion,
    Limits,
    Trigger,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.sequential import Counts
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import FAIL, PASS
from tests.bench.gates.ending import PROMOTED, ROLLED_BACK, UNDECIDED, Endings, Rule
from tests.bench.gates.plan import Plan, Stage
from tests.bench.gates.streams import EDGES, Bools, Floats, Ints, Stream

RULE = Rule("ours", "", documented=True)
CLUMP = 10.0
"""Failed requests that one cause may make, for the second of our rule sets."""
CLUMP_RULE = Rule("ours", f"clump {CLUMP:g}")
# Sums of fractions are only nearly what they should be.
_ROUNDING = 1e-6


class Seen(NamedTuple):
    """What one release's looks saw, look by look where there was a new sample. ``at`` in seconds."""

    at: Floats
    requests: Ints
    errors: Ints
    slower: dict[float, Ints]
    agents: Ints

    def between(self, after: float, until: float) -> Seen:
        """The looks later than ``after`` and no later than ``until``."""
        part = slice(*np.searchsorted(self.at, [after, until], side="right"))
        slower = {edge: counts[part] for edge, counts in self.slower.items()}
        return Seen(self.at[part], self.requests[part], self.errors[part], slower, self.agents[part])


class Ended(NamedTuple):
    ending: int
    at: float


def judge(stream: Stream, plan: Plan, clump: float = 1.0) -> Endings:
    """How every release of ``stream`` ends under the plan; up to ``clump`` failed requests may have one cause."""
    endings, times, advanced = [], [], np.full((stream.releases, len(plan.stages)), np.inf)
    for release in range(stream.releases):
        seen = seen_by(stream, release, plan.interval)
        ended = Ended(PROMOTED, 0.0)
        for number, stage in enumerate(plan.stages):
            ended = stage_end(seen, stage, ended.at, plan, clump)
            if ended.ending != PROMOTED:
                break
            advanced[release, number] = ended.at
        endings.append(ended.ending)
        times.append(ended.at)
    return Endings(np.array(endings), np.array(times), advanced)


def stage_end(seen: Seen, stage: Stage, begin: float, plan: Plan, clump: float = 1.0) -> Ended:
    """How a stage that begins at ``begin`` ends; PROMOTED stands for the next stage."""
    decision = _decided(seen, stage, begin, plan, clump)
    within = seen.between(begin, decision.at)
    errors = _fires(within, within.errors, stage.errors, begin, stage, clump)
    slow = _fires(within, within.slower[stage.latency_trigger], stage.slow_trigger, begin, stage)
    agents = within.at[within.agents > stage.agents]
    stopped = min(errors, slow, agents[0] if len(agents) else math.inf, _starved(within, begin, decision.at, plan))
    return Ended(ROLLED_BACK, stopped) if stopped <= decision.at else decision


def first_firing(
    at: Floats,
    offences: Ints,
    requests: Ints,
    limits: Limits,
    risk: float,
    stage: Stage,
    begin: float,
    clump: float = 1.0,
) -> float:
    """When a trigger fires that is told these counts at these times; infinite if never.

    The trigger is asked only where it can fire, which is nearly nowhere in a healthy release.
    """
    hopeful = _hopeful(offences, requests, limits, clump * _needed(risk))
    if not len(hopeful):
        return math.inf
    trigger = Trigger(limits, risk, stage.seconds + stage.extension, clump)
    before, asked = begin, set(hopeful.tolist())
    for look in range(int(hopeful[-1]) + 1):
        trigger.add(Counts(float(offences[look]), float(requests[look])), float(at[look]) - before)
        before = float(at[look])
        if look in asked and trigger.fails:
            return before
    return math.inf


def _fires(seen: Seen, offences: Ints, limits: Limits, begin: float, stage: Stage, clump: float = 1.0) -> float:
    return first_firing(seen.at, offences, seen.requests, limits, stage.risks.false_rollback, stage, begin, clump)


def _hopeful(offences: Ints, requests: Ints, limits: Limits, needed: float) -> Ints:
    """The looks at which a trigger that needs this much evidence may fire.

    A share beyond the limit since some look is a must, and so is enough evidence since some look: what the trigger
    weighs is a mean over looks and alternatives, and no mean is above the best of them.
    """
    bad, total = _sums(offences), _sums(requests)
    excess = bad - limits.unacceptable * total
    beyond = np.flatnonzero(excess[1:] > np.minimum.accumulate(excess)[:-1] - _ROUNDING)
    since_bad, since = (np.maximum(counts[beyond + 1, None] - counts[None, :], 0.0) for counts in (bad, total))
    most = _most_evidence(since_bad, since, limits.acceptable, above=True).max(axis=1)
    return beyond[most >= needed]


def _most_evidence(bad: Floats, total: Floats, share: float, *, above: bool) -> Floats:
    """Logarithm of the greatest likelihood ratio that any alternative beyond ``share`` can have."""
    found = np.divide(bad, total, out=np.full_like(total, share), where=total > 0)
    good = total - bad
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(bad > 0, bad * np.log(found / share), 0.0)
        ratio += np.where(good > 0, good * np.log((1 - found) / (1 - share)), 0.0)
    return np.where(found > share if above else found < share, ratio, 0.0)


def _needed(risk: float) -> float:
    return math.log(1 / risk) - _ROUNDING


def _decided(seen: Seen, stage: Stage, begin: float, plan: Plan, clump: float) -> Ended:
    """What the criteria decide, and when, if no trigger does before. They are asked only where all of them may pass."""
    end, deadline = begin + stage.seconds, begin + stage.seconds + stage.extension
    within = seen.between(begin, deadline)
    decisions = np.concatenate([[end], within.at[within.at > end]])
    looks = np.searchsorted(within.at, decisions, side="right")
    total = _sums(within.requests)[looks]
    judged = [(stage.errors, _sums(within.errors)[looks]), (stage.slow, _sums(within.slower[stage.latency])[looks])]
    clumps = (clump, 1.0)
    criteria = [Criterion(limits, stage.risks, each) for (limits, _bad), each in zip(judged, clumps, strict=True)]
    evidence = [
        _most_evidence(bad, total, limits.unacceptable, above=False) / each
        for (limits, bad), each in zip(judged, clumps, strict=True)
    ]
    told = -1
    enough = np.min(evidence, axis=0) >= _needed(stage.risks.false_advance)
    for number in np.flatnonzero(enough & _fed(within, begin, decisions, plan)).tolist():
        if set(_tell(criteria, judged, total, told, number)) == {PASS}:
            return Ended(PROMOTED, float(decisions[number]))
        told = number
    verdicts = _tell(criteria, judged, total, told, len(decisions) - 1)
    return Ended(ROLLED_BACK if FAIL in verdicts else UNDECIDED, deadline)


def _sums(counts: Ints) -> Floats:
    return np.concatenate([[0.0], np.cumsum(counts)])


def _tell(
    criteria: Sequence[Criterion], judged: Sequence[tuple[Limits, Floats]], total: Floats, told: int, until: int
) -> list[str]:
    """The verdicts once the criteria know what was seen, which they weigh alike in one piece or look by look."""
    for criterion, (_limits, bad) in zip(criteria, judged, strict=True):
        new = [counts[until] - (counts[told] if told >= 0 else 0.0) for counts in (bad, total)]
        criterion.add(Counts(float(new[0]), float(new[1])))
    return [criterion.standing.verdict for criterion in criteria]


def _fed(seen: Seen, begin: float, at: Floats, plan: Plan) -> Bools:
    """Whether samples are fresh, and requests not long ago, at each of the times."""
    fed = np.ones(len(at), dtype=bool)
    for known, patience in ((seen.at, plan.freshness), (seen.at[seen.requests > 0], plan.quiet)):
        last = np.concatenate([[begin], known])[np.searchsorted(known, at, side="right")]
        fed &= at - last <= patience
    return fed


def _starved(seen: Seen, begin: float, end: float, plan: Plan) -> float:
    """When there has been no evidence for the whole grace; infinite if never."""
    times = [math.inf]
    for known, patience in ((seen.at, plan.freshness), (seen.at[seen.requests > 0], plan.quiet)):
        lasting = patience + plan.interval + plan.grace
        fed = np.concatenate([[begin], known, [end]])
        times += (fed[:-1][np.diff(fed) >= lasting] + lasting).tolist()
    return min(times)


def seen_by(stream: Stream, release: int, interval: float) -> Seen:
    """The samples of one release as increments since the one before, at the first look that can know them."""
    present = stream.present[release]
    at = np.ceil(stream.times[present] / interval) * interval

    def new(counter: Ints) -> Ints:
        return np.diff(counter[release][present], prepend=0)

    requests = new(stream.requests)
    slower = {edge: requests - new(stream.faster[number]) for number, edge in enumerate(EDGES)}
    return Seen(at, requests, new(stream.errors), slower, stream.agents_failed[release][present])
