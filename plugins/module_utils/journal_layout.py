# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a journal lies in ConfigMaps, none of which may grow past what the API server takes. Pure.

The newest events lie with the header in one ConfigMap, always the same, so that its resource version alone tells who
writes next. When they become many, those that are there already are copied into a part that never changes again, and
leave the newest ConfigMap in the same write that adds the next event. A part holds nothing that was not in the
journal before, so one that a killed writer left is as good as one's own. Data too large for an event lies apart, in
ConfigMaps named after its own checksum.
"""

from __future__ import annotations

import hashlib
import json
import re
import typing as t
from dataclasses import asdict, dataclass, replace

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import JournalError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import (
    KIB,
    ROLLING_BACK,
    SCHEMA,
    Journal,
    Json,
    Part,
    began_rollback,
)

MANAGED_BY = "claude_enhancer.rollout"
SCHEMA_ANNOTATION = "rollout.claude-enhancer.io/journal-schema"
RELEASE_LABEL = "rollout.claude-enhancer.io/release"
JOURNAL, PART, ARCHIVE, HISTORY = "release-journal", "release-journal-part", "release-archive", "release-history"
HEADER_KEY, PARTS_KEY, PART_KEY, CHUNK_KEY = "release.json", "parts.json", "part.json", "data.json"
EVENT_KEY, ENTRY_KEY = "event-%06d", "release-%06d"
_READABLE = ("1", SCHEMA)

ROLL_AT = 128 * KIB
"""Bytes of events in the newest ConfigMap from which on they go into a part."""
MAX_PART = 512 * KIB
MAX_EVENT = 48 * KIB
"""Bytes of an event's data from which on it lies apart."""
MAX_RELEASES = 2000
"""How many finished releases the history can list within one ConfigMap."""
_SHORT = 200
_DECIDES = ("state", "verdict", "on_interrupt", "reason", "failure", "why")
_LONGEST_SLUG = 60
_DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

Data = dict[str, str]


@dataclass(frozen=True)
class Made:
    """A ConfigMap that has to be there before the newest one is written."""

    name: str
    data: Data


@dataclass(frozen=True)
class Layout:
    """``head`` as it goes into the newest ConfigMap, and what has to be there before."""

    head: Journal
    chunks: tuple[Made, ...]
    part: Made | None


# ---- names -------------------------------------------------------------------------------------------------


def slug(release_id: str) -> str:
    """The id as Kubernetes takes it in names and labels; told apart by a checksum where that loses something."""
    plain = re.sub(r"[^a-z0-9]+", lambda found: found[0] if found[0] in ".-" else "-", release_id.lower())
    plain = plain.strip("-.")[:_LONGEST_SLUG].strip("-.")
    if plain == release_id:
        return plain
    mark = hashlib.sha256(release_id.encode()).hexdigest()[:8]
    return f"{plain[: _LONGEST_SLUG - 9].strip('-.')}-{mark}".strip("-")


def labels(application: str, kind: str, release_id: str = "") -> dict[str, str]:
    """``kind``: one of ``JOURNAL``, ``PART``, ``ARCHIVE``, ``HISTORY``, or that of another ConfigMap of a release."""
    release = {RELEASE_LABEL: slug(release_id)} if release_id else {}
    return {
        "app.kubernetes.io/managed-by": MANAGED_BY,
        "app.kubernetes.io/component": kind,
        "app.kubernetes.io/part-of": application,
        **release,
    }


def archive_name(application: str, release_id: str) -> str:
    """The name of a finished release's ConfigMap: a DNS name, so in small letters."""
    plain = re.sub(r"[^a-z0-9.-]+", "-", release_id.lower()).strip("-.")
    if re.match(r"(journal|history|snapshot|lock|id)(-|$)", plain) or not _DNS_NAME.fullmatch(plain):
        return exact_archive_name(application, release_id)
    return f"{application}-release-{plain}"


def exact_archive_name(application: str, release_id: str) -> str:
    """Another name, for an id that differs from another one only in what names can't tell."""
    return f"{application}-release-id-{slug(release_id)}"


def history_name(application: str) -> str:
    return f"{application}-{HISTORY}"


def _part_name(journal: Journal, number: int) -> str:
    return f"{journal.header['application']}-release-journal-{slug(journal.release_id)}-{number:04d}"


# ---- the newest ConfigMap ----------------------------------------------------------------------------------


def to_data(journal: Journal) -> Data:
    """``data`` of the newest ConfigMap: ``release.json`` and ``parts.json`` for reading, one line per event."""
    events = {EVENT_KEY % event["seq"]: _line(event) for event in journal.events}
    parts = [asdict(part) for part in journal.parts]
    listed = {PARTS_KEY: json.dumps(parts, indent=1)} if parts else {}
    return {HEADER_KEY: json.dumps(journal.header, indent=1), **listed, **events}


def from_data(data: t.Mapping[str, str], where: str) -> Journal:
    """Read back :func:`to_data`. Raises JournalError naming ``where`` and what can't be read."""
    try:
        header = json.loads(data[HEADER_KEY])
        parts = tuple(Part(**part) for part in json.loads(data.get(PARTS_KEY, "[]")))
        events = _events(data)
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(where, error) from error
    _check_schema(header.get("schema"), where)
    return Journal(_upgraded(header, events), events, parts)


def _upgraded(header: Json, events: tuple[Json, ...]) -> Json:
    """A header of schema 1 with what has come since; then all events lay beside it."""
    if header["schema"] == SCHEMA:
        return header
    begun = [event for event in events if event.get("data", {}).get("state") == ROLLING_BACK]
    rollbacks = [event for event in begun if event["what"] == "state_changed"]
    rollback = began_rollback(rollbacks[-1]) if rollbacks else None
    return {**header, "schema": SCHEMA, "rollback": rollback}


def _events(data: t.Mapping[str, str]) -> tuple[Json, ...]:
    events = [json.loads(value) for key, value in data.items() if key.startswith("event-")]
    return tuple(sorted(events, key=lambda event: event["seq"]))


def _line(event: Json) -> str:
    return json.dumps(event, sort_keys=True)


def _unreadable(where: str, error: Exception) -> JournalError:
    return JournalError(f"{where} is no journal that can be read: {error}; restore or delete it", object=where)


def _check_schema(schema: t.Any, where: str) -> None:
    if schema not in _READABLE:
        raise JournalError(
            f"{where} has journal schema {schema!r}, this collection reads {', '.join(_READABLE)};"
            " use the version of claude_enhancer.rollout that wrote it",
            object=where,
        )


# ---- roll-over ---------------------------------------------------------------------------------------------


def laid_out(journal: Journal) -> Layout:
    """Where everything goes. With a ``part`` the layout isn't done: :func:`sealed` it, and lay out what is left."""
    chunks: list[Made] = []
    events: list[Json] = []
    for event in journal.events:
        kept, apart = _set_apart(journal, event)
        events.append(kept)
        chunks += apart
    head = replace(journal, events=tuple(events))
    sizes = [len(_line(event)) for event in events]
    if len(events) < 2 or sum(sizes) <= ROLL_AT:
        return Layout(head, tuple(chunks), None)
    return Layout(head, tuple(chunks), _part(head, _fitting(sizes)))


def _fitting(sizes: t.Sequence[int]) -> int:
    """How many events go into the next part: all but the newest, as far as it holds them."""
    count, taken = 0, 0
    while count < len(sizes) - 1 and (count == 0 or taken + sizes[count] <= MAX_PART):
        taken += sizes[count]
        count += 1
    return count


def _part(head: Journal, count: int) -> Made:
    number = len(head.parts) + 1
    events = head.events[:count]
    described = {
        "schema": SCHEMA,
        "application": head.header["application"],
        "release_id": head.release_id,
        "part": number,
        "first": events[0]["seq"],
        "last": events[-1]["seq"],
    }
    lines = {EVENT_KEY % event["seq"]: _line(event) for event in events}
    return Made(_part_name(head, number), {PART_KEY: json.dumps(described, indent=1), **lines})


def sealed(head: Journal, part: Made, data: t.Mapping[str, str], where: str) -> Journal:
    """``head`` without the events that ``part`` holds; ``data`` is what lies there, maybe by another writer.

    Raises JournalError where it holds something else than the journal did.
    """
    held = part_events(data, where)
    if not held or list(head.events[: len(held)]) != list(held):
        raise JournalError(
            f"{where} isn't the next part of the journal of release {head.release_id}, though it has its name;"
            " keep it aside under another name and delete it",
            object=where,
        )
    entry = Part(part.name, held[0]["seq"], held[-1]["seq"])
    return replace(head, events=head.events[len(held) :], parts=(*head.parts, entry))


def _set_apart(journal: Journal, event: Json) -> tuple[Json, list[Made]]:
    """The event as it is written, and the ConfigMaps that hold its data where it is too large for that."""
    text = json.dumps(event.get("data", {}), sort_keys=True)
    if "apart" in event or len(text) <= MAX_EVENT:
        return event, []
    mark = hashlib.sha256(text.encode()).hexdigest()
    base = f"{journal.header['application']}-release-journal-{slug(journal.release_id)}-data-{mark[:16]}"
    pieces = [text[start : start + MAX_PART] for start in range(0, len(text), MAX_PART)]
    made = [Made(f"{base}-{number}", {CHUNK_KEY: piece}) for number, piece in enumerate(pieces, 1)]
    apart = {"in": [one.name for one in made], "sha256": mark, "bytes": len(text)}
    return {**event, "data": _short_part(event["data"]), "apart": apart}, made


def _short_part(data: Json) -> Json:
    """What people look for first, to be read without the rest."""
    return {key: data[key] for key in _DECIDES if isinstance(data.get(key), str) and len(data[key]) <= _SHORT}


# ---- reading the whole -------------------------------------------------------------------------------------


def part_events(data: t.Mapping[str, str], where: str) -> tuple[Json, ...]:
    """The events of a part. Raises JournalError naming ``where``."""
    try:
        _check_schema(json.loads(data[PART_KEY])["schema"], where)
        return _events(data)
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(where, error) from error


def names_apart(events: t.Iterable[Json]) -> list[str]:
    """The ConfigMaps with data of ``events``."""
    return [name for event in events for name in event.get("apart", {}).get("in", [])]


def joined(event: Json, chunks: t.Mapping[str, t.Mapping[str, str]], where: str) -> Json:
    """``event`` with its data; ``chunks`` are the ConfigMaps of :func:`names_apart`. Raises JournalError."""
    apart = event.get("apart")
    if apart is None:
        return event
    text = "".join(chunks[name].get(CHUNK_KEY, "") for name in apart["in"])
    if hashlib.sha256(text.encode()).hexdigest() != apart["sha256"]:
        raise JournalError(
            f"{where}: the data of event {event['seq']} isn't what was written ({', '.join(apart['in'])} differ);"
            " restore them from a backup",
            object=where,
        )
    return {key: value for key, value in event.items() if key != "apart"} | {"data": json.loads(text)}


def completed(journal: Journal, older: t.Iterable[Json], where: str) -> Journal:
    """``journal`` with the ``older`` events of its parts. Raises JournalError where a number is missing or doubled."""
    events = (*older, *journal.events)
    found, wanted = [event["seq"] for event in events], journal.header["sequence"]
    if found != list(range(1, wanted + 1)):
        missing = sorted(set(range(1, wanted + 1)) - set(found))
        said = f"lacks the events {_ranges(missing)}" if missing else "holds an event twice"
        raise JournalError(
            f"{where} {said}, of {wanted} that were written; restore its parts from a backup", object=where
        )
    return replace(journal, events=events, parts=())


def _ranges(numbers: t.Sequence[int]) -> str:
    """``3, 7 to 9``"""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in spans)


# ---- the list of finished releases -------------------------------------------------------------------------


def history_entry(journal: Journal, name: str) -> Json:
    """A line of the history: the release, and the ConfigMap ``name`` that holds its journal."""
    kept = ("release_id", "versions", "state", "started", "ended", "opened_by")
    return {**{key: journal.header[key] for key in kept}, "journal": name}


def history_to_data(entries: t.Mapping[int, Json]) -> Data:
    """``data`` of the history; numbers grow with each release and are never used again."""
    return {ENTRY_KEY % number: json.dumps(entry) for number, entry in sorted(entries.items())}


def history_from_data(data: t.Mapping[str, str], where: str) -> dict[int, Json]:
    """Read back :func:`history_to_data`. Raises JournalError naming ``where``."""
    try:
        found = {int(key.removeprefix("release-")): json.loads(value) for key, value in data.items()}
    except ValueError as error:
        raise JournalError(f"{where} is no history that can be read: {error}; restore or delete it") from error
    return dict(sorted(found.items()))
