# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of a release in progress when ``deploy.yml`` is started again: ``release_resume``. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import JournalError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import (
    ROLLING_BACK,
    Author,
    Journal,
    refuse_to_open,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Lock, iso, rolls_back

RESUME, RESTART, ROLLBACK = CHOICES = ("resume", "restart", "rollback")


@dataclasses.dataclass(frozen=True)
class Resume:
    """What to do. ``take_back`` the release in progress first, for ``reason``; then the run ``ends``, or goes on.

    ``goes_on``: the release in progress is taken up as it is. ``notice`` says where the choice had nothing to do.
    """

    asked: str
    goes_on: bool = False
    take_back: bool = False
    ends: bool = False
    reason: str = ""
    notice: str = ""


def problem_with(asked: t.Any) -> str:
    """What is wrong with a value of ``release_resume``; empty where nothing is."""
    if asked in CHOICES:
        return ""
    return (
        f"release_resume: {asked!r} is not one of {', '.join(CHOICES)}: resume goes on with the release in progress, "
        "restart takes it back and begins anew, rollback takes it back and ends"
    )


def decide(
    journal: Journal | None, asked: str, release_id: str, versions: t.Mapping[str, str], author: Author
) -> Resume:
    """What ``asked`` means for the release in ``journal``, where ``release_id`` of ``versions`` was to be opened.

    Raises JournalError where that can't be: the release is another one, or its rollback was not finished.
    """
    if journal is None or journal.closed:
        return _without_release(journal, asked)
    if journal.header["versions"] != versions or (asked == RESUME and journal.state == ROLLING_BACK):
        _refuse(journal, release_id, versions)
    if asked == RESUME:
        return Resume(asked, goes_on=True)
    by = f"{author.who} on {author.host}"
    if asked == ROLLBACK:
        return Resume(asked, take_back=True, ends=True, reason=f"resume: rolled back on request of {by}")
    return Resume(asked, take_back=True, reason=f"resume: taken back on request of {by}, to begin anew")


def _without_release(journal: Journal | None, asked: str) -> Resume:
    last = f" (the last one, {journal.release_id}, is {journal.state})" if journal else ""
    if asked == ROLLBACK:
        notice = f"release_resume=rollback: no release is in progress{last}, so there is nothing to take back"
        return Resume(asked, ends=True, notice=f"{notice}; nothing was changed, and nothing begins")
    if asked == RESTART:
        notice = f"release_resume=restart: no release is in progress{last}, so a new one begins, as without it"
        return Resume(asked, notice=notice)
    return Resume(asked)


def _refuse(journal: Journal, release_id: str, versions: t.Mapping[str, str]) -> None:
    try:
        refuse_to_open(journal, release_id, dict(versions))
    except JournalError as error:
        if journal.header["versions"] == versions:
            error.message += (
                "; or let this finish it: -e release_resume=rollback ends there, -e release_resume=restart begins a "
                "new release after it"
            )
        raise


def cut_off(lock: Lock | None, journal: Journal) -> str:
    """Why a release in progress isn't to be gone on with: somebody began to take it back, by ``lock``; or empty.

    Such a rollback takes users off the candidate first, then the lock, and only then writes into the journal. Its lock
    stays where it was killed in between.
    """
    if lock is None or not rolls_back(lock.holder, journal.release_id):
        return ""
    return (
        f"release {journal.release_id} is being taken back by {lock.holder} since {iso(lock.acquired)}, or that was "
        "cut off before the journal said so; let it end, or finish it with claude_enhancer.rollout.rollback or -e "
        "release_resume=rollback, or begin anew with -e release_resume=restart; to go on with the release instead, say "
        "why with -e release_take_over"
    )


def fresh_id(release_id: str, journal: Journal | None) -> str:
    """``release_id``, numbered where the last release has it: a fixed ``release_start_at`` gives each the same."""
    if journal is None or not journal.closed:
        return release_id
    if journal.release_id == release_id:
        return f"{release_id}-2"
    numbered = re.fullmatch(rf"{re.escape(release_id)}-(\d+)", journal.release_id)
    return f"{release_id}-{int(numbered[1]) + 1}" if numbered else release_id
