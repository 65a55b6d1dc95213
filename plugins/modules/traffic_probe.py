#!/usr/bin/python
# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: traffic_probe
short_description: Ask the edge which side of a release answers, and how often
version_added: 0.1.0
author:
  - Claude Enhancer operations team (@claude-enhancer)
description:
  - Sends a number of requests to the edge, as users do, and counts which side answers them. Or, with O(counters), sends
    nothing and reads from the mesh's own metrics which side answered the users.
  - Says which share of the answers came from the candidate, with an exact binomial (Clopper-Pearson) interval.
  - With O(expect_weight) it asks again, each time with a fresh sample, until the split is seen, and fails if it isn't
    seen in time.
  - No cookie is kept and no redirect is followed, so each answer is drawn anew.
extends_documentation_fragment:
  - claude_enhancer.rollout.attributes
  - claude_enhancer.rollout.attributes.reads
  - claude_enhancer.rollout.prometheus
options:
  url:
    description:
      - Where the edge listens, such as V(https://edge.example.com).
      - One of O(url) and O(counters) is needed.
    type: str
  host:
    description:
      - Value of the C(Host) header, where it isn't the one in O(url).
      - For HTTPS it is also the name that the certificate must carry.
    type: str
  path:
    description:
      - Path to ask for.
    type: str
    default: /
  method:
    description:
      - Method of the requests. It must be one that may be repeated without harm.
    type: str
    choices: [GET, HEAD, OPTIONS]
    default: GET
  headers:
    description:
      - Further headers to send.
    type: dict
    default: {}
  session_cookie:
    description:
      - Name of the cookie by which the edge keeps users on a side. It is sent with a new value in each request.
      - Without this option no cookie is sent.
    type: str
  requests:
    description:
      - How many requests to send for one look, or with O(counters) to wait for.
      - With V(400) a share of 5 percent is known to about 4 points at O(confidence=0.999).
    type: int
    default: 400
  concurrency:
    description:
      - How many requests may be under way at once.
    type: int
    default: 8
  rate:
    description:
      - How many requests may be sent in a second.
    type: float
    default: 400.0
  timeout:
    description:
      - Seconds that one request may take.
    type: float
    default: 5.0
  validate_certs:
    description:
      - Whether to verify the edge's certificate.
    type: bool
    default: true
  ca_path:
    description:
      - Path of the certificate of the authority which signed the edge's certificate.
    type: path
  version_header:
    description:
      - Response header in which an answer names its version.
    type: str
  version_key:
    description:
      - Dotted path of the key in the JSON body in which an answer names its version, such as V(build.version).
    type: str
  version_pattern:
    description:
      - Regular expression whose first group is the version. It is looked for in O(version_header) or under
        O(version_key), and without either in the whole body.
      - With O(url) one of O(version_header), O(version_key) and O(version_pattern) is needed.
    type: str
  stable_version:
    description:
      - What an answer of the stable side names itself; needed with O(url).
    type: str
  candidate_version:
    description:
      - What an answer of the candidate names itself; needed with O(url).
    type: str
  counters:
    description:
      - Queries for the requests that each side has answered so far, as counters that only grow. A look is what was
        counted since the look before.
      - Users who are kept on a side by a cookie make many requests of one draw, so the interval is narrower than the
        truth where few users send many requests; use O(tolerance) then.
    type: dict
    version_added: 0.2.0
    suboptions:
      stable:
        description:
          - PromQL of the stable side's counter, such as V(sum(istio_requests_total{destination_version="5.0"})).
        type: str
        required: true
      candidate:
        description:
          - PromQL of the candidate's counter.
        type: str
        required: true
  expect_weight:
    description:
      - Percent of answers that must come from the candidate.
      - V(0) and V(100) mean that the other side doesn't answer once.
      - An answer that can't be told to a side is never taken for the one hoped for.
      - It need not be whole, for a split by whole pods seldom is.
    type: float
  confidence:
    description:
      - Confidence of the interval, from V(0.5) to less than V(1).
    type: float
    default: 0.999
  tolerance:
    description:
      - Points by which the share may differ from O(expect_weight) beyond what chance explains.
    type: float
    default: 0.0
  within:
    description:
      - Seconds for the expected split to be seen.
    type: float
    default: 15.0
requirements:
  - urllib3 (Python package)
seealso:
  - module: claude_enhancer.rollout.traffic_weight
"""

EXAMPLES = r"""
- name: Prove that the candidate gets 5 percent
  claude_enhancer.rollout.traffic_probe:
    url: https://edge.example.com
    host: claude-enhancer.example.com
    path: /health
    version_header: x-claude-version
    stable_version: "5.0"
    candidate_version: "5.1"
    expect_weight: 5

- name: Prove by the mesh's own metrics that users are split as asked, without a request of our own
  claude_enhancer.rollout.traffic_probe:
    prometheus:
      url: http://prometheus.monitoring.svc:9090
    counters:
      stable: sum(istio_requests_total{reporter="source",destination_version="5.0"})
      candidate: sum(istio_requests_total{reporter="source",destination_version="5.1"})
    requests: 2000
    expect_weight: 20
    within: 60

- name: Prove that the entry service is on the candidate after the switch
  claude_enhancer.rollout.traffic_probe:
    url: http://edge.example.com
    host: claude-enhancer-service.claude-enhancer
    version_key: version
    stable_version: "5.0"
    candidate_version: "5.1"
    requests: 100
    expect_weight: 100
    within: 30
"""

RETURN = r"""
share:
  description: Percent of the recognised answers that came from the candidate, in the last look.
  returned: always
  type: float
  sample: 5.25
interval:
  description: Lower and upper end of the interval around the share, in percent.
  returned: always
  type: list
  elements: float
  sample: [2.38, 9.8]
confidence:
  description: Confidence of the interval.
  returned: always
  type: float
  sample: 0.999
expected:
  description: The share that was asked for.
  returned: always
  type: float
  sample: 5
asked:
  description: Requests sent, or counted, in the last look; the size of the sample that everything else rests on.
  returned: always
  type: int
  sample: 400
stable:
  description: Answers from the stable side.
  returned: always
  type: int
  sample: 379
candidate:
  description: Answers from the candidate.
  returned: always
  type: int
  sample: 21
unrecognised:
  description: Requests that no side can be named for, with or without an answer.
  returned: always
  type: int
  sample: 0
failures:
  description: Requests without an answer, or answered with a status of 500 and more.
  returned: always
  type: int
  sample: 0
statuses:
  description: How often each status was answered.
  returned: always
  type: dict
  sample: {"200": 400}
errors:
  description: What requests without an answer failed with; up to five different ones.
  returned: always
  type: list
  elements: str
  sample: []
latency:
  description: Seconds until the answer - median, 95th and 99th percentile, and the longest.
  returned: always
  type: dict
  sample: {p50: 0.004, p95: 0.009, p99: 0.015, max: 0.022}
seconds:
  description: Length of the last look in seconds.
  returned: always
  type: float
  sample: 1.02
looks:
  description: How often a sample was taken.
  returned: always
  type: int
  sample: 1
error:
  description:
    - Kind of the failure; V(not_routed) if the split wasn't seen, V(source_down) if nobody answered, V(query) if
      Prometheus refused a query, V(input).
  returned: failure
  type: str
  sample: not_routed
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import SystemClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import run
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.probing import PROBE_SPEC, probe


def work(module: AnsibleModule) -> dict[str, t.Any]:
    return probe(module.params, SystemClock())


def main() -> None:
    run(PROBE_SPEC.module(), work)


if __name__ == "__main__":
    main()
