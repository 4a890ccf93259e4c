"""
Commands of the shell in cells: `!ls`, `files = !ls`, `%%bash`.

Their output goes where every program's goes, stdout and stderr as one, as on a terminal. Values of
Python go into a command by IPython's rules: `{expression}` and `$name`.
"""

from __future__ import annotations

import builtins
import os
import re
import shutil
import string
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast

from sanderling.kernel import installers

# Not in '…', as the shell has it.
_DOLLAR = re.compile(r"(.*?)\$(\$?[\w.]+)(?=(?:[^']*'[^']*')*[^']*$)", re.DOTALL)

_eval = builtins.eval


class SList(list[str]):
    """The lines of a command's output, with IPython's shorthands."""

    @property
    def l(self) -> list[str]:  # noqa: E743 - IPython's name
        return list(self)

    @property
    def n(self) -> str:
        return "\n".join(self)

    @property
    def s(self) -> str:
        return " ".join(self)

    @property
    def p(self) -> list[Any]:
        import pathlib  # noqa: PLC0415 - who asks for paths pays for them

        return [pathlib.Path(line) for line in self]

    list, nlstr, spstr, paths = l, n, s, p

    def grep(self, pattern: Any, prune: bool = False, field: int | None = None) -> SList:
        """The lines that match, or with `prune` those that do not."""
        matches = pattern if callable(pattern) else re.compile(pattern, re.IGNORECASE).search

        def is_wanted(line: str) -> bool:
            words = line.split()
            text = line if field is None else words[field] if field < len(words) else ""
            return bool(matches(text)) != prune

        return SList(line for line in self if is_wanted(line))

    def fields(self, *numbers: int) -> Any:
        """Words of each line by their numbers."""
        words = [line.split() for line in self]
        if not numbers:
            return words
        return SList(" ".join(w[n] for n in numbers if -len(w) <= n < len(w)) for w in words)


def filled_in(command: str, names: Mapping[str, Any]) -> str:
    """Put values in for `{expression}` and `$name`; as it is if one of them has no value."""
    pieces: list[str] = []
    try:
        for literal, field, spec, conversion in string.Formatter().parse(command):
            _fill_dollars(literal, names, pieces)
            if field is not None:
                value = _eval(f"{field}:{spec}" if spec else field, {**names})
                pieces.append({"r": repr, "a": ascii}.get(conversion or "", str)(value))
    except Exception:  # noqa: BLE001 - braces of awk's or the shell's own
        return command
    return "".join(pieces)


def _fill_dollars(text: str, names: Mapping[str, Any], pieces: list[str]) -> None:
    end = 0
    for match in _DOLLAR.finditer(text):
        before, name = match.group(1, 2)
        pieces.append(before)
        pieces.append(name if name.startswith("$") else str(_eval(name, {**names})))
        end = match.end()
    pieces.append(text[end:])


def run(command: str) -> int:
    """Run a command line; return its exit status."""
    is_kept = _is_kept(sys.stdout, 1)
    sys.stdout.flush()
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if is_kept else None,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if is_kept:
        sys.stdout.write(done.stdout.decode(errors="replace"))
    return done.returncode


def _is_kept(stream: Any, own: int) -> bool:
    """Whether code has put something in a stream's place that a program cannot write to."""
    try:
        return bool(stream.fileno() != own)
    except (OSError, AttributeError):
        return True


def lines_of(command: str) -> tuple[SList, int]:
    """Run a command line; return the lines it wrote, and its exit status."""
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return SList(done.stdout.decode(errors="replace").splitlines()), done.returncode


class Script:
    """A cell that another program runs: `%%bash --out lines -s a b`."""

    def __init__(self, program: Sequence[str], arguments: str) -> None:
        self._out = self._err = ""
        self._may_fail = False
        words = arguments.split()
        while words and words[0].startswith("--"):
            option, _, value = words.pop(0).partition("=")
            if option in ("--out", "--err", "--proc"):
                value = value or (words.pop(0) if words else "")
            self._out = value if option == "--out" else self._out
            self._err = value if option == "--err" else self._err
            self._may_fail = self._may_fail or option == "--no-raise-error"
        self._command = [*program, *words]

    def run(self, body: str, names: dict[str, Any]) -> None:
        """
        Raises:
            CalledProcessError: it ended with another status than 0.
        """
        body = body if body.endswith("\n") else body + "\n"
        is_shells = os.path.basename(self._command[0]) in installers.SHELLS
        script = installers.answered(body) if is_shells else body
        sys.stdout.flush()
        done = subprocess.run(
            self._command,
            input=script.encode("utf-8", "surrogateescape"),
            stdout=subprocess.PIPE if self._out or _is_kept(sys.stdout, 1) else None,
            stderr=subprocess.PIPE if self._err or _is_kept(sys.stderr, 2) else None,
            check=False,
        )
        names["_exit_code"] = done.returncode
        for name, data, stream in (
            (self._out, done.stdout, sys.stdout),
            (self._err, done.stderr, sys.stderr),
        ):
            if name:
                names[name] = data.decode(errors="replace")
            elif data is not None:
                stream.write(data.decode(errors="replace"))
        if done.returncode and not self._may_fail:
            raise subprocess.CalledProcessError(done.returncode, cast("Any", body.encode()))


def interpreter(name: str) -> list[str]:
    """The program behind `%%bash`, `%%sh`, `%%python3`."""
    if name.startswith("python"):
        return [sys.executable, "-"]
    return ["/bin/sh" if shutil.which(name) is None else name]
