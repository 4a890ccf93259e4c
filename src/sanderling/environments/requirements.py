"""
A requirements file, read and checked; and sentences for what can be wrong with it.

Only names of packages are taken, with versions or the address of a wheel, and with hashes. What pip
would take beside them (options, local folders, editable installs, repositories) would run programs
of a package on this machine, or hold something that a rebuild elsewhere could not find.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from sanderling.errors import SetupError

_BYTES_MAX = 1 << 20
_NESTED_MAX = 5  # files that name each other
_INCLUDED = re.compile(r"^(?:-r|--requirement)[ =]\s*(?P<path>\S.*)$")
# What is taken; whether versions and markers are well written, uv says.
_PACKAGE = re.compile(
    r"(?P<name>[A-Z0-9](?:[A-Z0-9._-]*[A-Z0-9])?)\s*(?:\[[^\[\]]*\]\s*)?"
    r"(?:(?:[<>=!~(][^;@/\\]*)?(?:;.*)?|@\s*https?://\S+\.whl(?:#\S*)?(?:\s+;.*)?)",
    re.IGNORECASE,
)
_HASH = re.compile(r"--hash[= ]\s*(?P<hash>sha(?:256|384|512):[0-9A-Fa-f]+)")
# A package in a lock, as uv writes it: its pin, then its hashes.
_LOCKED = re.compile(r"^(?P<pin>(?P<name>[A-Za-z0-9._-]+).*?)(?: \\\n +--hash=\S+)+$", re.MULTILINE)

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
    Return the text of a requirements file, one requirement a line; the files that it names with -r
    are in their places.

    Raises:
        SetupError: it cannot be read, or a line asks for what is not done here.
    """
    lines = _lines(path, _NESTED_MAX)
    if not any(_bare(line) for line in lines):
        raise SetupError(f"{path} names no packages.")
    return "\n".join(lines) + "\n"


def _lines(path: Path, depth: int) -> list[str]:
    lines: list[str] = []
    for number, line in _joined(_text(path).splitlines()):
        wanted = _bare(line)
        where = f"{path}, line {number}"
        if not wanted:
            lines.append(line.rstrip())
        elif included := _INCLUDED.match(wanted):
            if depth == 0:
                raise SetupError(f"{where}: the files name each other.")
            lines += _lines(path.parent / included["path"].strip(), depth - 1)
        elif hashes := _check(wanted, where):
            lines.append(" --hash=".join([_without_options(wanted), *hashes]))
        else:
            lines.append(line.rstrip())
    return lines


def _joined(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield each line with its number, and with those that a backslash at its end adds to it."""
    begun: list[str] = []
    for number, line in enumerate(lines, start=1):
        goes_on = line.endswith("\\") and not line.lstrip().startswith("#")
        begun.append(line[:-1] if goes_on else line)
        if not goes_on or number == len(lines):
            yield number - len(begun) + 1, " ".join(begun)
            begun = []


def _check(wanted: str, where: str) -> list[str]:
    """Return the hashes that stand beside a package. Raises SetupError: it is something else."""
    package, *options = re.split(r"(?:^|\s+)(?=-)", wanted)
    hashes = [_HASH.fullmatch(option) for option in options]
    for option, found in zip(options, hashes, strict=True):
        if found is None:
            raise SetupError(
                f"{where}: the option {option.split()[0]!r} is not taken, only packages with their "
                "versions and hashes (sha256, sha384, sha512). Another index is set for uv: "
                "UV_INDEX, UV_DEFAULT_INDEX."
            )
    if _PACKAGE.fullmatch(package) is None:
        raise SetupError(
            f"{where}: {wanted!r} is not taken, only packages with their versions (name==1.0) or "
            "the address of a ready-made build (name @ https://….whl). Anything else would have to "
            "be built here, which would run its code on this machine."
        )
    return [found["hash"] for found in hashes if found is not None]


def _without_options(wanted: str) -> str:
    return re.split(r"\s+(?=-)", wanted)[0]


def pin_hashes(locked: str, requirements: str) -> str:
    """Return a lock in which packages have the hashes that `requirements` gives, where it does."""
    given = _hashes(requirements)

    def pinned(found: re.Match[str]) -> str:
        hashes = given.get(_normal(found["name"]))
        return found[0] if hashes is None else " \\\n    --hash=".join([found["pin"], *hashes])

    return _LOCKED.sub(pinned, locked)


def _hashes(requirements: str) -> Mapping[str, list[str]]:
    """Return the hashes that a text of `read` gives, by the normal names of packages."""
    given: dict[str, list[str]] = {}
    for line in requirements.splitlines():
        package, *hashes = _bare(line).split(" --hash=")
        if hashes and (found := _PACKAGE.fullmatch(package)):
            given.setdefault(_normal(found["name"]), []).extend(hashes)
    return given


def _normal(name: str) -> str:
    """Return the name of a package as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


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
