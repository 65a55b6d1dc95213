# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How to reach the source of measurements."""

    DOCUMENTATION = r"""
options:
  prometheus:
    description:
      - The Prometheus-compatible HTTP API which measurements come from, such as that of Prometheus, Thanos, Mimir or
        VictoriaMetrics.
      - VictoriaMetrics holds new samples back for half a minute; who wants faults seen sooner starts it with
        C(-search.latencyOffset=1s).
      - Give one of O(prometheus.url) and O(prometheus.urls), and at most one of O(prometheus.token) and
        O(prometheus.username).
      - All times are by the clock of this API. That it differs from the clock here by more than 5 seconds, or jumps, is
        noticed.
    type: dict
    suboptions:
      url:
        description:
          - URL of the API, without C(/api/v1) and without user and password. Redirects are not followed.
        type: str
      urls:
        description:
          - Several URLs which tell the same, such as replicas; they are asked in turn until one answers, and that one
            is asked first from then on.
        type: list
        elements: str
      token:
        description:
          - Bearer token to authenticate with.
        type: str
      username:
        description:
          - User for basic authentication; needs O(prometheus.password).
        type: str
      password:
        description:
          - Password of O(prometheus.username).
        type: str
      validate_certs:
        description:
          - Whether to verify the certificate of the API.
        type: bool
        default: true
      ca_path:
        description:
          - Path of a file with the certificates of the authorities to trust, in place of the system's.
        type: path
      client_cert:
        description:
          - Path of a PEM file with the certificate to authenticate with, and those that it was issued by; needs
            O(prometheus.client_key).
        type: path
        version_added: 0.3.0
      client_key:
        description:
          - Path of a PEM file with the key of O(prometheus.client_cert), without a password.
        type: path
        version_added: 0.3.0
      timeout:
        description:
          - Seconds to wait for the answer to one query, from each URL.
        type: float
        default: 3.0
requirements:
  - urllib3 (Python package)
"""

    # For queries that name the two sides by their versions.
    VERSIONS = r"""
options:
  versions:
    description:
      - What C($stable) and C($candidate) stand for in queries.
    type: dict
    default: {}
    suboptions:
      stable:
        description:
          - Version of the stable side.
        type: str
      candidate:
        description:
          - Version of the candidate side.
        type: str
"""
