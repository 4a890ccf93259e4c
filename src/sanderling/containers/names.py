"""
File names below /mnt/data: made safe, made free, and checked.

A name comes from a client, a model or a figure's title, so it may hold anything. What leaves this
module is one path component that a person can read and that every Linux file system takes; a path
that comes out of a box is either clean or refused, never repaired.
"""

from __future__ import annotations

import re
from collections.abc import Container
from pathlib import PurePosixPath

from sanderling.sandbox.box_files import is_clean_character

MOUNT = "/mnt/data"

# NAME_MAX of ext4, xfs, btrfs and tmpfs: bytes in one path component.
NAME_BYTES_MAX = 255
# PATH_MAX of Linux, its closing NUL left out.
PATH_BYTES_MAX = 4095
_SEPARATORS = re.compile(r"[/\\]")


# What joins 👩 and 💻 to one picture, and what Persian and the scripts of India are spelled with.
_JOINERS = "\u200c\u200d"
# Nobody sees them, so a name with one is taken for the name without: soft hyphen, zero widths.
_INVISIBLE = "\u00ad\u200b\u2060\ufeff"


def _is_readable(character: str) -> bool:
    return character not in _INVISIBLE and is_clean_character(character)


def _cut(text: str, bytes_max: int) -> str:
    return text.encode()[:bytes_max].decode(errors="ignore")


def safe_name(name: str, *, fallback: str = "file") -> str:
    """
    Return `name` as one safe path component of at most 255 bytes; `fallback` if nothing is left.

    Folders before it are dropped, whichever slash they are written with; the extension survives
    a cut. All else stays as it is: an é may be one character or two, as its owner wrote it.
    """
    last = _SEPARATORS.split(name)[-1]
    readable = "".join(c for c in last if _is_readable(c)).strip()
    if readable.strip("." + _JOINERS) == "":
        readable = fallback
    suffix = _cut(PurePosixPath(readable).suffix, 32)
    stem = readable.removesuffix(suffix) if suffix else readable
    return _cut(stem, NAME_BYTES_MAX - len(suffix.encode())) + suffix


def free_name(name: str, taken: Container[str]) -> str:
    """
    Return `name`, or `stem_1.ext`, `stem_2.ext` … : the first that is not in `taken`.

    An underscore rather than ` (1)`, because the model has to write the name into Python and into
    a Markdown link.
    """
    if name not in taken:
        return name
    suffix = PurePosixPath(name).suffix
    stem = name.removesuffix(suffix) if suffix else name
    number = 0
    while True:
        number += 1
        tail = f"_{number}{suffix}"
        candidate = _cut(stem, NAME_BYTES_MAX - len(tail.encode())) + tail
        if candidate not in taken:
            return candidate


def mounted(name: str) -> str:
    """Return the absolute path at which a file called `name` is mounted."""
    return f"{MOUNT}/{name}"


def is_clean_path(path: str) -> bool:
    """Return whether `path` is an absolute path below /mnt/data with no tricks in it."""
    if not path.startswith(MOUNT + "/") or "\0" in path:
        return False
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return False
    parts = path.removeprefix(MOUNT + "/").split("/")
    return len(encoded) <= PATH_BYTES_MAX and all(
        part not in {"", ".", ".."} and len(part.encode()) <= NAME_BYTES_MAX for part in parts
    )
