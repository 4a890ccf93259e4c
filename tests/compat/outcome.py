"""
What a cell has shown, in a form that two kernels can be compared by.

Only what two runs of one kernel do not share is made equal: addresses of objects, process numbers,
names of temporary files, the folder that the kernel stands in, what a kernel calls its cells, how
long something took, and what the garbage collector tells.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path

_SAME: tuple[tuple[str, str], ...] = (
    (r"\x1b\[[0-9;]*m", ""),
    (r"\r\n", "\n"),  # Jupyter runs the shell's commands in a terminal
    (r"(?:/\S*?/)?ipykernel_\d+/\d+\.py|(?<![\w/.-])\d{5,}\.py|<cell \d+>", "<cell>"),
    (r"/usr/bin/sh\b", "/bin/sh"),
    (r"\b0x[0-9a-f]{6,}\b", "0x…"),
    (r"/tmp/tmp\w{8}", "/tmp/tmp…"),
    (r"(?<=Ran 1 test in )\d+\.\d{3}s", "… s"),
    (r"\b\d+(?:\.\d+)?(?:e[+-]?\d+)? (?:n|[μu]|m)?s(?=[, \n]|$)", "… s"),
    # Told when the garbage collector comes by, of whatever line it is then.
    (r"\S+:\d+: RuntimeWarning: coroutine '\w+' was never awaited\n(?:  .*\n)?", ""),
    (r"RuntimeWarning: Enable tracemalloc to get the object allocation traceback\n", ""),
    (r"The slowest run took .*\n", ""),  # of a machine that others use
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    results: the texts of the last expression and of what was displayed.
    kinds: what each of these offered beside text and pictures, by media type.
    lines: cell and line of each of the user's frames in the traceback, neighbours told once.
    """

    stdout: str = ""
    stderr: str = ""
    results: tuple[str, ...] = ()
    kinds: tuple[tuple[str, ...], ...] = ()
    images: int = 0
    error: tuple[str, str] | None = None
    lines: tuple[tuple[int, int], ...] = ()

    def unlike(self, other: Outcome) -> dict[str, tuple[object, object]]:
        """What is not the same in `other`: field → (here, there)."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return {name: (here, there) for name, (here, there) in pairs.items() if here != there}


class Normal:
    """Makes texts of a kernel that stands in `folder` comparable."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def text(self, text: str) -> str:
        text = text.replace(self._folder, "/mnt/data")
        for pattern, same in _SAME:
            text = re.sub(pattern, same, text)
        return text

    def error(self, name: str, message: str) -> tuple[str, str]:
        return name, self.text(message)


def once(lines: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Leave out what repeats its neighbour: a recursion is as long as each kernel lets it be."""
    return tuple(line for place, line in enumerate(lines) if place == 0 or lines[place - 1] != line)
