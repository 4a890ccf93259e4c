"""
What is measured: something that runs Python, session by session.

A peer describes itself in the process that conducts the benchmark, and is opened in a process of
its own (`bench/driver.py`), with the Python that has what it needs. Its methods are coroutines;
one whose library blocks says so, and is asked from threads where several things happen at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Venv:
    """An environment that the benchmark makes: pinned packages, beside the guest's libraries."""

    name: str
    packages: tuple[str, ...]
    has_libraries: bool = True


@dataclass(frozen=True, slots=True)
class Place:
    """Where a driver finds things. Folders are absolute."""

    env: Path  # the guest environment
    prefixes: tuple[str, ...]  # what its Python reads
    mpl_config: Path  # a writable copy of matplotlib's font cache
    peers: Path  # folder of everything that peers had installed


class Session(Protocol):
    """A running interpreter, or what the peer has instead."""

    async def run(self, code: str) -> str:
        """Run a cell to its end; return what it printed. Raises CellFailed."""
        ...

    async def close(self) -> None:
        """End it; return when its process is gone."""
        ...


class CellFailed(Exception):
    """A cell that must succeed did not: its figure would be worth nothing."""


class Peer:
    """One line of the comparison."""

    key: str
    title: str
    isolation: str
    python: Venv | Literal["ours", "guest"] = "guest"
    is_blocking: bool = True  # its calls hold up the thread
    has_libraries: bool = True  # pandas and the rest can be imported
    starts_loaded: bool = False  # a new session has them in memory already
    shows_figures: bool = False  # plt.show() hands over a png; else the cell prints it
    live_max: int = 0  # how many sessions it can hold on a small machine; 0: not asked
    # What it cannot do: name of the measure → why.
    cannot: Mapping[str, str] = {}
    remark: str = ""

    def missing(self) -> str | None:
        """Say what has to be installed first, and how; None when it can be measured."""
        return None

    def install(self, place: Place) -> None:
        """Fetch what pip does not; called once before it is opened, in the conductor."""

    def version(self) -> str:
        """The version that is measured; asked in the driver, once it is open."""
        raise NotImplementedError

    async def open(self, place: Place) -> None:
        """Start what serves all sessions."""

    async def session(self) -> Session:
        """Start a session."""
        raise NotImplementedError

    async def settle(self) -> None:
        """Wait until it is at rest, as before the first session."""

    async def close(self) -> None:
        """End what `open` started."""
