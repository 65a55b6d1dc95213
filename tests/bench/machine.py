"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Machine:
    """``load_average`` of the last 1, 5 and 15 minutes, taken before anything was started."""

    processor: str
    cores: int
    memory_gib: float
    load_average: tuple[float, float, float]
    kernel: str
    python: str
    ansible_core: str
    kubernetes_client: str

    @classmethod
    def look(cls) -> Machine:
        """This machine, now."""
        return cls(
            processor=_processor(),
            cores=len(os.sched_getaffinity(0)),
            memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            load_average=os.getloadavg(),
            kernel=platform.release(),
            python=platform.python_version(),
            ansible_core=version("ansible-core"),
            kubernetes_client=version("kubernetes"),
        )

    def document(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def text(self) -> str:
        """Two lines for a person."""
        average = " ".join(f"{value:.2f}" for value in self.load_average)
        return (
            f"{self.cores} cores ({self.processor}), {self.memory_gib} GiB; load average before: {average}\n"
            f"Python {self.python}, ansible-core {self.ansible_core}, kubernetes {self.kubernetes_client}"
        )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return " ".join(line.split(":", 1)[1].split())
    return platform.machine()
