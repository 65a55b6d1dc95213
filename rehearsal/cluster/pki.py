"""Certificates, tokens and kubeconfigs of a world: made once, kept in its folder."""

from __future__ import annotations

import base64
import csv
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import trustme
import yaml

from rehearsal.world import NAMESPACE, World

# User → its groups. ``ops`` is known and may do nothing but ask what it may do.
USERS = {"admin": ("system:masters",), "ops": ()}


@dataclass(frozen=True)
class Credentials:
    """Files of a world's API server. ``tokens`` has the form that ``--token-auth-file`` reads."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def certificate(self) -> Path:
        return self.folder / "apiserver.crt"

    @property
    def key(self) -> Path:
        return self.folder / "apiserver.key"

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens.csv"

    @property
    def service_account_key(self) -> Path:
        return self.folder / "service-accounts.key"

    @property
    def audit_policy(self) -> Path:
        """What a real API server has on record; written when one is started."""
        return self.folder / "audit-policy.yaml"


@dataclass(frozen=True)
class User:
    name: str
    groups: tuple[str, ...]


def ensure(world: World) -> Credentials:
    """Write CA, server certificate, tokens and both kubeconfigs where they are not there yet."""
    credentials = Credentials(world.home / "pki")
    credentials.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not credentials.certificate.exists():
        _certificates(credentials, world)
    if not credentials.tokens.exists():
        rows = []
        for name, groups in USERS.items():
            # A real server takes an empty last column for a group without a name.
            member = f',"{",".join(groups)}"' if groups else ""
            rows.append(f"{secrets.token_urlsafe(24)},{name},{name}{member}\n")
        _write(credentials.tokens, "".join(rows))
    for token, user in read_tokens(credentials).items():
        path = world.kubeconfig if user.name == "admin" else world.kubeconfig.with_name(f"kubeconfig-{user.name}")
        if not path.exists():
            _write(path, _kubeconfig(world, credentials, user.name, token))
    return credentials


def read_tokens(credentials: Credentials) -> dict[str, User]:
    """Token → user."""
    with credentials.tokens.open(newline="") as rows:
        return {
            row[0]: User(row[1], tuple(filter(None, row[3].split(","))) if len(row) > 3 else ())
            for row in csv.reader(rows)
        }


def ensure_service_account_key(credentials: Credentials) -> Path:
    """The key a real API server signs service account tokens with."""
    path = credentials.service_account_key
    if not path.exists():
        # Only a real API server needs it, so only then is the library loaded.
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        _write(path, pem.decode())
    return path


def _certificates(credentials: Credentials, world: World) -> None:
    ca = trustme.CA(organization_name=f"rehearsal cluster {world.name}")
    names = (world.host, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
    leaf = ca.issue_cert(*names)
    _write(credentials.ca, ca.cert_pem.bytes().decode())
    _write(credentials.key, leaf.private_key_pem.bytes().decode())
    _write(credentials.certificate, "".join(blob.bytes().decode() for blob in leaf.cert_chain_pems))


def _kubeconfig(world: World, credentials: Credentials, user: str, token: str) -> str:
    authority = base64.b64encode(credentials.ca.read_bytes()).decode()
    context = {"cluster": world.name, "user": user, "namespace": NAMESPACE}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": world.name, "cluster": {"server": world.api_url, "certificate-authority-data": authority}}
            ],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": world.name, "context": context}],
            "current-context": world.name,
        },
        sort_keys=False,
    )


def _write(path: Path, text: str) -> None:
    """Write a file only its owner can read, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)
