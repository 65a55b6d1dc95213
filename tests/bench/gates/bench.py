"""``make bench-gates``: our gates and the peers' rules over the same simulated releases, from a seed."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from typing import Any

from rehearsal.cli import REPOSITORY
from tests.bench.gates import report, verdict
from tests.bench.gates.cell import Batch, Cells, batches, run
from tests.bench.gates.plan import Plan, read_plan
from tests.bench.gates.scenarios import AT_LINE, BAD, BLIND, CLUMPED, HEALTHY

RESULT = REPOSITORY / "build" / "bench-gates.json"
RATES = (1.0, 10.0, 100.0, 1000.0)
RELEASES, SEED = 2000, 20261121
# Of the healthy ones; what is bad shows in fewer.
_SHARES = {HEALTHY: 1.0, CLUMPED: 0.25, AT_LINE: 1.0, BAD: 0.25, BLIND: 0.05}
_TOLD_EVERY = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when our rule kept its bounds, else 1."""
    options = _options(arguments)
    releases = {kind: max(1, round(share * options.releases)) for kind, share in _SHARES.items()}
    plan, began = read_plan(), time.monotonic()
    cells = simulate(batches(releases, options.rates), plan, options.seed, options.jobs)
    print("\n".join([*_head(options, releases), *report.lines(cells, options.rates)]))
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    seconds = time.monotonic() - began
    RESULT.write_text(json.dumps(_document(cells, plan, options, releases, seconds), indent=1) + "\n")
    print(f"\n{seconds:.0f} s; all numbers are in {RESULT.relative_to(REPOSITORY)}")
    return 1 if any(promise.broken for promise in verdict.promises(cells, options.rates)) else 0


def simulate(todo: Sequence[Batch], plan: Plan, seed: int, jobs: int) -> Cells:
    """All batches, side by side; progress goes to standard error."""
    cells, began, told = Cells(), time.monotonic(), 0.0
    with ProcessPoolExecutor(jobs) as pool:
        running = [pool.submit(run, batch, plan, seed) for batch in todo]
        try:
            for done, future in enumerate(as_completed(running), 1):
                cells.add(future.result())
                spent = time.monotonic() - began
                if spent - told > _TOLD_EVERY or done == len(todo):
                    told = spent
                    print(f"{done} of {len(todo)} batches, {spent:.0f} s", file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return cells


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-gates", description=__doc__)
    parser.add_argument("--releases", type=_count, default=RELEASES, help="healthy releases per cell (%(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="the same seed, the same releases (%(default)s)")
    parser.add_argument("--rates", type=_rate, nargs="+", default=list(RATES), help="requests/s to the candidate")
    parser.add_argument("--jobs", type=_count, default=len(os.sched_getaffinity(0)), help="processes (%(default)s)")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1e5:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of requests/s above 0 and up to 100000")
    return rate


def _head(options: argparse.Namespace, releases: dict[str, int]) -> list[str]:
    told = ", ".join(f"{count} {kind}" for kind, count in releases.items())
    return [f"Simulated releases per scenario and rate: {told}; seed {options.seed}. In brackets: 95 % intervals."]


def _document(
    cells: Cells, plan: Plan, options: argparse.Namespace, releases: dict[str, int], seconds: float
) -> dict[str, Any]:
    """Ready for JSON."""
    return {
        "seed": options.seed,
        "releases": releases,
        "rates": options.rates,
        "seconds": round(seconds, 1),
        "plan": asdict(plan),
        "cells": cells.document(),
        "best": {
            f"{rate:g}": {family: verdict.best(cells, rate, family).settings for family in verdict.FAMILIES}
            for rate in options.rates
        },
        "broken": [promise.text for promise in verdict.promises(cells, options.rates) if promise.broken],
        "faster": [asdict(one) for one in verdict.faster(cells, options.rates)],
    }


if __name__ == "__main__":
    sys.exit(main())
