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
      - V(istio) is a VirtualService with HTTP routes to both sides. Its TCP and TLS routes are left alone.
      - V(gateway_api) is an HTTPRoute with rules whose C(backendRefs) name both sides. Their weights become percents;
        in a rule with further backends the two sides keep their sum, so that the others keep their share.
      - V(nginx_ingress) is an Ingress of ingress-nginx for the stable side; beside it a canary Ingress is made for any
        weight above 0, and removed for 0. A canary Ingress that a release didn't make is refused; a weight of 0 takes
        its weight and leaves it there.
      - V(openshift_route) is a Route with the stable side in C(spec.to). The candidate is put into
        C(alternateBackends) for any weight above 0 and taken out for 0, because the router keeps users who hold its
        cookie on a backend of weight 0. The sides may stand the other way round; then the candidate stays in
        C(spec.to) with weight 0, and so do users who hold its cookie.
      - Where V(nginx_ingress) or V(openshift_route) keeps users by a cookie, the weight deals out those who come
        without it. A weight of 0 takes everybody from the candidate that was removed; with 100 those who hold the
        cookie of stable stay there until it ends.
      - V(haproxy) is the runtime API of one or more HAProxy instances; no Kubernetes object is touched.
      - V(service) needs no mesh. A Service selects both sides, and the weight is the candidate's part of the pods;
        with 0 and 100 it selects one side only.
    type: str
    choices: [gateway_api, haproxy, istio, nginx_ingress, openshift_route, service]
    default: istio
  namespace:
    description:
      - Namespace of the traffic object.
    type: str
    required: true
  name:
    description:
      - Name of the traffic object, which is the VirtualService, HTTPRoute, main Ingress, Route or Service.
      - For O(provider=haproxy) the key in the map, or with O(haproxy.split=servers) the backend that holds the servers
        of both sides.
    type: str
    required: true
  api_version:
    description:
      - API version of the traffic object.
      - Without it, for O(provider=istio), the newest of C(networking.istio.io/v1), C(networking.istio.io/v1beta1) and
        C(networking.istio.io/v1alpha3) that the cluster serves is used, and for O(provider=gateway_api) the newer of
        C(gateway.networking.k8s.io/v1) and C(gateway.networking.k8s.io/v1beta1).
    type: str
  stable:
    description:
      - The destination that serves the version of before the release.
    type: dict
    required: true
    suboptions:
      host:
        description:
          - For V(istio) the host of the destination as the routes name it; a short name is taken to be in the object's
            namespace.
          - For V(gateway_api), V(nginx_ingress) and V(openshift_route) the name of the side's Service; V(gateway_api)
            takes C(name.namespace) too.
          - For V(haproxy) with O(haproxy.split=map) the name of the side's backend.
        type: str
      subset:
        description:
          - For V(istio) the subset of the DestinationRule; without it the destination is the whole host.
        type: str
      servers:
        description:
          - For V(haproxy) with O(haproxy.split=servers) the side's servers in the backend O(name). A name may end with
            C(*), which then stands for the rest of it.
        type: list
        elements: str
      labels:
        description:
          - For V(service) the labels that tell the side's pods from those of the other side.
        type: dict
      deployment:
        description:
          - For V(service) the Deployment whose replicas follow the weight; only that of the candidate is ever scaled.
            Without it no replicas are touched, and the weight is as near as those that are there come.
        type: str
  candidate:
    description:
      - The destination that serves the version to be released.
    type: dict
    required: true
    suboptions:
      host:
        description:
          - For V(istio) the host of the destination as the routes name it; a short name is taken to be in the object's
            namespace.
          - For V(gateway_api), V(nginx_ingress) and V(openshift_route) the name of the side's Service; V(gateway_api)
            takes C(name.namespace) too.
          - For V(haproxy) with O(haproxy.split=map) the name of the side's backend.
        type: str
      subset:
        description:
          - For V(istio) the subset of the DestinationRule; without it the destination is the whole host.
        type: str
      servers:
        description:
          - For V(haproxy) with O(haproxy.split=servers) the side's servers in the backend O(name). A name may end with
            C(*), which then stands for the rest of it.
        type: list
        elements: str
      labels:
        description:
          - For V(service) the labels that tell the side's pods from those of the other side.
        type: dict
      deployment:
        description:
          - For V(service) the Deployment whose replicas follow the weight; only that of the candidate is ever scaled.
            Without it no replicas are touched, and the weight is as near as those that are there come.
        type: str
  nginx_ingress:
    description:
      - More about the canary Ingress of O(provider=nginx_ingress).
    type: dict
    suboptions:
      canary_name:
        description:
          - Name of the canary Ingress; without it O(name) followed by C(-canary).
          - It carries the label C(app.kubernetes.io/managed-by=claude-enhancer-rollout), goes when the main Ingress
            does, and is brought in line with the main Ingress and these options whenever its weight changes.
        type: str
      header:
        description:
          - Requests with this header set to C(always) go to the candidate, those with C(never) to stable.
        type: str
      header_value:
        description:
          - The value of O(nginx_ingress.header) that sends a request to the candidate, in place of C(always).
        type: str
      header_pattern:
        description:
          - A regular expression in place of O(nginx_ingress.header_value).
        type: str
      cookie:
        description:
          - Requests with this cookie set to C(always) go to the candidate, those with C(never) to stable.
        type: str
  haproxy:
    description:
      - Where the HAProxy instances of O(provider=haproxy) are, and how they split. All instances are changed, or none;
        taking all traffic back goes ahead on those that can be reached, and then fails with the names of the others.
      - An instance that is started anew or reloaded takes the weight from its configuration and map file again, which
        should say 0 for the candidate.
    type: dict
    suboptions:
      instances:
        description:
          - Addresses of the runtime API of each instance, such as C(/run/haproxy/admin.sock) or C(10.0.0.5:9999).
            A path may begin with C(unix:).
            The level of the socket must be C(admin).
        type: list
        elements: str
        required: true
      split:
        description:
          - V(map) sets the percent under the key O(name) in a map file that the configuration reads.
          - V(servers) sets the weights of the servers of both sides in the backend O(name), so that those that are up
            share the percent. Where servers keep sessions by cookie, those of a side without weight are put to
            maintenance too, since HAProxy serves such sessions even with weight 0.
        type: str
        choices: [map, servers]
        default: map
      map:
        description:
          - The map file as HAProxy's configuration names it; needed with O(haproxy.split=map).
        type: str
      timeout:
        description:
          - Seconds within which an instance must answer, counted for each connection.
        type: float
        default: 2.0
  service:
    description:
      - More about O(provider=service).
    type: dict
    suboptions:
      scale_timeout:
        description:
          - Seconds within which new replicas of the candidate must be ready.
        type: float
        default: 120.0
"""
