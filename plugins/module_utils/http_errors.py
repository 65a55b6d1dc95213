# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a request over HTTP had no answer, in words that are the same for each of its kind. Pure."""

from __future__ import annotations

try:
    import urllib3
except ImportError:
    pass  # who sends requests says so


def cause(error: Exception, timeout: float) -> str:
    """What happened, without the addresses of objects that urllib3 puts before it. ``timeout`` in seconds."""
    refused = isinstance(error, urllib3.exceptions.NewConnectionError)  # a timeout by inheritance only
    if isinstance(error, urllib3.exceptions.TimeoutError) and not refused:
        return f"no answer within {timeout:g} s"
    return str(error).rsplit(": ", 1)[-1] if refused or "object at 0x" in str(error) else str(error)
