"""Signed session tokens: any pod that knows the secret can read what another made."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json

TOKEN_SECONDS = 3600


class SessionError(Exception):
    """A token that is not accepted; the message says why and never holds the token."""


def make_token(user: str, secret: str, now: float) -> str:
    """A token for ``user`` that expires ``TOKEN_SECONDS`` after ``now`` (Unix seconds)."""
    claims = json.dumps({"user": user, "expires": int(now) + TOKEN_SECONDS}).encode()
    body = base64.urlsafe_b64encode(claims).decode()
    return f"{body}.{_sign(body, secret)}"


def read_token(token: str, secret: str, now: float) -> str:
    """The user a token was made for. Raises SessionError."""
    body, _, signature = token.partition(".")
    if not hmac.compare_digest(signature.encode(), _sign(body, secret).encode()):
        raise SessionError("the token is not valid")
    try:
        claims = json.loads(base64.urlsafe_b64decode(body))
    except (binascii.Error, ValueError) as error:
        raise SessionError("the token is not valid") from error
    if claims["expires"] <= now:
        raise SessionError("the token has expired")
    return str(claims["user"])


def _sign(body: str, secret: str) -> str:
    return hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()
