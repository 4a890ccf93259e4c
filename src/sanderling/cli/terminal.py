"""
What a command prints: colours for a terminal, plain text for a pipe, nothing hostile for either.

Text that came out of a box may hold escape sequences, and a terminal obeys some that no program of
a stranger should send (set the clipboard, answer a query as if typed). On a terminal only colours
survive; into a pipe the bytes go as they are, because there they are data.
"""

from __future__ import annotations

import re
from typing import IO, TextIO

from rich.console import Console

_COLOUR = r"\x1b\[[0-9;:]{0,40}m"
# A colour, or anything that could command a terminal: other escape sequences whole, then every
# control character but newline, tab, and what progress bars use, carriage return and backspace.
_CONTROL = re.compile(
    rf"({_COLOUR})"
    r"|\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)


def harmless(text: str) -> str:
    """Return `text` without anything that commands a terminal; colours stay."""
    return _CONTROL.sub(lambda match: match[1] or "", text)


def counted(number: int, thing: str) -> str:
    """Return `1 package`, `2 packages`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def console(stream: TextIO) -> Console:
    """Return a console on `stream` that wraps nothing and colours only a terminal."""
    return Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)


def write(stream: IO[str], text: str) -> None:
    """Write text from a box to `stream` at once."""
    stream.write(harmless(text) if stream.isatty() else text)
    stream.flush()
