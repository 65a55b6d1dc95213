# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the API server and its controllers write into an object, beside what its owner wrote. Pure."""

from __future__ import annotations

import typing as t

SERVER_METADATA = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)


def without_server_fields(item: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The object without status and without the metadata that the server owns."""
    metadata = {key: value for key, value in item["metadata"].items() if key not in SERVER_METADATA}
    return {key: value for key, value in item.items() if key != "status"} | {"metadata": metadata}
