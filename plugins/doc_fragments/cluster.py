# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How to reach the Kubernetes API, in the words of kubernetes.core."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path of a kubeconfig file.
      - Without it, and without O(host), the credentials of the pod this runs in are used, or C(~/.kube/config).
      - The environment variable E(K8S_AUTH_KUBECONFIG) is used where this is not set.
    type: path
  context:
    description:
      - Name of the context in the kubeconfig file.
      - The environment variable E(K8S_AUTH_CONTEXT) is used where this is not set.
    type: str
  host:
    description:
      - URL of the Kubernetes API.
      - The environment variable E(K8S_AUTH_HOST) is used where this is not set.
    type: str
  api_key:
    description:
      - Token to authenticate with.
      - The environment variable E(K8S_AUTH_API_KEY) is used where this is not set.
    type: str
  ca_cert:
    description:
      - Path of the certificate of the authority which signed the API's certificate.
      - The environment variable E(K8S_AUTH_SSL_CA_CERT) is used where this is not set.
    type: path
    aliases: [ssl_ca_cert]
  client_cert:
    description:
      - Path of a certificate to authenticate with; needs O(client_key).
      - The environment variable E(K8S_AUTH_CERT_FILE) is used where this is not set.
    type: path
    aliases: [cert_file]
  client_key:
    description:
      - Path of the key of O(client_cert).
      - The environment variable E(K8S_AUTH_KEY_FILE) is used where this is not set.
    type: path
    aliases: [key_file]
  validate_certs:
    description:
      - Whether to verify the API's certificate; without this option the kubeconfig file decides.
      - The environment variable E(K8S_AUTH_VERIFY_SSL) is used where this is not set.
    type: bool
    aliases: [verify_ssl]
  proxy:
    description:
      - URL of an HTTP proxy to reach the API through.
      - The environment variable E(K8S_AUTH_PROXY) is used where this is not set.
    type: str
  impersonate_user:
    description:
      - User to act as.
      - The environment variable E(K8S_AUTH_IMPERSONATE_USER) is used where this is not set.
    type: str
  impersonate_groups:
    description:
      - Groups to act as.
      - The environment variable E(K8S_AUTH_IMPERSONATE_GROUPS) is used where this is not set.
    type: list
    elements: str
  api_timeout:
    description:
      - Seconds to wait for the API to answer one call.
    type: float
    default: 10.0
requirements:
  - kubernetes >= 29.0.0 (Python package)
  - urllib3 >= 2.0 (Python package)
"""
