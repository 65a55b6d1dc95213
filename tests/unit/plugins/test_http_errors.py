"""Why a request had no answer: the same words each time, without addresses of objects."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import urllib3

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.http_errors import cause


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def said(port: int) -> str:
    pool = urllib3.HTTPConnectionPool("127.0.0.1", port, timeout=0.1, retries=False)
    with pytest.raises(urllib3.exceptions.HTTPError) as caught:
        pool.request("GET", "/")
    return cause(caught.value, 0.1)


def test_silence_is_a_time(silent: int) -> None:
    assert said(silent) == "no answer within 0.1 s"


def test_a_closed_door_is_named_alike_each_time(silent: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    assert said(closed) == said(closed) == "[Errno 111] Connection refused"


def test_an_answer_that_is_cut_off_keeps_its_own_words() -> None:
    error = urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError(104, "reset"))
    assert "Connection aborted." in cause(error, 1)
