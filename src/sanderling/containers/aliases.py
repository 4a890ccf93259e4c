"""
The names by which an API knows files, where code expects them: /mnt/data/file-abc…. Pure.

OpenAI's API mounts a file under its id, with or without the extension of its name; here a file has
its own name. So that code written for the former finds it, an id that stands in the code of a cell
is made to lead to the file before the cell runs, by a symbolic link beside it. No sooner: a second
name in every listing would have files read, and rows counted, twice. A link is never collected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from sanderling.containers.names import mounted
from sanderling.records import ContainerFile

ALIASES_MAX = 100  # made for one cell
_ID = re.compile(r"(?:file-[A-Za-z0-9]{1,64}|cfile_[0-9a-f]{32})(?![A-Za-z0-9])")


def mentions_ids(code: str) -> bool:
    """Return whether the code may name a file by an id."""
    return ("file-" in code or "cfile_" in code) and _ID.search(code) is not None


def aliases(code: str, files: Iterable[ContainerFile]) -> list[tuple[str, str]]:
    """Return (path, target) for each name in `code` by which an API knows one of `files`."""
    known = by_id(files)  # oldest first
    taken = {file.path for file in known.values()}
    found = []
    for file_id in dict.fromkeys(_ID.findall(code)):
        if file_id in known:
            target = known[file_id].path
            paths = [mounted(name) for name in _spelled(file_id, extensions(target), code)]
            found += [(path, target) for path in paths if path not in taken]
    return found[:ALIASES_MAX]


def by_id(files: Iterable[ContainerFile]) -> dict[str, ContainerFile]:
    """Return the files, given oldest first, by every id that clients know them by."""
    known: dict[str, ContainerFile] = {}
    for file in files:
        known.setdefault(file.id, file)
        if file.origin_id is not None:
            known.setdefault(file.origin_id, file)
    return known


def extensions(path: str) -> list[str]:
    """Return the endings of a name that may follow its id: `.gz` and `.tar.gz`, or none."""
    suffixes = PurePosixPath(path).suffixes[-2:]
    return list(
        dict.fromkeys("".join(suffixes[start:]) for start in reversed(range(len(suffixes))))
    )


def _spelled(file_id: str, endings: list[str], code: str) -> Iterator[str]:
    """Yield the id if it stands alone somewhere, and with each ending that may be put to it."""
    if code.count(file_id) > sum(code.count(file_id + ending) for ending in endings):
        yield file_id
    for ending in endings:
        # Put to the id as it is, as f"{file_id}.csv" and as file_id + ".csv"; a ".csv" that stands
        # elsewhere is to find each file once.
        escaped = re.escape(ending)
        if re.search(rf"(?:{re.escape(file_id)}|\}}|\+\s*['\"]){escaped}", code):
            yield file_id + ending
