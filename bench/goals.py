"""The numbers Sanderling holds itself to on two cores, and which are met. Nothing is asserted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Results = dict[str, Any]
Get = Callable[[Results], float]


@dataclass(frozen=True, slots=True)
class Goal:
    """
    One promise. `must` is to be kept, `moonshot` is where it should go; None: no such number.

    get: takes the value out of the results; KeyError where it was not measured.
    """

    title: str
    unit: str
    get: Get
    must: float
    moonshot: float | None
    is_rate: bool = False  # more is better

    def is_met(self, value: float, bound: float) -> bool:
        return value >= bound if self.is_rate else value <= bound


def _peer(key: str, figure: str, what: str = "p50") -> Get:
    return lambda results: float(results["peers"]["figures"][key][figure][what])


def _own(section: str, figure: str, what: str = "p50") -> Get:
    return lambda results: float(results[section]["figures"][figure][what])


def _live(figure: str) -> Get:
    return lambda results: float(results["scale"]["figures"]["ours"]["1000"][figure]["p50"])


GOALS = (
    Goal("container from the pool → pandas imported, p50", "ms",
         _peer("ours-pool", "imports"), 1, 0.4),
    Goal("container from the pool → pandas imported, p99", "ms",
         _peer("ours-pool", "imports", "p99"), 10, None),
    Goal("container without pool → first output, p50", "ms",
         _peer("ours", "first_print"), 10, 4),
    Goal("execution, host to kernel and back, p50", "ms", _own("engine", "round_trip"), 0.1, 0.03),
    Goal("execution over HTTP, p50", "ms", _own("http", "execution"), 3, 1),
    Goal("execution over HTTP, the SDK's own time included, p50", "ms",
         _own("http", "execution_sdk"), 3, 1),
    Goal("private memory per idle container, 1,000 alive", "MiB", _live("private"), 4, 2),
    Goal("all memory per idle container, the machine's kernel included, 1,000 alive", "MiB",
         _live("charged"), 4, 2),
    Goal("create + execute + destroy", "/s", _peer("ours", "lives"), 130, 400, is_rate=True),
    Goal("new kernel after a kill, files kept, p50", "ms", _own("engine", "respawn"), 15, 5),
    Goal("interrupt of `while True: pass`, p50", "ms", _own("engine", "interrupt"), 10, None),
    Goal("one response over HTTP with one code call, instant model, p50", "ms",
         _own("http", "run"), 25, 8),
    Goal("upload of 512 MiB: memory the server grows by", "MiB", _own("http", "upload_mib"),
         100, 64),
    Goal("upload of 512 MiB: share of the disk's own speed", "×",
         _own("http", "upload_share"), 0.8, 1, is_rate=True),
    Goal("line printed → event at the client, p50", "ms", _own("http", "live_line"), 30, 5),
)  # fmt: skip
