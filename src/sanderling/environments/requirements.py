"""
A requirements file, read and checked; and sentences for what can be wrong with it.

Only names of packages with versions are taken. What pip would take beside them (options, local
folders, editable installs, repositories) would run programs of a package on this machine, or hold
something that a rebuild elsewhere could not find.
"""

from __future__ import annotations

import re
from pathlib import Path

from sanderling.errors import SetupError

_BYTES_MAX = 1 << 20
_NESTED_MAX = 5  # files that name each other
_INCLUDED = re.compile(r"^(?:-r|--requirement)[ =]\s*(?P<path>\S.*)$")
_LOCAL = re.compile(r"^(?:\.|/|~|file:)|@\s*(?:file:|git\+|hg\+|svn\+|bzr\+)|^\w+\+\w+:")

# What uv says, as it says it; the first group names the package.
_UNKNOWN = re.compile(r"Because (\S+) was not found in the package registry")
_NO_VERSION = re.compile(r"Because (?:there is no version|there are no versions) of (\S+)")
_NO_WHEEL = re.compile(r"(?:all versions of )?(\S+) (?:has|have) no (?:usable )?wheels")
_OTHER_PYTHON = re.compile(r"the current Python version \(\S+\) does not satisfy (Python\S+)")
_WHOSE_PYTHON = re.compile(r"(\S+) depends on Python")
_NOT_PARSED = re.compile(
    r"Couldn't parse requirement.*?\n\s*cause: (.*?)\n\s*(\S[^\n]*)", re.DOTALL
)


def read(path: Path) -> str:
    """
    Return the text of a requirements file, with the files that it names with -r in their places.

    Raises:
        SetupError: it cannot be read, or a line asks for what is not done here.
    """
    lines = _lines(path, _NESTED_MAX)
    if not any(_bare(line) for line in lines):
        raise SetupError(f"{path} names no packages.")
    return "\n".join(lines) + "\n"


def _lines(path: Path, depth: int) -> list[str]:
    lines: list[str] = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        wanted = _bare(line)
        where = f"{path}, line {number}"
        if included := _INCLUDED.match(wanted):
            if depth == 0:
                raise SetupError(f"{where}: the files name each other.")
            lines += _lines(path.parent / included["path"].strip(), depth - 1)
        elif wanted.startswith("-"):
            raise SetupError(
                f"{where}: the option {wanted.split()[0]!r} is not taken, only packages with their "
                "versions. Another index is set for uv: UV_INDEX, UV_DEFAULT_INDEX."
            )
        elif _LOCAL.search(wanted):
            raise SetupError(
                f"{where}: {wanted!r} would have to be built here, which would run its code on "
                "this machine. Only packages with a ready-made build (wheel) are installed."
            )
        else:
            lines.append(line.rstrip())
    return lines


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _BYTES_MAX:
            raise SetupError(f"{path} is too long for a requirements file.")
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise SetupError(f"{path} is not a requirements file: it is not UTF-8 text.") from error
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}.") from error


def _bare(line: str) -> str:
    """Return the line without its comment."""
    return re.sub(r"(?:^|\s)#.*$", "", line).strip()


def explain(said: str, *, python_version: str, is_bare: bool) -> str | None:
    """Return the sentence for what uv said when it could not resolve; None if it is another."""
    if parsed := _NOT_PARSED.search(said):
        return f"{parsed[2]!r} is no requirement: {parsed[1]}."
    if "No solution found" not in said:
        return None
    if unknown := _UNKNOWN.search(said):
        return f"The package index has no package {_name(unknown[1])!r}; is it spelled right?"
    if no_version := _NO_VERSION.search(said):
        return f"The package index has no version {no_version[1]!r}; take another one."
    if other := _OTHER_PYTHON.search(said):
        whose = _WHOSE_PYTHON.search(said)
        subject = "A package" if whose is None else whose[1]
        return (
            f"{subject} needs {other[1]}, and this environment has Python {python_version}; "
            "take another version of it, or name another Python with --python."
        )
    if no_wheel := _NO_WHEEL.search(said):
        return (
            f"{_name(no_wheel[1])} has no ready-made build (wheel) for Python {python_version} on "
            "this machine, and nothing is built from source here, since that would run its code; "
            "take another version of it, or name another Python with --python."
        )
    advice = (
        "Relax one of them."
        if is_bare
        else "Relax one of them, or leave the default packages out with --bare."
    )
    return f"The requirements contradict each other: {_reason(said)} {advice}"


def _name(text: str) -> str:
    return text.strip("`'\",;.")


def _reason(said: str) -> str:
    """Return uv's explanation on one line, without what it concludes."""
    _, _, cause = said.partition("cause: ")
    cause = cause.partition("\n\n")[0].partition("\nhint: ")[0]
    flat = " ".join(cause.split())
    flat = flat.replace(", we can conclude that your requirements are unsatisfiable", "")
    return flat[:1].lower() + flat[1:]
