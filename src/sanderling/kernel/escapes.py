"""
What models write that is not Python: `%magics` and `!shell` lines, as in a notebook.

A cell is translated only if it is not valid Python as it stands. Lines that begin with `%` or `!`
(also behind `name =`) become calls of functions in the cell's namespace; every other line keeps its
number, so tracebacks stay right. Magics that make no sense here answer in one sentence.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
import timeit
from collections.abc import Callable
from typing import Any

_LINE = re.compile(r"^(?P<indent>\s*)(?:(?P<target>[A-Za-z_]\w*)\s*=\s*)?(?P<mark>[%!])(?P<text>.*)$")
_MAGIC, _SHELL = "__sanderling_magic__", "__sanderling_shell__"
_PIP = re.compile(r"^\s*(?:python3?\s+-m\s+)?(?:pip3?|conda|mamba|uv)\b.*\binstall\b")
_NO_INSTALL = (
    "Packages cannot be installed here: there is no network. What is installed can be listed with "
    "importlib.metadata.distributions()."
)
# Settings of a notebook's front end: there is none, figures and tables show themselves.
_QUIET = frozenset(
    {"matplotlib", "config", "load_ext", "reload_ext", "autoreload", "pylab", "precision"}
)


class UsageError(Exception):
    """A magic that does not exist here, or was written wrongly."""


def translate(source: str) -> str | None:
    """Return the cell as Python, or None if it holds no magic and no shell line."""
    first, _, rest = source.partition("\n")
    if first.startswith("%%"):
        name, _, argument = first[2:].partition(" ")
        return f"{_MAGIC}({name.strip()!r}, {argument.strip()!r}, {rest!r})"
    lines = source.split("\n")
    translated = [_translate_line(line) for line in lines]
    return None if translated == lines else "\n".join(translated)


def install(names: dict[str, Any]) -> None:
    """Put the functions that translated cells call into the cells' namespace."""
    magics = Magics(names)
    names[_MAGIC] = magics.run
    names[_SHELL] = shell


def shell(command: str) -> list[str]:
    """Run a command of a `!` line; its output is shown, its lines are returned when assigned."""
    if _PIP.match(command):
        print(_NO_INSTALL)
        return []
    sys.stdout.flush()
    process = subprocess.run(  # noqa: S602 - that is what was asked for
        command,
        shell=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    text = process.stdout.decode("utf-8", "replace")
    return text.splitlines()


def _show_shell(command: str) -> None:
    if _PIP.match(command):
        print(_NO_INSTALL)
        return
    sys.stdout.flush()
    # Straight to descriptors 1 and 2: the output appears while the command runs.
    subprocess.run(command, shell=True, stdin=subprocess.DEVNULL, check=False)  # noqa: S602


class Magics:
    """The magics that models use, by name."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names
        self._by_name: dict[str, Callable[[str, str | None], Any]] = {
            "time": self._time,
            "timeit": self._timeit,
            "pip": self._pip,
            "conda": self._pip,
            "writefile": self._writefile,
            "bash": self._bash,
            "sh": self._bash,
            "capture": self._python,
            "pwd": lambda argument, body: os.getcwd(),
            "cd": self._cd,
            "ls": lambda argument, body: _show_shell(f"ls {argument}"),
            "who": self._who,
        }

    def run(self, name: str, argument: str = "", body: str | None = None) -> Any:
        """
        Run one magic; `body` is the rest of the cell of a `%%` one.

        Raises:
            UsageError: there is no such magic here.
        """
        if name in _QUIET:
            return None
        if name == "!":
            return _show_shell(argument)
        magic = self._by_name.get(name)
        if magic is None:
            mark = "%" if body is None else "%%"
            raise UsageError(
                f"{mark}{name} is not available here. Available are: "
                + ", ".join(f"%{known}" for known in sorted(self._by_name))
                + "."
            )
        return magic(argument, body)

    def _execute(self, source: str) -> Any:
        code = compile(source, "<magic>", "exec")
        exec(code, self._names)  # noqa: S102 - that is what was asked for

    def _python(self, argument: str, body: str | None) -> None:
        del argument
        self._execute(body or "")

    def _time(self, argument: str, body: str | None) -> Any:
        source = argument if body is None else body
        wall, cpu = time.perf_counter(), time.process_time()
        value = None
        try:
            try:
                code = compile(source, "<magic>", "eval")
            except SyntaxError:
                self._execute(source)
            else:
                value = eval(code, self._names)  # noqa: S307 - that is what was asked for
        finally:
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            print(f"CPU times: total: {_duration(cpu)}\nWall time: {_duration(wall)}")
        return value

    def _timeit(self, argument: str, body: str | None) -> None:
        words = argument.split()
        while words and words[0].startswith("-"):
            words.pop(0)
        statement = " ".join(words) if body is None else body
        timer = timeit.Timer(statement, globals=self._names)
        number, _ = timer.autorange()
        runs = [seconds / number for seconds in timer.repeat(repeat=3, number=number)]
        print(f"{_duration(min(runs))} per loop (best of {len(runs)}, {number:,} loops each)")

    def _pip(self, argument: str, body: str | None) -> None:
        del body
        if "install" in argument.split():
            print(_NO_INSTALL)
        else:
            _show_shell(f"{shlex.quote(sys.executable)} -m pip {argument}")

    def _writefile(self, argument: str, body: str | None) -> None:
        words = shlex.split(argument)
        mode = "a" if words[:1] == ["-a"] else "w"
        if not words or body is None:
            raise UsageError("%%writefile needs a file name, and the text on the lines below it.")
        with open(words[-1], mode) as file:
            file.write(body if body.endswith("\n") else body + "\n")
        print(f"{'Appending to' if mode == 'a' else 'Writing'} {words[-1]}")

    def _bash(self, argument: str, body: str | None) -> None:
        _show_shell(argument if body is None else body)

    def _cd(self, argument: str, body: str | None) -> None:
        del body
        os.chdir(os.path.expanduser(argument or "~"))
        print(os.getcwd())

    def _who(self, argument: str, body: str | None) -> None:
        del argument, body
        hidden = {"In", "Out", "display"}
        print("  ".join(n for n in self._names if not n.startswith("_") and n not in hidden))


def _translate_line(line: str) -> str:
    match = _LINE.match(line)
    if match is None:
        return line
    indent, target, text = match["indent"], match["target"], match["text"].strip()
    if match["mark"] == "!":
        if target:
            return f"{indent}{target} = {_SHELL}({text!r})"
        return f"{indent}{_MAGIC}('!', {text!r})"
    name, _, argument = text.partition(" ")
    call = f"{_MAGIC}({name!r}, {argument.strip()!r})"
    return f"{indent}{target} = {call}" if target else indent + call


def _duration(seconds: float) -> str:
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
