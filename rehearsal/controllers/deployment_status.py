"""The status of a Deployment: counts and the conditions Available and Progressing."""

from __future__ import annotations

from datetime import datetime, timedelta

from rehearsal.objects import Object, condition, parse_time, timestamp

NO_DEADLINE = 2**31 - 1


def deployment_status(
    deployment: Object, new: Object | None, sets: list[Object], unavailable: int, now: datetime
) -> Object:
    """The status to write, from what the ReplicaSets' own statuses say. Counts of zero are left out."""
    old = deployment.get("status") or {}
    status: Object = {"observedGeneration": deployment["metadata"]["generation"]}
    total = _sum(sets, "replicas")
    available = _sum(sets, "availableReplicas")
    found = {
        "replicas": total,
        "updatedReplicas": _sum([new] if new else [], "replicas"),
        "readyReplicas": _sum(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, max(total, _asked(sets)) - available),
        "collisionCount": old.get("collisionCount") or 0,
    }
    status |= {name: count for name, count in found.items() if count}
    conditions = [_available_condition(deployment, available, unavailable, now)]
    progressing = _progressing_condition(deployment, new, status, now)
    if progressing is not None:
        conditions.append(progressing)
    others = [each for each in old.get("conditions") or [] if each["type"] not in ("Available", "Progressing")]
    status["conditions"] = _in_known_order(old.get("conditions") or [], conditions + others)
    return status


def progress_deadline(deployment: Object, now: datetime) -> float | None:
    """Seconds until a rollout under way counts as stuck; None when none is, or when it has no deadline."""
    limit = deployment["spec"].get("progressDeadlineSeconds", NO_DEADLINE)
    progressing = condition(deployment, "Progressing")
    if limit == NO_DEADLINE or progressing is None or deployment["spec"].get("paused"):
        return None
    if progressing["reason"] in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
        return None
    due = parse_time(progressing["lastUpdateTime"]) + timedelta(seconds=limit + 1)
    return max(0.1, (due - now).total_seconds())


def _sum(sets: list[Object], field: str) -> int:
    return sum((each.get("status") or {}).get(field) or 0 for each in sets)


def _asked(sets: list[Object]) -> int:
    return sum(each["spec"]["replicas"] for each in sets)


def _in_known_order(known: list[Object], conditions: list[Object]) -> list[Object]:
    """Keep the order conditions were first written in, so that nothing is rewritten for its order only."""
    order = [each["type"] for each in known]
    return sorted(conditions, key=lambda each: order.index(each["type"]) if each["type"] in order else len(order))


def _available_condition(deployment: Object, available: int, unavailable: int, now: datetime) -> Object:
    if available >= deployment["spec"]["replicas"] - unavailable:
        return _changed(
            deployment,
            now,
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    return _changed(
        deployment,
        now,
        "Available",
        "False",
        "MinimumReplicasUnavailable",
        "Deployment does not have minimum availability.",
    )


def _progressing_condition(deployment: Object, new: Object | None, status: Object, now: datetime) -> Object | None:
    known = condition(deployment, "Progressing")
    limit = deployment["spec"].get("progressDeadlineSeconds", NO_DEADLINE)
    if limit == NO_DEADLINE:
        return None
    if deployment["spec"].get("paused"):
        return _paused(deployment, known, now)
    name = f'ReplicaSet "{new["metadata"]["name"]}"' if new else "Deployment"
    if _is_complete(deployment, status):
        message = f"{name} has successfully progressed."
        return _changed(deployment, now, "Progressing", "True", "NewReplicaSetAvailable", message)
    if known is not None and known["reason"] == "NewReplicaSetAvailable" and not _is_rolling(deployment, status):
        return known
    if _has_moved(deployment, status) or known is None or _is_resumed(known, deployment):
        message = f"{name} is progressing."
        return _changed(deployment, now, "Progressing", "True", "ReplicaSetUpdated", message, touch=True)
    idle = (now - parse_time(known["lastUpdateTime"])).total_seconds()
    if known["reason"] != "ProgressDeadlineExceeded" and idle > limit:
        message = f"{name} has timed out progressing."
        return _changed(deployment, now, "Progressing", "False", "ProgressDeadlineExceeded", message)
    return known


def _paused(deployment: Object, known: Object | None, now: datetime) -> Object | None:
    if known is not None and known["reason"] in ("ProgressDeadlineExceeded", "NewReplicaSetAvailable"):
        return known
    return _changed(deployment, now, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")


def _is_resumed(known: Object, deployment: Object) -> bool:
    return known["reason"] == "DeploymentPaused" or _is_new_template(known, deployment)


def _is_new_template(known: Object, deployment: Object) -> bool:
    """A generation not looked at before starts a new count of a rollout that was done or stuck."""
    seen = (deployment.get("status") or {}).get("observedGeneration", 0)
    return known["reason"] in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded") and (
        seen < deployment["metadata"]["generation"]
    )


def _is_complete(deployment: Object, status: Object) -> bool:
    desired = deployment["spec"]["replicas"]
    counts = [status.get(name, 0) for name in ("updatedReplicas", "replicas", "availableReplicas")]
    return all(count == desired for count in counts)


def _is_rolling(deployment: Object, status: Object) -> bool:
    return bool(status.get("replicas", 0) != status.get("updatedReplicas", 0))


def _has_moved(deployment: Object, status: Object) -> bool:
    old = deployment.get("status") or {}
    up = ("updatedReplicas", "readyReplicas", "availableReplicas")
    before = old.get("replicas", 0) - old.get("updatedReplicas", 0)
    after = status.get("replicas", 0) - status.get("updatedReplicas", 0)
    return after < before or any(status.get(name, 0) > old.get(name, 0) for name in up)


def _changed(
    deployment: Object, now: datetime, kind: str, value: str, reason: str, message: str, *, touch: bool = False
) -> Object:
    """The condition as it was if it says the same, else with new times. ``touch`` renews its update time."""
    known = condition(deployment, kind)
    moved = timestamp(now)
    if known is not None:
        if (known["status"], known["reason"], known["message"]) == (value, reason, message) and not touch:
            return known
        if known["status"] == value:
            moved = known["lastTransitionTime"]
    return {
        "type": kind,
        "status": value,
        "reason": reason,
        "message": message,
        "lastUpdateTime": timestamp(now),
        "lastTransitionTime": moved,
    }
