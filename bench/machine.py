"""The machine that was measured on, and how busy it was."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

# A tenth of the time somebody waited for a processor: medians begin to tell of others.
_BUSY_PERCENT = 10.0


@dataclass(frozen=True, slots=True)
class Load:
    """
    load: the load average of the last minute.
    waiting_percent: the share of the last ten seconds in which somebody waited for a processor.
    """

    load: float
    waiting_percent: float

    @staticmethod
    def now() -> Load:
        try:
            some = Path("/proc/pressure/cpu").read_text().split()[1]
        except OSError:  # a kernel without pressure figures
            some = "avg10=0"
        return Load(os.getloadavg()[0], float(some.partition("=")[2]))

    def warn(self) -> None:
        """Say on standard error if others are at work."""
        if self.waiting_percent > _BUSY_PERCENT:
            print(
                f"The machine is busy (load {self.load:.1f}, {self.waiting_percent:.0f} % of the "
                "time somebody waits for a processor): the figures will be worse than its own.",
                file=sys.stderr,
                flush=True,
            )


def describe() -> dict[str, str]:
    """What a reader must know to compare, by name."""
    cpu = _value(Path("/proc/cpuinfo"), "model name") or platform.machine()
    memory_kib = int((_value(Path("/proc/meminfo"), "MemTotal") or "0 kB").split()[0])
    distribution = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    return {
        "machine": f"{os.cpu_count()} × {cpu}, {memory_kib / (1 << 20):.0f} GiB",
        "system": f"{distribution}, Linux {platform.release()}",
        "python": platform.python_version(),
        "sanderling": metadata.version("sanderling"),
    }


def _value(path: Path, name: str) -> str | None:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
