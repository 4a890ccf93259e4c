"""
What notebooks allow beside Python, made Python: `%time f()`, `!ls`, `f?`, `%%writefile`, `>>> x`.

A cell that is valid Python is never touched. In one that is not, each command that stands where a
statement could begin becomes a call of `Magics`, on the same line, so that tracebacks still point
at the user's lines. Everything here is pure.
"""

from __future__ import annotations

import re

CALLS = "__sanderling_magics__"

# What a cell of one line may say without `%`, unless it is the name of a variable.
BARE_COMMANDS = frozenset(
    "cat cd conda cp dirs env hist history ldir lf lk ll ls lsmagic lx matplotlib mkdir mv pdef "
    "pdoc pfile pinfo pinfo2 pip psource pwd reset rm rmdir run set_env sx system time timeit who "
    "who_ls whos".split()
)

_CELL_COMMAND = re.compile(r"\s*%%([\w!]+)[ \t]*([^\n]*)(?:\n|$)")
_LINE_COMMAND = re.compile(r"%[ ]*(\w+)(?:[ \t]+(.*))?$", re.DOTALL)
_BARE_INSTALLER = re.compile(r"(?:pip3?|conda)[ \t]+(?:install|uninstall|list|freeze|show)\b")
_ASSIGNED = re.compile(r"([A-Za-z_][\w.,\[\] \t]*?)[ \t]*=[ \t]*([!%].+)$", re.DOTALL)
_QUESTION = r"%{0,2}(?!\d)[\w*]+(?:\.[\w*]+|\[-?\d+\])*"
_HELP_AFTER = re.compile(rf"({_QUESTION})(\?\??)$")
_HELP_BEFORE = re.compile(rf"(\?\??)\s*({_QUESTION})\s*;?$")
_PROMPTS = (
    (
        re.compile(r"\s*>>>(?: |$)", re.MULTILINE),
        re.compile(r"^\s*(?:>>>|\.\.\.)(?: |$)", re.MULTILINE),
    ),
    (re.compile(r"\s*In \[\d+\]: "), re.compile(r"^\s*(?:In \[\d+\]: |\.{3,}: ?)", re.MULTILINE)),
)
_OPENERS, _CLOSERS = "([{", ")]}"


def rewrite(source: str) -> str:
    """Return `source` with its commands made calls; the number of lines stays the same."""
    for first, prompt in _PROMPTS:
        if first.match(source):
            source = prompt.sub("", source)
    if match := _CELL_COMMAND.match(source):
        name, arguments = match.groups()
        body = source[match.end() :]
        return f"{CALLS}.cell({name!r}, {arguments.strip()!r}, {body!r})"
    lines = source.split("\n")
    scanner = _Scanner()
    index = 0
    while index < len(lines):
        first_index = index
        call = None
        if scanner.is_at_statement:
            while lines[index].endswith("\\") and index + 1 < len(lines):
                index += 1
            call = _call("\n".join(lines[first_index : index + 1]).replace("\\\n", ""))
            if call is None:
                index = first_index
        if call is not None:
            lines[first_index : index + 1] = [call] + [""] * (index - first_index)
        else:
            scanner.pass_over(lines[index])
        index += 1
    return "\n".join(lines)


def bare_command(source: str) -> str | None:
    """Return the call that a cell of one line is to become that leaves out a command's `%`."""
    line = source.strip()
    word, _, rest = line.partition(" ")
    if word not in BARE_COMMANDS or rest.lstrip()[:1] == "=" or "\n" in line:
        return None
    return f"{CALLS}.line({word!r}, {rest.strip()!r})"


def _call(line: str) -> str | None:
    """Return the call that a line is to become, None if it is not a command."""
    bare = line.lstrip()
    indent = line[: len(line) - len(bare)]
    bare = bare.rstrip()
    if bare.startswith("!!"):
        return f"{indent}{CALLS}.shell_lines({bare[2:]!r})"
    if bare.startswith("!"):
        return f"{indent}{CALLS}.shell({bare[1:]!r})"
    if match := _HELP_AFTER.match(bare) or _HELP_BEFORE.match(bare):
        marks, name = sorted(match.groups(), key=lambda part: "?" not in part)
        return f"{indent}{CALLS}.explain({name!r}, is_long={len(marks) > 1})"
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
