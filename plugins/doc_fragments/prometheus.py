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
      - The Prometheus-compatible HTTP API which measurements come from.
      - Give one of O(prometheus.url) and O(prometheus.urls).
    type: dict
    suboptions:
      url:
        description:
          - URL of the API, without C(/api/v1).
        type: str
      urls:
        description:
          - Several URLs which tell the same; they are asked in turn until one answers.
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
