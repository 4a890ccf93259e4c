"""
Commands that would install packages, found wherever programs are started, and answered.

Each such command of a line (`cd /tmp && pip install -q x | tail -1`) becomes one that says the
answer (`packages.py`) and ends with pip's status; all else of the line is as it was, so it runs by
the shell's own rules. A line that is not understood is left alone.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

from sanderling.kernel import packages

_MENTIONED = re.compile(r"pip|conda|mamba")
_TOKEN = re.compile(
    r"""
    (?P<blank>(?:[ \t]|\\\n)+ | \#[^\n]*)
    | (?P<redirect>\d*(?:&>>|&>|>>|>\||>&|<&|<>|>|<(?!<)))
    | (?P<end>&&|\|\||\|&|;;|[;|&()\n])
    | (?P<word>(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^\s;|&()<>'"\\])+)
    """,
    re.VERBOSE | re.DOTALL,
)
# What may stand before the program in a command.
_BEFORE = frozenset("! { if then elif else while until do time sudo exec command env nohup".split())
_ASSIGNMENT = re.compile(r"\w+=")
_INSTALLER = re.compile(r"pip[\d.]*|conda|mamba|micromamba")
_PYTHON = re.compile(r"python[\d.]*")
SHELLS = frozenset({"sh", "bash", "dash", "zsh"})
_SAY = 'printf "%s\\n" "$1"; exit "$2"'


def install() -> None:
    """Have `subprocess` and `os.system` start the answer in place of an installer."""
    start: Any = subprocess.Popen.__init__
    if not hasattr(start, "__wrapped__"):
        modules: Any = (os, subprocess.Popen)
        modules[0].system, modules[1].__init__ = _answering(os.system), _starting(start)


def answered(line: str) -> str:
    """Return a line, or a script, of the shell with the answer in place of each installer."""
    if not _MENTIONED.search(line):
        return line
    pieces: list[str] = []
    copied = place = 0
    words: list[tuple[int, int]] = []
    is_redirected = False  # what follows is where to, or goes to a program that does not read it
    while place <= len(line):
        match = _TOKEN.match(line, place)
        if match is None and place < len(line):
            return line  # a document in the script, or a string without an end
        kind = match.lastgroup if match else "end"
        if kind == "end":
            if found := _in(line, words):
                start, said = found
                pieces += [line[copied:start], shlex.join(said)]
                copied = words[-1][1]
            words, is_redirected = [], False
        elif kind == "redirect":
            is_redirected = True
        elif kind == "word" and match and not is_redirected:
            words.append(match.span())
        place = match.end() if match else place + 1
    return "".join([*pieces, line[copied:]])


def is_installer(args: Any) -> bool:
    """Whether `args`, a line or words of one, start an installer."""
    return bool(_checked(args, is_line=isinstance(args, str)) != args)


def instead_of(words: Sequence[str]) -> list[str] | None:
    """Return the command that says the answer, if `words` are an installer's."""
    arguments = _arguments(words)
    if arguments is None:
        return None
    text, status = packages.answer(arguments)
    return ["/bin/sh", "-c", _SAY, "pip", text, str(status)]


def _in(line: str, words: list[tuple[int, int]]) -> tuple[int, list[str]] | None:
    """Return where in a command of a line the installer begins, and what is to stand there."""
    texts = [line[start:end] for start, end in words]
    first = 0
    while first < len(texts) and (texts[first] in _BEFORE or _ASSIGNMENT.match(texts[first])):
        first += 1
    try:
        said = instead_of([word for text in texts[first:] for word in shlex.split(text)])
    except ValueError:
        return None
    return None if said is None else (words[first][0], said)


def _arguments(words: Sequence[str]) -> list[str] | None:
    """Return what an installer is told to do: `install -q x`."""
    program, *rest = words or [""]
    name = os.path.basename(program)
    if _PYTHON.fullmatch(name):
        while rest and rest[0] != "-m" and rest[0][:1] == "-":
            del rest[0]
        name, rest = (rest[1], rest[2:]) if rest[:1] == ["-m"] and len(rest) > 1 else ("", [])
    elif name == "uv" and rest[:1] == ["pip"]:
        name, rest = rest[0], rest[1:]
    return rest if rest and _INSTALLER.fullmatch(name) else None


def _answering(system: Callable[[Any], int]) -> Callable[[Any], int]:
    @functools.wraps(system)
    def run(command: Any) -> int:
        return system(answered(command) if isinstance(command, str) else command)

    return run


def _starting(start: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(start)
    def start_or_answer(self: Any, args: Any, *others: Any, **options: Any) -> None:
        start(self, _checked(args, is_line=bool(options.get("shell"))), *others, **options)
        self.args = args

    return start_or_answer


def _checked(args: Any, *, is_line: bool) -> Any:
    """Return what is to be started where `args` were to be."""
    if isinstance(args, str):
        return answered(args) if is_line else args
    if is_line or not isinstance(args, list | tuple):
        return args
    words = [word for word in args if isinstance(word, str)]
    if len(words) < len(args):
        return args
    if len(words) > 2 and os.path.basename(words[0]) in SHELLS and words[1] == "-c":
        return [*words[:2], answered(words[2]), *words[3:]]
    return instead_of(words) or args
