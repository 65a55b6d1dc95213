"""The status of a pod, from the states of its containers: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rehearsal.objects import Object


@dataclass(frozen=True)
class ContainerStatus:
    """What a pod's status says about one container; ``state`` and ``last_state`` as the API has them."""

    name: str
    image: str
    container_id: str
    state: Mapping[str, Object]
    last_state: Mapping[str, Object]
    restarts: int
    ready: bool
    started: bool

    @property
    def exit_code(self) -> int | None:
        """The code it ended with, None while it has not."""
        ended = self.state.get("terminated")
        return int(ended["exitCode"]) if ended else None

    def to_api(self) -> Object:
        return {
            "name": self.name,
            "image": self.image,
            "imageID": self.image if self.container_id else "",
            "containerID": self.container_id,
            "state": dict(self.state),
            "lastState": dict(self.last_state),
            "restartCount": self.restarts,
            "ready": self.ready,
            "started": self.started,
        }


def has_completed(status: ContainerStatus) -> bool:
    """Done with success, as an init container must be."""
    return status.exit_code == 0


def phase_of(policy: str, init: Sequence[ContainerStatus], containers: Sequence[ContainerStatus], going: bool) -> str:
    """The pod's phase; ``going`` says that nothing will be restarted any more."""
    final = policy == "Never" or going
    if any(each.exit_code not in (None, 0) for each in init) and final:
        return "Failed"
    if not all(has_completed(each) for each in init):
        return "Pending"
    codes = [each.exit_code for each in containers]
    if all(code is not None for code in codes):
        if all(code == 0 for code in codes) and policy != "Always":
            return "Succeeded"
        if final:
            return "Succeeded" if not any(codes) else "Failed"
        return "Running"
    if any("running" in each.state or "terminated" in each.state or each.restarts for each in containers):
        return "Running"
    return "Pending"


def conditions_of(
    known: Sequence[Object],
    phase: str,
    init: Sequence[ContainerStatus],
    containers: Sequence[ContainerStatus],
    now: str,
) -> list[Object]:
    """The pod's conditions; times stay as they were where the value does."""
    done = phase in ("Succeeded", "Failed")
    initialized = all(has_completed(each) for each in init)
    unready = [each.name for each in containers if not each.ready]
    reason, message = "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    if done:
        reason, message = ("PodCompleted" if phase == "Succeeded" else "PodFailed"), ""
    values: dict[str, tuple[bool, str, str]] = {
        "PodReadyToStartContainers": (not done, "", ""),
        "Initialized": (initialized, "ContainersNotInitialized", "init containers have not completed"),
        "Ready": (not unready and not done, reason, message),
        "ContainersReady": (not unready and not done, reason, message),
        "PodScheduled": (True, "", ""),
    }
    return [_condition(known, kind, *value, now) for kind, value in values.items()]


def _condition(known: Sequence[Object], kind: str, holds: bool, reason: str, message: str, now: str) -> Object:
    value = "True" if holds else "False"
    before = next((each for each in known if each["type"] == kind), None)
    since = before["lastTransitionTime"] if before and before["status"] == value else now
    entry = {"type": kind, "status": value, "lastProbeTime": None, "lastTransitionTime": since}
    if not holds:
        entry |= {"reason": reason} | ({"message": message} if message else {})
    return entry
