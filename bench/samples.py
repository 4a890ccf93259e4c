"""Measurements of one thing, and what is told of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A summary of measurements: least, median, 99th percentile, greatest, and how many."""

    least: float
    p50: float
    p99: float
    most: float
    count: int

    @staticmethod
    def of(values: Sequence[float]) -> Figure:
        """`values`: at least one."""
        ordered = sorted(values)
        p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
        return Figure(ordered[0], statistics.median(ordered), p99, ordered[-1], len(ordered))


@contextmanager
def timed(values: list[float]) -> Iterator[None]:
    """Add the milliseconds that the block takes."""
    started = time.perf_counter()
    yield
    values.append((time.perf_counter() - started) * 1000)


def number(value: float) -> str:
    """Three digits that count, at most: 0.123, 1.23, 12.3, 123, 1,234."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
