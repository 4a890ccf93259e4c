"""
The sessions: files of cells in `cells/`, each run from its first cell to its last in one kernel.

A line `# %%` begins a cell. What follows in that line is why the two kernels differ there, a key of
`differences.REASONS`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "cells"

_MARK = re.compile(r"^# %%[ ]?([\w ]*)\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Cell:
    """difference: a key of `differences.REASONS`, or empty."""

    number: int
    source: str
    difference: str = ""


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.cells"))


def cells(name: str) -> list[Cell]:
    """The cells of one session."""
    _, *parts = _MARK.split((FOLDER / f"{name}.cells").read_text())
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [Cell(n, source.rstrip("\n"), why) for n, (why, source) in enumerate(pairs, start=1)]
