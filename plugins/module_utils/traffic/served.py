# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading a traffic object in the newest API version that the cluster serves, and saying well what is missing."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Ref
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import NotFoundError


def read_newest(
    get: t.Callable[[Ref], dict[str, t.Any]], refs: t.Sequence[Ref], server: str, question: str
) -> tuple[Ref, dict[str, t.Any]]:
    """The first of ``refs``, which name one object in several API versions, that is served; and the object.

    ``question`` is what to ask oneself where none is.
    """
    for ref in refs:
        try:
            return ref, get(ref)
        except NotFoundError as error:
            if error.served:
                raise NotFoundError(
                    f"name: there is no {ref.kind} {ref.name} in namespace {ref.namespace}; "
                    "apply it before its weight is set",
                    status=error.status,
                    reason=error.reason,
                ) from error
    raise NotFoundError(
        f"provider: the cluster {server} doesn't serve {refs[0].kind} of "
        f"{' or '.join(ref.api_version for ref in refs)}; {question}",
        status=404,
        served=False,
    )
