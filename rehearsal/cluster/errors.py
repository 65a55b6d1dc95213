"""Failures the API answers with: each knows its HTTP code and its Status object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rehearsal.cluster.resources import Resource


class StatusError(Exception):
    """A failure with HTTP ``code`` and the fields of a Status object. ``details`` of None are left out."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def body(self) -> dict[str, Any]:
        """The Status object."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details is not None:
            status["details"] = self.details
        return status | {"code": self.code}


@dataclass(frozen=True)
class Cause:
    """What is wrong with one field. ``reason`` is a word such as ``FieldValueInvalid``."""

    reason: str
    message: str
    field: str


def required(field: str, why: str = "") -> Cause:
    return Cause("FieldValueRequired", f"Required value: {why}" if why else "Required value", field)


def wrong(field: str, value: str, why: str) -> Cause:
    """``value`` as Go prints it: strings in quotes, numbers bare, structures as JSON."""
    return Cause("FieldValueInvalid", f"Invalid value: {value}: {why}", field)


def forbidden_field(field: str, why: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {why}", field)


def unsupported(field: str, value: str, allowed: list[str]) -> Cause:
    choices = ", ".join(f'"{a}"' for a in allowed)
    return Cause("FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {choices}', field)


def _details(resource: Resource, name: str, kind: str) -> dict[str, Any]:
    details = {"name": name, "group": resource.group, "kind": kind}
    return {key: value for key, value in details.items() if value}


def not_found(resource: Resource, name: str) -> StatusError:
    details = _details(resource, name, resource.plural)
    return StatusError(404, "NotFound", f'{resource.qualified} "{name}" not found', details)


def already_exists(resource: Resource, name: str) -> StatusError:
    details = _details(resource, name, resource.plural)
    return StatusError(409, "AlreadyExists", f'{resource.qualified} "{name}" already exists', details)


def conflict(resource: Resource, name: str) -> StatusError:
    why = "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return StatusError(409, "Conflict", message, _details(resource, name, resource.plural))


def precondition(resource: Resource, name: str, field: str, wanted: str, found: str) -> StatusError:
    why = f"the {field} in the precondition ({wanted}) does not match the {field} in record ({found})"
    message = f'Operation cannot be fulfilled on {resource.kind} "{name}": {why}.'
    message += " The object might have been deleted and then recreated" if field == "UID" else ""
    return StatusError(409, "Conflict", message, {"name": name, "kind": resource.kind})


def invalid(resource: Resource, name: str, causes: list[Cause]) -> StatusError:
    """422 with all causes; their order is kept."""
    texts = [f"{cause.field}: {cause.message}" for cause in causes]
    text = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    details = _details(resource, name, resource.kind)
    details["causes"] = [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes]
    return StatusError(422, "Invalid", f'{resource.qualified_kind} "{name}" is invalid: {text}', details)


def invalid_patch(document: str, why: str) -> StatusError:
    """A patch that strict field validation refuses; ``document`` is the object as patched."""
    cause = wrong("patch", document, why)
    details = {"causes": [{"reason": cause.reason, "message": cause.message, "field": cause.field}]}
    return StatusError(422, "Invalid", f' "" is invalid: patch: {cause.message}', details)


def unprocessable() -> StatusError:
    """A JSON patch that does not fit the object, or whose test fails."""
    return StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {})


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(resource: Resource, name: str, why: str) -> StatusError:
    what = f'{resource.qualified} "{name}" is forbidden' if name else f"{resource.qualified} is forbidden"
    return StatusError(403, "Forbidden", f"{what}: {why}", _details(resource, name, resource.plural))


def method_not_allowed() -> StatusError:
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message, {})


def expired(message: str) -> StatusError:
    return StatusError(410, "Expired", message)


def unavailable(message: str, code: int = 503) -> StatusError:
    reason = {502: "BadGateway", 503: "ServiceUnavailable", 504: "Timeout", 500: "InternalError"}[code]
    return StatusError(code, reason, message)
