"""Samples of one quantity, and the table that sets ours beside a peer's."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table


@dataclass
class Samples:
    """Measurements of one thing, in `unit`."""

    unit: str = "ms"
    values: list[float] = field(default_factory=list)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add the milliseconds that the block takes."""
        started = time.perf_counter()
        yield
        self.values.append((time.perf_counter() - started) * 1000)

    def quantile(self, share: float) -> float:
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def text(self) -> str:
        if len(self.values) == 1:
            return f"{self.values[0]:,.2f} {self.unit}"
        low, high = min(self.values), self.quantile(0.99)
        return f"{low:,.2f} / {self.median:,.2f} / {high:,.2f} {self.unit}"


@dataclass(frozen=True)
class Row:
    """One line of the table. `target` is the bound of docs/performance.md, as text."""

    name: str
    ours: Samples
    peer: Samples | None
    target: str

    def ratio(self) -> str:
        """How many times better our median is than the peer's; rates the other way round."""
        if self.peer is None:
            return ""
        ours, peer = self.ours.median, self.peer.median
        better = ours / peer if self.ours.unit == "/s" else peer / ours
        return f"{better:,.1f}×"


def show(rows: list[Row], machine: str) -> None:
    """Print the table: minimum / median / 99th percentile."""
    table = Table(title=f"Sanderling beside ipykernel · {machine} · min / p50 / p99")
    for heading in ("", "Sanderling", "ipykernel", "better by", "goal"):
        table.add_column(heading, justify="left" if heading in {"", "goal"} else "right")
    for row in rows:
        peer = row.peer.text() if row.peer is not None else "—"
        table.add_row(row.name, row.ours.text(), peer, row.ratio(), row.target)
    Console(width=140).print(table)
