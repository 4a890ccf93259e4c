"""
The notebook commands that models write without thinking: `%matplotlib inline`, `!ls`, `%%time`.

A cell that is valid Python is never touched. In one that is not, each command that stands where a
statement could begin becomes a call of `Magics`, on the same line, so that tracebacks still point
at the user's lines. Unknown commands end the cell with an error that says so.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import os
import re
import statistics
import subprocess
import sys
import time
import timeit
import types
from collections.abc import Callable
from typing import Any, Protocol

from sanderling.kernel import network

CALLS = "__sanderling_magics__"

# They set up a notebook's own screen and reloading; here there is nothing to set up.
_WITHOUT_EFFECT = frozenset(
    "matplotlib config load_ext reload_ext unload_ext autoreload precision colors xmode".split()
)
_SHELL_NAMES = frozenset("ls cat cp mv rm mkdir rmdir head tail grep wc man less more".split())
_OURS = frozenset({"In", "Out"})
_TIMEIT_RUNS = 5
_TIMEIT_SECONDS = 0.2  # what one run should take at least, for the clock's sake

_CELL_COMMAND = re.compile(r"\s*%%(\w+)[ \t]*([^\n]*)(?:\n|$)")
_LINE_COMMAND = re.compile(r"%(\w+)(?:[ \t]+(.*))?$", re.DOTALL)
_BARE_INSTALLER = re.compile(r"(?:pip3?|conda)[ \t]+(?:install|uninstall|list|freeze|show)\b")
_ASSIGNED = re.compile(r"([A-Za-z_][\w.]*)[ \t]*=[ \t]*([!%].+)$", re.DOTALL)
_INSTALLER = re.compile(
    r"(?:\S*python[\d.]*[ \t]+-m[ \t]+)?(?:pip3?|conda|mamba|uv pip)\b(.*)", re.DOTALL
)
_NAME_IN_COMMAND = re.compile(r"\{([A-Za-z_]\w*)\}|\$([A-Za-z_]\w*)")
_OPENERS, _CLOSERS = "([{", ")]}"


class UsageError(Exception):
    """A notebook command that does not exist here, or that was written wrongly."""


class Evaluator(Protocol):
    """What commands need of the session that runs them."""

    names: dict[str, Any]

    def evaluate(self, source: str, *, is_shown: bool) -> object:
        """Run `source` as a part of the running cell; return the value of its last expression."""
        ...

    def body_of_cell(self, body: str) -> str:
        """Return `body` moved down to where it stands in the running cell."""
        ...


# ---- from commands to calls: pure --------------------------------------------------------------


def rewrite(source: str) -> str:
    """Return `source` with its commands made calls; the number of lines stays the same."""
    if match := _CELL_COMMAND.match(source):
        name, arguments = match.groups()
        body = source[match.end() :]
        return f"{CALLS}.cell({name!r}, {arguments.strip()!r}, {body!r})"
    lines = source.split("\n")
    scanner = _Scanner()
    index = 0
    while index < len(lines):
        first = index
        call = None
        if scanner.is_at_statement:
            while lines[index].endswith("\\") and index + 1 < len(lines):
                index += 1
            call = _call("\n".join(lines[first : index + 1]).replace("\\\n", ""))
            if call is None:
                index = first
        if call is not None:
            lines[first : index + 1] = [call] + [""] * (index - first)
        else:
            scanner.pass_over(lines[index])
        index += 1
    return "\n".join(lines)


def _call(line: str) -> str | None:
    """Return the call that a line is to become, None if it is not a command."""
    bare = line.lstrip()
    indent = line[: len(line) - len(bare)]
    bare = bare.rstrip()
    if bare.startswith("!"):
        return f"{indent}{CALLS}.shell({bare[1:].lstrip('!')!r})"
    if match := _LINE_COMMAND.match(bare):
        return f"{indent}{CALLS}.line({match[1]!r}, {(match[2] or '').strip()!r})"
    if _BARE_INSTALLER.match(bare):
        return f"{indent}{CALLS}.shell({bare!r})"
    if match := _ASSIGNED.match(bare):
        target, command = match.groups()
        if command.startswith("!"):
            return f"{indent}{target} = {CALLS}.shell_lines({command[1:]!r})"
        inner = _call(command)
        return None if inner is None else f"{indent}{target} = {inner}"
    return None


class _Scanner:
    """Knows, line by line, whether the next line begins a statement or continues one."""

    def __init__(self) -> None:
        self._quote = ""  # the ''' or \"\"\" we are in
        self._depth = 0  # open brackets
        self._is_continued = False

    @property
    def is_at_statement(self) -> bool:
        return not self._quote and self._depth == 0 and not self._is_continued

    def pass_over(self, line: str) -> None:
        self._is_continued = False
        place = 0
        while place < len(line):
            if self._quote:
                place = self._leave_string(line, place)
                continue
            character = line[place]
            if character == "#":
                return
            if character in "'\"":
                tripled = line.startswith(character * 3, place)
                self._quote = character * 3 if tripled else character
                place += len(self._quote)
                continue
            if character in _OPENERS:
                self._depth += 1
            elif character in _CLOSERS:
                self._depth = max(0, self._depth - 1)
            elif character == "\\" and place == len(line) - 1:
                self._is_continued = True
            place += 1
        if len(self._quote) == 1 and not line.endswith("\\"):
            self._quote = ""  # such a string ends with its line, closed or not

    def _leave_string(self, line: str, place: int) -> int:
        """Return the place after the string's end, or the line's."""
        while place < len(line):
            if line[place] == "\\":
                place += 2
            elif line.startswith(self._quote, place):
                place += len(self._quote)
                self._quote = ""
                return place
            else:
                place += 1
        return place


# ---- what the calls do -------------------------------------------------------------------------


class Magics:
    """The commands, at work for one session."""

    def __init__(self, session: Evaluator) -> None:
        self._session = session
        self._line_number = 1  # where in the cell the running command stands
        self._lines: dict[str, Callable[[str], object]] = {
            "time": self._time,
            "timeit": self._timeit,
            "pip": lambda arguments: self._package(f"pip {arguments}"),
            "conda": lambda arguments: self._package(f"conda {arguments}"),
            "cd": self._change_folder,
            "pwd": lambda _: os.getcwd(),
            "sx": self.shell_lines,
            "system": self.shell,
            "who": self._list_names,
        }
        self._cells: dict[str, Callable[[str, str], object]] = {
            "time": self._time_cell,
            "timeit": self._timeit_cell,
            "bash": self._shell_cell,
            "sh": self._shell_cell,
            "capture": self._capture,
            "writefile": self._write_file,
        }

    def line(self, name: str, arguments: str) -> object:
        """Do `%name arguments`; return what an expression in its place would be worth."""
        self._line_number = sys._getframe(1).f_lineno  # noqa: SLF001 - inspect's is as private
        if name in _WITHOUT_EFFECT:
            return None
        if name in _SHELL_NAMES:
            self.shell(f"{name} {arguments}")
            return None
        command = self._lines.get(name)
        if command is None:
            raise UsageError(f"There is no command `%{name}` here. Use plain Python instead.")
        return command(arguments)

    def cell(self, name: str, arguments: str, body: str) -> None:
        """Do `%%name arguments` with the rest of the cell."""
        command = self._cells.get(name)
        if command is None:
            raise UsageError(f"There is no command `%%{name}` here. Use plain Python instead.")
        command(arguments, body)

    def shell(self, command: str) -> None:
        """Run a command line in /bin/sh; its output goes where every program's goes."""
        if _INSTALLER.match(command.strip()):
            self._package(command.strip())
            return
        sys.stdout.flush()
        self._session.names["_exit_code"] = self._run(self._filled_in(command))

    def shell_lines(self, command: str) -> list[str]:
        """Run a command line; return the lines of its stdout."""
        arguments = ["/bin/sh", "-c", self._filled_in(command)]
        done = subprocess.run(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False
        )
        self._session.names["_exit_code"] = done.returncode
        return done.stdout.decode(errors="replace").splitlines()

    def _run(self, command: str) -> int:
        return subprocess.call(["/bin/sh", "-c", command], stdin=subprocess.DEVNULL)

    def _filled_in(self, command: str) -> str:
        """Put the values of the user's variables in for `{name}` and `$name`."""

        def value(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            return str(self._session.names[name]) if name in self._session.names else match[0]

        return _NAME_IN_COMMAND.sub(value, command)

    def _package(self, command: str) -> None:
        match = _INSTALLER.match(command)
        words = match[1].split() if match else []
        installed = _installed()
        if words[:1] in (["list"], ["freeze"]):
            print("\n".join(f"{name}=={version}" for name, version in sorted(installed.items())))
            return
        wanted = [re.split(r"[\[=<>!~; ]", word)[0] for word in words[1:] if word[0] != "-"]
        there = [f"{w} {installed[w.lower()]}" for w in wanted if w.lower() in installed]
        note = f" Already installed: {', '.join(there)}." if there else ""
        why = "" if network.has_proxy() else ": there is no network"
        print(f"Packages cannot be installed{why}. `%pip list` lists them.{note}")

    def _change_folder(self, arguments: str) -> str:
        os.chdir(os.path.expanduser(arguments.strip("'\"") or "~"))
        return os.getcwd()

    def _time(self, arguments: str) -> object:
        return self._timed("\n" * (self._line_number - 1) + arguments, is_shown=False)

    def _time_cell(self, arguments: str, body: str) -> object:
        body = self._session.body_of_cell(body)
        # A statement behind `%%time` runs as well: it stands on the first line.
        source = body.replace("\n", f"{arguments}\n", 1) if arguments else body
        return self._timed(source, is_shown=True)

    def _timed(self, source: str, *, is_shown: bool) -> object:
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            return self._session.evaluate(source, is_shown=is_shown)
        finally:
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            print(f"CPU times: total: {_duration(cpu)}\nWall time: {_duration(wall)}")

    def _timeit(self, arguments: str) -> None:
        number, runs, statement = _timeit_options(arguments)
        self._measure(statement, "pass", number, runs)

    def _timeit_cell(self, arguments: str, body: str) -> None:
        number, runs, setup = _timeit_options(arguments)
        self._measure(body, setup or "pass", number, runs)

    def _measure(self, statement: str, setup: str, number: int, runs: int) -> None:
        timer = timeit.Timer(statement or "pass", setup, globals=self._session.names)
        if number == 0:
            number = 1
            while timer.timeit(number) < _TIMEIT_SECONDS:
                number *= 10
        times = [seconds / number for seconds in timer.repeat(runs, number)]
        mean, spread = statistics.fmean(times), statistics.pstdev(times)
        print(
            f"{_duration(mean)} ± {_duration(spread)} per loop "
            f"(mean ± std. dev. of {runs} runs, {number:,} loops each)"
        )

    def _list_names(self, _arguments: str) -> None:
        names = self._session.names
        print("  ".join(n for n in names if not n.startswith("_") and n not in _OURS))

    def _capture(self, arguments: str, body: str) -> None:
        """Run the cell; keep what it writes under the name given, show nothing but pictures."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            self._session.evaluate(self._session.body_of_cell(body), is_shown=False)
        if arguments.isidentifier():
            captured = types.SimpleNamespace(stdout=out.getvalue(), stderr=err.getvalue())
            self._session.names[arguments] = captured

    def _shell_cell(self, _arguments: str, body: str) -> None:
        sys.stdout.flush()
        self._session.names["_exit_code"] = self._run(body)

    def _write_file(self, arguments: str, body: str) -> None:
        words = arguments.split()
        is_appended = words[:1] == ["-a"]
        path = os.path.expanduser(" ".join(words[1:] if is_appended else words).strip("'\""))
        if not path:
            raise UsageError("`%%writefile` needs the name of a file.")
        verb = "Overwriting" if os.path.exists(path) else "Writing"
        with open(path, "a" if is_appended else "w", encoding="utf-8") as file:
            file.write(body)
        if is_appended:
            verb = "Appending to"
        print(f"{verb} {path}")


def _installed() -> dict[str, str]:
    return {d.name.lower(): d.version for d in importlib.metadata.distributions()}


def _timeit_options(arguments: str) -> tuple[int, int, str]:
    """Return loops (0: find out), runs and the rest of `-n 10 -r 3 rest`."""
    number, runs = 0, _TIMEIT_RUNS
    while match := re.match(r"\s*-([nr])\s*(\d+)(?:\s+|$)|\s*-[opq](?:\s+|$)", arguments):
        if match[1] == "n":
            number = max(1, int(match[2]))
        elif match[1] == "r":
            runs = max(1, int(match[2]))
        arguments = arguments[match.end() :]
    return number, runs, arguments.lstrip(" \t")


def _duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
