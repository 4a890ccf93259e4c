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
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sanderling.kernel import packages

_MENTIONED = re.compile(r"pip|conda|mamba")
# What words are made of. An expansion is read where no quote in it could end it too early. `$'…'`,
# which has escapes of its own, and what else is not here make a line that is not understood.
_NESTED = r"""`[^`'"\\]*` | \$\{[^{}'"`\\]*\}"""
_PIECE = rf"""
    \\. | '[^']*' | [^\s;|&()<>'"`\\$]+ | {_NESTED} | \$(?!['{{])
    | "(?: \\. | [^"\\`$] | {_NESTED} | \$\([^()'"`\\]*\) | \$(?![({{]) )*"
"""
_TOKEN = re.compile(
    rf"""
    (?P<blank>(?:[ \t]|\\\n)+ | \#[^\n]*)
    | (?P<redirect>\d*(?:&>>|&>|>>|>\||>&|<&|<>|>|<(?!<)))
    | (?P<end>&&|\|\||\|&|;;|[;|&()\n])
    | (?P<word>(?:{_PIECE})+)
    """,
    re.VERBOSE | re.DOTALL,
)
_QUOTED = re.compile(r"""\\(.)|'([^']*)'|"((?:\\.|[^"\\])*)\"""", re.DOTALL)
_ESCAPED = re.compile(r"""\\(["\\$`])""")  # in double quotes
# What may stand before the program in a command.
_BEFORE = frozenset("! { if then elif else while until do time sudo exec command env nohup".split())
_ASSIGNMENT = re.compile(r"\w+=")
_INSTALLER = re.compile(r"pip[\d.]*|conda|mamba|micromamba")
_PYTHON = re.compile(r"python[\d.]*")
SHELLS = frozenset({"sh", "bash", "dash", "zsh"})
_LINE_FOLLOWS = re.compile(r"-[a-z]*c")  # -c, -lc
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
    try:
        return _Script(line).answered()
    except _NotUnderstoodError:
        return line


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


class _NotUnderstoodError(Exception):
    """A document in the script, a string without an end, a list: what is not read here."""


@dataclass(slots=True)
class _Command:
    """
    One command of a line, as far as it is read.

    words: from where to where each is. is_redirected: what follows is where to, or goes to a
    program that does not read it. opened: where the parenthesis is that it stands in.
    """

    words: list[tuple[int, int]] = field(default_factory=list)
    is_redirected: bool = False
    opened: int = 0


class _Script:
    """A script of the shell, read once from its start to its end."""

    def __init__(self, line: str) -> None:
        self._line = line
        self._pieces: list[str] = []
        self._copied = 0
        self._command = _Command()
        self._around: list[_Command] = []  # those in whose parentheses it stands, outermost first

    def answered(self) -> str:
        """Return it with the answers. Raises _NotUnderstoodError."""
        place = 0
        while place < len(self._line):
            match = _TOKEN.match(self._line, place)
            if match is None:
                raise _NotUnderstoodError
            match match.lastgroup:
                case "word" if not self._command.is_redirected:
                    self._command.words.append(match.span())
                case "redirect":
                    self._command.is_redirected = True
                case "end" if match[0] == "(":
                    self._open(place)
                case "end":
                    self._end()
                    if match[0] == ")":
                        self._close(place)
            place = match.end()
        self._end()
        return "".join([*self._pieces, self._line[self._copied :]])

    def _open(self, place: int) -> None:
        words = self._command.words
        before = self._line[place - 1 : place]
        if before in ("<", ">") or (
            words and (before == "=" or self._line[slice(*words[0])] == "[[")
        ):
            raise _NotUnderstoodError  # a command as a file, a list, a pattern
        self._around.append(self._command)
        self._command = _Command(opened=place)

    def _close(self, place: int) -> None:
        """Go on with the command around the parentheses that end at `place`, if there is one."""
        opened = self._command.opened
        if not self._around:
            return  # of a `case`
        self._command = self._around.pop()
        words = self._command.words
        if words and words[-1][1] == opened and self._line[opened - 1] == "$":
            words[-1] = (words[-1][0], place + 1)  # `$(…)` is in that word
        elif not self._line[opened + 1 : place].strip():
            if any(_INSTALLER.fullmatch(self._line[start:end]) for start, end in words):
                raise _NotUnderstoodError  # a function of that name
            self._command.words = []

    def _end(self) -> None:
        """Say the answer if the command that ends is an installer's."""
        words = self._command.words
        texts = [self._line[start:end] for start, end in words]
        first = 0
        while first < len(texts) and (texts[first] in _BEFORE or _ASSIGNMENT.match(texts[first])):
            first += 1
        said = instead_of([_unquoted(text) for text in texts[first:]])
        if said is not None:
            start, end = words[first][0], words[-1][1]
            if start < self._copied:
                raise _NotUnderstoodError  # one in the words of another
            # All in quotes: a bare status before a `>` would be a descriptor.
            self._pieces += [self._line[self._copied : start], " ".join(map(_quoted, said))]
            self._copied = end
        self._command = _Command(opened=self._command.opened)


def _unquoted(word: str) -> str:
    """What the shell makes of a word without its expansions. In a moment: `shlex` takes seconds."""

    def plain(match: re.Match[str]) -> str:
        escaped, single, double = match.groups(default="")
        return escaped.strip("\n") + single + _ESCAPED.sub(r"\1", double)

    return _QUOTED.sub(plain, word)


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\"'\"'") + "'"


def _arguments(words: Sequence[str]) -> list[str] | None:
    """Return what an installer is told to do: `install -q x`."""
    program, *rest = words or [""]
    name = _name(program)
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
        is_line, program = bool(options.get("shell")), options.get("executable")
        # With a program of its own, `args` say what is started only if that is a shell.
        if program is None or (is_line and _name(program) in SHELLS):
            start(self, _checked(args, is_line=is_line), *others, **options)
        else:
            start(self, args, *others, **options)
        self.args = args

    return start_or_answer


def _name(program: Any) -> str:
    return os.path.basename(os.fsdecode(program))


def _checked(args: Any, *, is_line: bool) -> Any:
    """Return what is to be started where `args` were to be."""
    if isinstance(args, str):
        return answered(args) if is_line else args
    if is_line or not isinstance(args, list | tuple):
        return args
    words = [word for word in args if isinstance(word, str)]
    if len(words) < len(args):
        return args
    if len(words) > 2 and _name(words[0]) in SHELLS and _LINE_FOLLOWS.fullmatch(words[1]):
        return [*words[:2], answered(words[2]), *words[3:]]
    return instead_of(words) or args
