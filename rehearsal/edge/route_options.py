"""The parts of a VirtualService route that go with its destinations: retries, headers, faults, mirrors, CORS."""

from __future__ import annotations

from typing import Any

from rehearsal.edge.fields import Fields

FAULT_FILTER = "envoy.filters.http.fault"
CORS_FILTER = "envoy.filters.http.cors"
DEFAULT_RETRIES = 2
DEFAULT_RETRY_ON = (
    "connect-failure",
    "refused-stream",
    "reset-before-request",
    "unavailable",
    "cancelled",
    "retriable-status-codes",
)
DEFAULT_RETRY_CODES = [503]


def retry_policy(route: Fields) -> dict[str, Any] | None:
    """Envoy's RetryPolicy; None where retries are turned off by ``attempts: 0``."""
    retries = route.object("retries")
    retries.only(("attempts", "perTryTimeout", "retryOn", "retryRemoteLocalities"))
    attempts = retries.integer("attempts", DEFAULT_RETRIES, most=1000)
    if attempts == 0:
        return None
    conditions, codes = list(DEFAULT_RETRY_ON), DEFAULT_RETRY_CODES
    if retries.string("retryOn"):
        named = [part.strip() for part in retries.string("retryOn").split(",") if part.strip()]
        codes = [int(part) for part in named if part.isdigit()]
        conditions = [part for part in named if not part.isdigit()]
        if codes and "retriable-status-codes" not in conditions:
            conditions.append("retriable-status-codes")
    policy: dict[str, Any] = {
        "num_retries": attempts,
        "retry_on": ",".join(conditions),
        "retriable_status_codes": codes,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        "host_selection_retry_max_attempts": "5",
    }
    if "perTryTimeout" in retries:
        policy["per_try_timeout"] = retries.duration("perTryTimeout")
    return policy


def safe_retries() -> dict[str, Any]:
    """A RetryPolicy for requests that can't have reached the application, as controllers other than Istio have it."""
    conditions = {"retryOn": "connect-failure,refused-stream,reset-before-request"}
    policy = retry_policy(Fields({"retries": conditions}, "default"))
    return policy or {}


def header_operations(owner: Fields) -> dict[str, Any]:
    """``headers`` of a route or destination as the header fields that Envoy's Route and ClusterWeight share.

    Envoy forbids to set the host as a header; ``host_of`` reads it instead.
    """
    headers = owner.object("headers")
    headers.only(("request", "response"))
    operations: dict[str, Any] = {}
    for side in ("request", "response"):
        part = headers.object(side)
        part.only(("set", "add", "remove"))
        added = _added(part, "set", "OVERWRITE_IF_EXISTS_OR_ADD") + _added(part, "add", "APPEND_IF_EXISTS_OR_ADD")
        if added:
            operations[f"{side}_headers_to_add"] = added
        if "remove" in part:
            operations[f"{side}_headers_to_remove"] = part.strings("remove")
    return operations


def host_of(owner: Fields) -> str | None:
    """The host that ``headers.request.set`` of a route or destination asks for, if any."""
    wanted = owner.object("headers").object("request").string_map("set")
    return next((value for name, value in wanted.items() if _is_host(name)), None)


def _added(part: Fields, name: str, action: str) -> list[dict[str, Any]]:
    return [
        {"header": {"key": key, "value": value}, "append_action": action}
        for key, value in part.string_map(name).items()
        if not _is_host(key)
    ]


def _is_host(header: str) -> bool:
    return header.lower() in ("host", ":authority")


def mirror_policies(route: Fields, clusters: list[str]) -> list[dict[str, Any]]:
    """Envoy's mirror policies for ``mirror`` and ``mirrors``; ``clusters`` are their destinations, in that order."""
    shares = [route.percent("mirrorPercentage")] if "mirror" in route else []
    shares += [mirror.percent("percentage") for mirror in route.objects("mirrors")]
    return [
        {"cluster": cluster, "runtime_fraction": {"default_value": share}}
        for cluster, share in zip(clusters, shares, strict=True)
    ]


def filter_options(route: Fields) -> dict[str, Any]:
    """Per-route settings of Envoy's HTTP filters (fault, CORS), keyed by filter name."""
    options = {}
    if "fault" in route:
        options[FAULT_FILTER] = _fault(route.object("fault"))
    if "corsPolicy" in route:
        options[CORS_FILTER] = _cors(route.object("corsPolicy"))
    return options


def _fault(fault: Fields) -> dict[str, Any]:
    fault.only(("delay", "abort"))
    settings: dict[str, Any] = {"@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"}
    if "delay" in fault:
        delay = fault.object("delay")
        delay.only(("fixedDelay", "percentage"))
        if "fixedDelay" not in delay:
            raise delay.refuse("fixedDelay", "must be a duration such as 2s or 250ms")
        settings["delay"] = {"fixed_delay": delay.duration("fixedDelay"), "percentage": delay.percent("percentage")}
    if "abort" in fault:
        abort = fault.object("abort")
        abort.only(("httpStatus", "percentage"))
        if "httpStatus" not in abort:
            raise abort.refuse("httpStatus", "must be an HTTP status")
        status = abort.integer("httpStatus", least=200, most=599)
        settings["abort"] = {"http_status": status, "percentage": abort.percent("percentage")}
    return settings


def _cors(cors: Fields) -> dict[str, Any]:
    cors.only(("allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders", "maxAge", "allowCredentials"))
    policy: dict[str, Any] = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [origin.string_match() for origin in cors.objects("allowOrigins")],
        "allow_credentials": cors.boolean("allowCredentials"),
    }
    for theirs, ours in (
        ("allowMethods", "allow_methods"),
        ("allowHeaders", "allow_headers"),
        ("exposeHeaders", "expose_headers"),
    ):
        if theirs in cors:
            policy[ours] = ",".join(cors.strings(theirs))
    age = cors.duration("maxAge")
    if age:
        policy["max_age"] = age.removesuffix("s")
    return policy
