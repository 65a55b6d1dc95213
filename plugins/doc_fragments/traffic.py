# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What carries the weight of a release, the same words in every module and in the inventory."""

    DOCUMENTATION = r"""
options:
  provider:
    description:
      - What carries the weight.
      - V(istio) is a VirtualService with routes to both sides.
    type: str
    choices: [istio]
    default: istio
  namespace:
    description:
      - Namespace of the traffic object.
    type: str
    required: true
  name:
    description:
      - Name of the traffic object; for O(provider=istio) the VirtualService.
    type: str
    required: true
  api_version:
    description:
      - API version of the traffic object.
      - Without it the newest of C(networking.istio.io/v1), C(networking.istio.io/v1beta1) and
        C(networking.istio.io/v1alpha3) that the cluster serves is used.
    type: str
  stable:
    description:
      - The destination that serves the version of before the release.
    type: dict
    required: true
    suboptions:
      host:
        description:
          - Host of the destination as the routes name it; a short name is taken to be in the object's namespace.
        type: str
        required: true
      subset:
        description:
          - Subset of the DestinationRule; without it the destination is the whole host.
        type: str
  candidate:
    description:
      - The destination that serves the version to be released.
    type: dict
    required: true
    suboptions:
      host:
        description:
          - Host of the destination as the routes name it; a short name is taken to be in the object's namespace.
        type: str
        required: true
      subset:
        description:
          - Subset of the DestinationRule; without it the destination is the whole host.
        type: str
"""
