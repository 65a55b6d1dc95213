"""What a bench found, as text for people. Pure."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence

from tests.bench.calls import CORE, OTHER, ROLLOUT, Span
from tests.bench.figures import Measurement
from tests.bench.table import WIDTH, number, table

DEFINITIONS = {
    "time": (
        "in seconds; a process is timed from its start to its end. x floor: the median as a multiple of the "
        "floor's median in the same minutes."
    ),
    "floor": "ansible-playbook with one task that imports the Kubernetes client and reads the journal.",
    "rollback": (
        "ansible-playbook claude_enhancer.rollout.rollback with a kubeconfig, a reason and rollback_force=true, at 5 % "
        "weight. Command: start of the process. Last request and last answer: the last that the load sent to the "
        "candidate and got from it. Verified: the journal was closed as rolled_back."
    ),
    "by": (
        "rollback.yml: as above. Shell script: kubectl, one step after the other, a fixed sleep of 10 s, one look. "
        "kubernetes.core playbook: does and proves what ours does, its patches given ready-made. Verified is the end "
        "of the process for both. All begin from the same objects, put back before each run; a last request of 0 had "
        "been sent before the process began."
    ),
    "breach": (
        "stage_watch looks every second, then 30 % of the candidate's answers become errors. Fault: just before the "
        "fault is sent. Seen: a look judged that a trigger holds. Weight 0 stored: the API had answered. The last "
        "request can come before that: at 5 % of 300 requests/s the candidate gets one every 0.067 s."
    ),
    "weight change": (
        "ansible-playbook with one task that changes the weight of every weighted route; kubectl patch is a command "
        "task. API calls: the usual number, and the most where they differ; discovery is cached after the first run."
    ),
    "API calls": (
        "requests in the API server's audit log by user agent, received between begin and end of a stage in the "
        "journal. Between stages: all others from the start of the playbook to its end."
    ),
}
_TERM_WIDTH = 15


def definitions() -> list[str]:
    """What exactly the words in the tables mean."""
    lines = []
    for term, meaning in DEFINITIONS.items():
        lines += textwrap.wrap(
            meaning, WIDTH, initial_indent=term.ljust(_TERM_WIDTH), subsequent_indent=" " * _TERM_WIDTH
        )
    return lines


def times(compared: Sequence[Measurement], others: Sequence[Measurement] = ()) -> list[str]:
    """Medians and maxima of what is measured in time; the first of ``compared`` is the floor of the rest of them."""
    rows = []
    for one in [*compared, *others]:
        multiple = number(one.times(compared[0]), 2) if one in compared else ""
        cells = [number(one.median), number(one.maximum), multiple, str(len(one.values))]
        rows.append([one.name, *cells] if one.values else [one.name, "FAILED", "", "", "0"])
    return table(["time", "median s", "max s", "x floor", "runs"], rows)


def releases(spans: Sequence[tuple[Span, Mapping[str, int]]]) -> list[str]:
    """API calls per stage and client."""
    clients = [ROLLOUT, CORE, OTHER]
    total: Counter[str] = Counter()
    rows = []
    for span, counts in spans:
        total.update(counts)
        rows.append([span.name, number(span.ended - span.began, 1), *_calls(counts, clients)])
    rows.append(["whole release", number(spans[-1][0].ended - spans[-1][0].began, 1), *_calls(total, clients)])
    return table(["API calls of one release", "lasted s", *clients, "all"], rows)


def _calls(counts: Mapping[str, int], clients: Sequence[str]) -> list[str]:
    found = [counts.get(client, 0) for client in clients[:-1]]
    everything = sum(counts.values())
    return [str(value) for value in [*found, everything - sum(found), everything]]


def changes(rows: Sequence[tuple[Measurement, Sequence[int]]], floor: Measurement) -> list[str]:
    """Time and API calls of each way to change a weight."""
    cells = []
    for one, counts in rows:
        seconds = [number(one.median), number(one.maximum), number(one.times(floor), 2)]
        cells.append([one.name, *(seconds if one.values else ["FAILED", "", ""]), _usual(counts), str(len(one.values))])
    return table(["weight change", "median s", "max s", "x floor", "API calls", "runs"], cells)


def _usual(counts: Sequence[int]) -> str:
    if not counts:
        return "–"
    usual, most = Counter(counts).most_common(1)[0][0], max(counts)
    return str(usual) if usual == most else f"{usual} (most {most})"
