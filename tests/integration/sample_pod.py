"""What the pods of these tests run: a small server that shows its environment and files, and can be told to fail."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

STARTED = time.monotonic()


class Handler(BaseHTTPRequestHandler):
    """``/env``, ``/files/PATH``, ``/ready`` and ``/live`` (by the state folder), ``/fail/NAME`` and ``/heal/NAME``."""

    def do_GET(self) -> None:
        root = Path(os.environ["REHEARSAL_ROOT"])
        _, verb, *rest = self.path.split("/")
        match verb:
            case "env":
                self.answer(200, json.dumps(dict(os.environ)))
            case "files":
                self.answer(200, root.joinpath(*rest).read_text())
            case "ready" | "live":
                self.answer(503 if (root / "tmp" / verb).exists() else 200, verb)
            case "fail":
                (root / "tmp" / rest[0]).touch()
                self.answer(200, "failing")
            case "heal":
                (root / "tmp" / rest[0]).unlink(missing_ok=True)
                self.answer(200, "healed")
            case "version":
                self.answer(200, os.environ.get("VERSION", ""))

    def answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Probes would fill the log."""


def main() -> None:
    """Serve on POD_IP:8080 after START_SECONDS, or end with 3 after CRASH_AFTER; SIGTERM ends it in TERM_SECONDS."""
    print(f"starting {os.environ['POD_NAME']}", flush=True)
    signal.signal(signal.SIGTERM, end)
    time.sleep(float(os.environ.get("START_SECONDS", "0")))
    if "CRASH_AFTER" in os.environ:
        time.sleep(float(os.environ["CRASH_AFTER"]))
        print("crashing", file=sys.stderr, flush=True)
        sys.exit(3)
    server = ThreadingHTTPServer((os.environ["POD_IP"], 8080), Handler)
    print("serving", flush=True)
    server.serve_forever(0.05)


def end(*_: Any) -> None:
    print(f"term {time.time():.6f}", flush=True)
    time.sleep(float(os.environ.get("TERM_SECONDS", "0")))
    os._exit(0)
