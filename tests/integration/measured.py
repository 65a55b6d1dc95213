"""A real Prometheus that scrapes a small application, whose failures the test decides."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CONFIGURATION = """
global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}
scrape_configs:
  - job_name: app
    static_configs: [{{targets: ["{target}"]}}]
"""
EDGES = (0.1, 0.2, 0.5, 1.0)
METRICS: dict[str, Any] = {
    "error_rate": {
        "kind": "ratio",
        "window": "2s",
        "bad": 'sum(increase(http_requests_total{version="$candidate",status=~"5.."}[$window]))',
        "total": 'sum(increase(http_requests_total{version="$candidate"}[$window]))',
    },
    "p95": {
        "kind": "quantile",
        "window": "2s",
        "buckets": 'sum by (le) (increase(http_request_duration_seconds_bucket{version="$candidate"}[$window]))',
    },
    "agents": {"kind": "gauge", "query": 'agents{version="$candidate"}'},
    "absent": {"kind": "gauge", "query": 'no_such_metric{version="$candidate"}'},
    "nan": {"kind": "gauge", "query": "vector(0) / 0"},
}


class Exporter:
    """Serves ``page`` to Prometheus on port 9090 of ``host``, with 503 while it is not ``serving``."""

    def __init__(self, host: str) -> None:
        self.serving = True
        self.target = f"{host}:9090"
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = exporter.page().encode()
                self.send_response(200 if exporter.serving else 503)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((host, 9090), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def page(self) -> str:
        """What there is to scrape now, in Prometheus' text format."""
        raise NotImplementedError

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Application(Exporter):
    """An application that seems to answer ``rate`` requests per second, a share of ``errors`` of them with 500.

    One request in a hundred takes up to 500 ms, the others up to 100 ms.
    """

    def __init__(self, host: str, rate: float = 400.0) -> None:
        self.rate = rate
        self.errors = 0.0
        self._counts = {"200": 0.0, "500": 0.0}
        self._settled = time.monotonic()
        self._lock = threading.Lock()
        super().__init__(host)

    def fail(self, share: float) -> None:
        self._settle()
        self.errors = share

    def page(self) -> str:
        counts = self._settle()
        total = sum(counts.values())
        version = 'version="5.1"'
        lines = ["# TYPE http_requests_total counter"]
        lines += [f'http_requests_total{{{version},status="{status}"}} {count:.0f}' for status, count in counts.items()]
        lines.append("# TYPE http_request_duration_seconds histogram")
        for edge in EDGES:
            fast = total if edge >= 0.5 else total * 0.99
            lines.append(f'http_request_duration_seconds_bucket{{{version},le="{edge}"}} {fast:.0f}')
        lines.append(f'http_request_duration_seconds_bucket{{{version},le="+Inf"}} {total:.0f}')
        lines.append("# TYPE agents gauge")
        lines.append(f"agents{{{version}}} 61")
        return "\n".join(lines) + "\n"

    def _settle(self) -> dict[str, float]:
        with self._lock:
            now = time.monotonic()
            requests = (now - self._settled) * self.rate
            self._settled = now
            self._counts["500"] += requests * self.errors
            self._counts["200"] += requests * (1 - self.errors)
            return dict(self._counts)


SERVERS: dict[str, Callable[[Path, Path, str], list[str]]] = {
    "prometheus": lambda configuration, data, address: [
        "prometheus",
        f"--config.file={configuration}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address={address}",
        "--log.level=warn",
    ],
    # Without the offset it answers with what is half a minute old.
    "victoria-metrics": lambda configuration, data, address: [
        "victoria-metrics",
        f"-promscrape.config={configuration}",
        f"-storageDataPath={data}",
        f"-httpListenAddr={address}",
        "-search.latencyOffset=0s",
        "-loggerLevel=WARN",
    ],
}
"""What answers the HTTP API of Prometheus: the command line for a configuration, a folder and an address."""


@contextlib.contextmanager
def prometheus(home: Path, host: str, target: str, server: str = "prometheus") -> Iterator[str]:
    """One of SERVERS on ``host`` that has scraped ``target`` long enough for windows of 2 s; its URL."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "prometheus.yml").write_text(CONFIGURATION.format(target=target))
    command = SERVERS[server](home / "prometheus.yml", home / "data", f"{host}:9090")
    with (home / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            url = f"http://{host}:9090"
            _wait_for_samples(url, process, home / "prometheus.log")
            yield url
        finally:
            process.terminate()
            process.wait(10)


def _wait_for_samples(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    query = urllib.parse.quote("count_over_time(up[3s]) >= 4")
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/api/v1/query?query={query}") as answer:
            if json.load(answer)["data"]["result"]:
                return
        time.sleep(0.1)
    raise AssertionError(f"Prometheus has no samples: {log.read_text()}")
