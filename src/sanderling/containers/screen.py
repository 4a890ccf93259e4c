"""
What a terminal shows in the end of text that moves its cursor: of a progress bar, its last state.

The text comes from a box, so the work is bounded: one that would take too much is left as it is.
"""

from __future__ import annotations

import re

# Digits are few: Python refuses to read numbers of thousands of them.
_TOKEN = re.compile(r"[\r\n\b]|\x1b\[[0-9;?]{0,16}[A-Za-z]|[^\r\n\b\x1b]+|\x1b")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_MOVES = re.compile(r"\r(?!\n)|\x08|\x1b\[[0-9;?]{0,16}[A-HJKf]")


_WORK_MAX = 1_200_000  # a fifth of a second
_TOKEN_WORK = 8


class _TooMuch(Exception):
    """More work than a text is worth."""


def settled(text: str) -> str:
    """Return `text` as it is seen in the end; text that moves no cursor is returned as it is."""
    if "\r" not in text and "\b" not in text and "\x1b" not in text:
        return text
    move = _MOVES.search(text)
    if move is None:
        return text  # line ends of another system, colours
    # Above the line of the first move nothing is written over, unless the cursor goes up.
    start = 0 if "\x1b" in text else text.rfind("\n", 0, move.start()) + 1
    screen = _Screen()
    try:
        for token in _TOKEN.finditer(text, start):
            screen.take(token[0])
    except _TooMuch:
        return text
    return text[:start] + screen.text()


class _Screen:
    """As many rows as there are lines; a cursor that goes only where bars let it go."""

    def __init__(self) -> None:
        self._rows = [""]
        self._written_over: set[int] = set()
        self._row = self._column = 0
        self._work_left = _WORK_MAX

    def take(self, token: str) -> None:
        self._work_left -= _TOKEN_WORK + len(self._rows[self._row]) // 16
        if self._work_left < 0:
            raise _TooMuch
        match token[0]:
            case "\n":
                self._row += 1
                self._column = 0
                if self._row == len(self._rows):
                    self._rows.append("")
            case "\r":
                self._column = 0
            case "\b":
                self._column = max(0, self._column - 1)
            case "\x1b":
                self._escape(token)
            case _:
                self._write(token)

    def text(self) -> str:
        rows = self._rows
        for number in self._written_over:
            rows[number] = rows[number].rstrip(" ")  # with blanks a bar is wiped away
        return "\n".join(rows)

    def _write(self, text: str) -> None:
        row = self._rows[self._row]
        if self._column >= len(row):
            self._rows[self._row] = row.ljust(self._column) + text
        else:
            self._written_over.add(self._row)
            row = _COLOUR.sub("", row)
            self._rows[self._row] = row[: self._column] + text + row[self._column + len(text) :]
        self._column += len(text)

    def _escape(self, sequence: str) -> None:
        row = self._rows[self._row]
        digits = sequence[2:-1]
        match sequence[-1]:
            case "A":
                self._row = max(0, self._row - (int(digits) if digits.isdecimal() else 1))
            case "K" if digits in ("2", "1"):
                self._rows[self._row] = "" if digits == "2" else row[self._column :].rjust(len(row))
            case "K":
                self._rows[self._row] = row[: self._column]
            case "m" if self._column >= len(row):
                self._rows[self._row] = row + sequence
                self._column = len(self._rows[self._row])
            case _:
                return  # what bars have no use for
