# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What workflow_snapshot does, one function for each action: options in, the module's answer out."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database import writes
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.base import Database, Row
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.catalogue import (
    Author,
    Catalogue,
    Snapshot,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.differences import compare, total
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.errors import DataSnapshotError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.prune import prune
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.restore import restore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.sides import Side, compare_sides
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.structure import (
    Table,
    check_kinds,
    describe,
    resolve,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.database.take import Wanted, take, verify
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError

Options = t.Mapping[str, t.Any]
Open = t.Callable[[Options], Database]
"""Opens the database that an option such as ``database`` describes."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One call of the module. ``places`` are the tables of ``tables``, as schema and name."""

    options: Options
    database: Database
    catalogue: Catalogue
    places: list[tuple[str, str]]
    author: Author
    clock: Clock
    check_mode: bool
    open_database: Open

    @property
    def patience(self) -> float:
        return float(self.options["lock_timeout"])

    @property
    def tables(self) -> list[Table]:
        """The tables of the option, as they are now."""
        return describe(self.database, self.places)


def carry_out(options: Options, open_database: Open, author: Author, clock: Clock, *, check_mode: bool) -> Row:
    """Do the action that ``options`` ask for, and close what was opened for it."""
    _check(options)
    with contextlib.closing(open_database(options["database"])) as database:
        places = resolve(database, options["tables"]) if options["tables"] else []
        database.look_only_in_catalog()
        catalogue = Catalogue(database, options["catalogue"])
        run = Run(options, database, catalogue, places, author, clock, check_mode, open_database)
        return {"changed": False, **_ACTIONS[options["action"]](run)}


def _check(options: Options) -> None:
    """Raises InputError naming every option that the action lacks or that makes no sense."""
    action = options["action"]
    problems = []
    if action == "restore" and not (options["name"] or options["release_id"]):
        problems.append("name: is needed to restore, or release_id; a snapshot isn't guessed")
    named = options["name"] or options["application"] or options["other"]
    if action in ("verify", "compare", "restore") and not named:
        problems.append("application: is needed to find a snapshot without its name")
    if action == "pause" and not options["tables"]:
        problems.append("tables: name those whose writes are to be paused")
    if options["other"] and (action != "compare" or not options["tables"]):
        problems.append("other: is for action=compare, and needs tables")
    problems += [
        f"{name}: must be 0 or more, not {options[name]:g}"
        for name in ("keep_days", "wait", "limit", "statement_timeout")
        if options[name] < 0
    ]
    if options["lock_timeout"] <= 0:
        problems.append(f"lock_timeout: must be more than 0 seconds, not {options['lock_timeout']:g}")
    if problems:
        raise InputError("; ".join(problems), problems=problems)


def _chosen(run: Run) -> Snapshot:
    """The snapshot of ``name``, else of ``release_id``, else the newest of the application."""
    options = run.options
    if options["name"]:
        return run.catalogue.get(options["name"])
    if options["release_id"]:
        found = run.catalogue.of_release(options["application"], options["release_id"])
        if found is None:
            raise DataSnapshotError(
                f"release_id: release {options['release_id']} of {options['application']} has no snapshot in"
                f" {run.database.where}; name one, action=status lists them"
            )
        return found
    return run.catalogue.newest(options["application"])


def _status(run: Run) -> Row:
    wanted = run.options["application"]
    snapshots = [each.as_dict() for each in run.catalogue.all() if not wanted or each.application == wanted]
    return {
        "snapshots": snapshots,
        "restores": run.catalogue.recorded_restores(),
        "paused": [each._asdict() for each in writes.paused(run.database)],
        "where": run.database.where,
    }


def _take(run: Run) -> Row:
    options = run.options
    wanted = Wanted(
        application=options["application"],
        prefix=options["prefix"] or options["application"],
        version=options["version"],
        release_id=options["release_id"],
        tables=tuple(run.places),
        author=run.author,
    )
    snapshot, taken = take(
        run.database, run.catalogue, wanted, patience=run.patience, clock=run.clock, dry_run=run.check_mode
    )
    diff = {"before": {}, "after": {"name": snapshot.name, "tables": sorted(snapshot.as_dict()["tables"])}}
    return {"changed": taken, **_named(snapshot), **({"diff": diff} if taken else {})}


def _named(snapshot: Snapshot) -> Row:
    return {"name": snapshot.name, "snapshot": snapshot.as_dict()}


def _verify(run: Run) -> Row:
    snapshot = _chosen(run)
    with run.database.transaction("REPEATABLE READ", read_only=True):
        tables = verify(run.database, snapshot)
    return {**_named(snapshot), "tables": tables}


def _compare(run: Run) -> Row:
    other = run.options["other"]
    if other:
        return _compare_sides(run, other)
    snapshot = _chosen(run)
    tables, structure = compare(run.database, snapshot, run.options["limit"])
    return {**_named(snapshot), "tables": tables, "equal": total(tables) == 0, "structure": structure}


def _compare_sides(run: Run, other: Options) -> Row:
    with contextlib.closing(run.open_database(other["database"])) as database:
        places = resolve(database, other["tables"]) if other["tables"] else run.places
        database.look_only_in_catalog()
        here, there = run.tables, describe(database, places)
        check_kinds([*here, *there])
        missing = sorted({f"{schema}.{name}" for schema, name in places} - {str(table) for table in there})
        if missing:
            raise InputError(f"other.tables: {', '.join(missing)}: no such table in {database.where}")
        found = compare_sides(
            Side(run.database, here),
            Side(database, there),
            run.options["limit"],
            wait=run.options["wait"],
            clock=run.clock,
        )
    tables = {name: difference.as_dict() for name, difference in found.items()}
    return {"tables": tables, "equal": all(difference.equal for difference in found.values())}


def _restore(run: Run) -> Row:
    snapshot = _chosen(run)
    if run.check_mode:
        verify(run.database, snapshot)
        tables, structure = compare(run.database, snapshot, run.options["limit"])
        answer: Row = {"changed": total(tables) > 0, "archive": None, "sequences": []}
    else:
        done = restore(
            run.database,
            run.catalogue,
            snapshot,
            run.author,
            run.options["reason"],
            patience=run.patience,
            clock=run.clock,
        )
        tables, structure = done.tables, done.structure
        answer = {"changed": done.changed, "archive": done.archive, "sequences": done.sequences}
    counts = {name: {what: table[what] for what in ("added", "changed", "deleted")} for name, table in tables.items()}
    none = {name: dict.fromkeys(table, 0) for name, table in counts.items()}
    header = f"rows that differ from snapshot {snapshot.name}"
    diff = {"before_header": header, "after_header": header, "before": counts, "after": none}
    told = {"tables": tables, "structure": structure, "paused": _paused_names(run)}
    return {**_named(snapshot), **answer, **told, "diff": diff}


def _paused_names(run: Run) -> list[str]:
    return [each.table for each in writes.paused(run.database)]


def _pause(run: Run) -> Row:
    before = _paused_names(run)
    tables = run.tables
    if run.check_mode:
        touched = [str(table) for table in tables if str(table) not in before]
    else:
        touched = writes.pause(
            run.database,
            run.catalogue,
            tables,
            run.author,
            run.options["reason"],
            patience=run.patience,
            clock=run.clock,
        )
    return _paused_answer(before, sorted({*before, *touched}), touched)


def _resume(run: Run) -> Row:
    before = _paused_names(run)
    known = run.tables if run.places else describe(run.database, writes.paused_places(run.database))
    if run.check_mode:
        touched = [str(table) for table in known if str(table) in before]
    else:
        touched = writes.resume(run.database, run.catalogue, known, patience=run.patience, clock=run.clock)
    return _paused_answer(before, [name for name in before if name not in touched], touched)


def _paused_answer(before: list[str], after: list[str], touched: list[str]) -> Row:
    diff = {"before": {"paused": before}, "after": {"paused": after}}
    return {"changed": bool(touched), "tables": touched, "paused": after, "diff": diff}


def _prune(run: Run) -> Row:
    options = run.options
    pruned = prune(
        run.database,
        run.catalogue,
        options["application"],
        options["keep_days"],
        [release for release in [options["release_id"], *options["protect"]] if release],
        patience=run.patience,
        clock=run.clock,
        dry_run=run.check_mode,
    )
    diff = {"before": {"snapshots": pruned}, "after": {"snapshots": []}}
    return {"changed": bool(pruned), "pruned": pruned, "diff": diff}


_ACTIONS: dict[str, t.Callable[[Run], Row]] = {
    "status": _status,
    "take": _take,
    "verify": _verify,
    "compare": _compare,
    "restore": _restore,
    "pause": _pause,
    "resume": _resume,
    "prune": _prune,
}
