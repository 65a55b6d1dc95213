# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The providers by their names, each imported only when it is asked for: on the way back every millisecond counts."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import TrafficProvider

Options = t.Mapping[str, t.Any]


def _gateway_api(cluster: Cluster, options: Options) -> TrafficProvider:
    from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.gateway_api import GatewayApiProvider

    return GatewayApiProvider(cluster, options)


def _haproxy(cluster: Cluster, options: Options) -> TrafficProvider:
    from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.haproxy import HaproxyProvider

    return HaproxyProvider(cluster, options)


def _istio(cluster: Cluster, options: Options) -> TrafficProvider:
    from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.istio import IstioProvider

    return IstioProvider(cluster, options)


def _nginx_ingress(cluster: Cluster, options: Options) -> TrafficProvider:
    from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.nginx_ingress import (
        NginxIngressProvider,
    )

    return NginxIngressProvider(cluster, options)


def _openshift_route(cluster: Cluster, options: Options) -> TrafficProvider:
    from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.openshift_route import (
        OpenshiftRouteProvider,
    )

    return OpenshiftRouteProvider(cluster, options)


def _service(cluster: Cluster, options: Options) -> TrafficProvider:
    from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.service import ServiceProvider

    return ServiceProvider(cluster, options)


OPEN: dict[str, t.Callable[[Cluster, Options], TrafficProvider]] = {
    "gateway_api": _gateway_api,
    "haproxy": _haproxy,
    "istio": _istio,
    "nginx_ingress": _nginx_ingress,
    "openshift_route": _openshift_route,
    "service": _service,
}
