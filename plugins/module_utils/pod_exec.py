# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A process in a container, over the API's exec: its input, its output, and how it ended."""

from __future__ import annotations

import contextlib
import json
import traceback
import typing as t
from urllib.parse import urlencode

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ForbiddenError,
    InputError,
    NotFoundError,
    RolloutError,
    UnreachableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import Ref

try:
    import websocket
    from kubernetes.stream.ws_client import create_websocket
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

# The first byte of each message says which stream it is of.
_INPUT, _OUTPUT, _COMPLAINTS, _END = range(4)
_PROTOCOL = "v4.channel.k8s.io"


class PodProcess:
    """``command`` in the pod, begun when this is made. Raises the errors of ``errors.py`` where it can't be."""

    def __init__(self, cluster: Cluster, pod: Ref, command: t.Sequence[str], container: str = "") -> None:
        if IMPORT_ERROR is not None:
            raise RolloutError(missing_required_lib("kubernetes"), exception=IMPORT_ERROR)
        self._said = ""
        self._ending = ""
        self._socket = _connect(cluster, pod, command, container)

    def write(self, data: bytes) -> None:
        """Hand ``data`` to its input. Raises OSError when the connection is gone."""
        try:
            self._socket.send_binary(bytes([_INPUT]) + data)
        except websocket.WebSocketException as error:
            raise ConnectionResetError(str(error)) from error

    def read(self, timeout: float | None) -> bytes:
        """The next piece of its output; nothing once it has ended.

        Raises TimeoutError after ``timeout`` seconds of silence, OSError when the connection is gone.
        """
        self._socket.settimeout(timeout)
        while True:
            try:
                opcode, data = self._socket.recv_data()
            except websocket.WebSocketTimeoutException as error:
                raise TimeoutError(str(error)) from error
            except websocket.WebSocketException as error:
                raise ConnectionResetError(str(error)) from error
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return b""
            channel, piece = data[:1], data[1:]
            if channel == bytes([_OUTPUT]) and piece:
                return bytes(piece)
            if channel == bytes([_COMPLAINTS]):
                self._said += piece.decode(errors="replace")
            elif channel == bytes([_END]):
                self._ending = _told(piece)

    def complaints(self) -> str:
        """What it wrote to standard error; where that is nothing, how it ended."""
        return self._said or self._ending

    def close(self) -> None:
        """End the connection, which ends the process' input."""
        with contextlib.suppress(OSError, websocket.WebSocketException):
            self._socket.close(timeout=1)


def _connect(cluster: Cluster, pod: Ref, command: t.Sequence[str], container: str) -> t.Any:
    configuration = cluster.configuration
    if cluster.impersonates:
        raise InputError(
            "impersonate_user: the Kubernetes client can't act as another user when it runs a command in a pod;"
            " use that user's own credentials"
        )
    query = [("command", word) for word in command]
    query += [(name, "true") for name in ("stdin", "stdout", "stderr")] + [("tty", "false")]
    query += [("container", container)] if container else []
    url = f"{cluster.server}{pod.path}/exec?{urlencode(query)}".replace("http", "ws", 1)
    token = configuration.auth_settings().get("BearerToken", {}).get("value")
    headers = {"sec-websocket-protocol": _PROTOCOL, **({"authorization": token} if token else {})}
    usual = websocket.getdefaulttimeout()
    try:
        # There is no other way to say for how long to wait for a connection.
        websocket.setdefaulttimeout(cluster.timeout)
        return create_websocket(configuration, url, headers)
    except websocket.WebSocketBadStatusException as error:
        raise _refused(cluster.server, pod, error.status_code) from error
    except (OSError, websocket.WebSocketException) as error:
        raise UnreachableError(
            f"the Kubernetes API at {cluster.server} can't be asked to run a command in {pod}: {error}; check"
            " kubeconfig, context or host",
            reason="connection",
            server=cluster.server,
        ) from error
    finally:
        websocket.setdefaulttimeout(usual)


def _refused(server: str, pod: Ref, status: int) -> RolloutError:
    if status in (401, 403):
        return ForbiddenError(
            f"the Kubernetes API at {server} doesn't allow a command in {pod} ({status}); grant the rights create and"
            " get on pods/exec, or use other credentials",
            status=status,
        )
    if status == 404:
        return NotFoundError(f"{pod} doesn't exist in the cluster {server}, or has no such container", status=status)
    return UnreachableError(f"the Kubernetes API at {server} answered {status} to a command in {pod}", server=server)


def _told(data: bytes) -> str:
    """The message of the Status that comes last, nothing where all went well."""
    try:
        status = json.loads(data)
    except ValueError:
        return data.decode(errors="replace")
    return "" if status.get("status") == "Success" else str(status.get("message") or status)
