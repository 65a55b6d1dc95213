"""Which failures of kubernetes.core may pass by themselves."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.test.api_away import api_away

REFUSED = (
    "Module failed: HTTPSConnectionPool(host='127.0.0.1', port=1): Max retries exceeded with url: /version (Caused by "
    'NewConnectionError("Failed to establish a new connection: [Errno 111] Connection refused"))'
)
UNTRUSTED = (
    "HTTPSConnectionPool(host='x', port=1): Max retries exceeded with url: /version (Caused by SSLError("
    "SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed')))"
)


@pytest.mark.parametrize(
    ("result", "away"),
    [
        ({"failed": True, "msg": REFUSED}, True),
        (
            {
                "failed": True,
                "msg": "Value of unknown type: <class 'urllib3.exceptions.NewConnectionError'>, HTTPSConnection("
                "host='x', port=6443): Failed to establish a new connection: [Errno 111] Connection refused",
            },
            True,
        ),
        ({"failed": True, "msg": "('Connection aborted.', RemoteDisconnected('Remote end closed connection'))"}, True),
        ({"failed": True, "msg": "MODULE FAILURE", "module_stderr": "... Connection reset by peer"}, True),
        ({"failed": True, "msg": UNTRUSTED}, False),
        ({"failed": True, "msg": "Resource creation timed out"}, False),
        ({"failed": True, "msg": 'deployments.apps is forbidden: User "ops" cannot patch'}, False),
        ({"failed": False, "msg": REFUSED}, False),
        ({"failed": True}, False),
        ("no result", False),
    ],
)
def test_only_an_api_that_gave_no_answer_is_away(result: Any, away: bool) -> None:
    assert api_away(result) is away
