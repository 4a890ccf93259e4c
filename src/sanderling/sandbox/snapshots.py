"""
What stands in /mnt/data at one moment, and what is different at another.

A walk looks at every regular file below a descriptor of /mnt/data, as `box_files` opens them, and
is bounded in entries, depth, time and bytes of paths. Links, FIFOs, sockets and devices are passed
over. A name that can neither be shown nor downloaded as it is (bytes that are no UTF-8, control
characters, overrides of the writing's direction) is not among the files, but it is told, escaped.

A file is known by inode, size and times. One at a new path whose inode, size and time of writing
were at a path that is gone was most likely renamed; whether its bytes are what they were is for
whoever has both to compare, as the box may set a time of writing back.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from sanderling.sandbox.base import ChangedFile
from sanderling.sandbox.box_files import (
    DATA,
    DEPTH_MAX,
    FOLDER,
    PART_PREFIX,
    PATH_BYTES_MAX,
    Identity,
    identity_of,
    is_clean_name,
    openat2,
)

ENTRIES_MAX = 20_000  # directory entries one walk looks at; takes about 0.1 s
PATHS_BYTES_MAX = 2 << 20  # of all paths that the host remembers of one box
WALK_S_MAX = 2.0
FILES_MAX = 2_000  # changed files one execution reports
UNCLEAN_MAX = 10  # names of which one walk tells that they cannot be used
_UNCLEAN_CHARS_MAX = 200

# What is being written from outside; a box that calls a file so hides it from nobody but itself.
_PART_NAME = re.compile(re.escape(PART_PREFIX) + r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    The regular files with clean names below /mnt/data at one moment, by absolute path.

    unclean: paths of others, escaped; UNCLEAN_MAX at most.
    is_bare: the folder has no entry of any kind.
    """

    files: dict[str, Identity] = field(default_factory=dict)
    is_complete: bool = True
    unclean: frozenset[str] = frozenset()
    is_bare: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """
    What changed between two snapshots; `is_complete` is False when some could not be seen.

    unclean: paths, escaped, that were not there before and whose names cannot be used.
    """

    changed: tuple[ChangedFile, ...]
    removed: tuple[str, ...]
    is_complete: bool
    unclean: tuple[str, ...] = ()


NO_DIFFERENCE = Difference((), (), is_complete=True)


def difference(before: Snapshot, after: Snapshot) -> Difference:
    """
    Compare two snapshots; at most FILES_MAX changed and as many removed files. A path from which a
    file was moved is not among the removed ones.
    """
    unclean = tuple(sorted(after.unclean - before.unclean)) if after.unclean else ()
    if after.is_complete and not unclean and before.files == after.files:
        return NO_DIFFERENCE
    # What an incomplete walk did not meet may still be there.
    removed = before.files.keys() - after.files.keys() if after.is_complete else set()
    changed = _changed(before, after, removed)
    left = sorted(removed - {file.moved_from for file in changed[:FILES_MAX]})
    fits = len(changed) <= FILES_MAX and len(left) <= FILES_MAX
    return Difference(
        tuple(changed[:FILES_MAX]), tuple(left[:FILES_MAX]), after.is_complete and fits, unclean
    )


def _changed(before: Snapshot, after: Snapshot, removed: AbstractSet[str]) -> list[ChangedFile]:
    """Return the files that are not as they were, each with the path where it may have been."""
    gone = {before.files[path][:3]: path for path in sorted(removed, reverse=True)}
    changed = []
    for path, identity in sorted(after.files.items()):
        known = before.files.get(path)
        if known == identity:
            continue
        if known is None:
            moved_from = gone.pop(identity[:3], None)  # two links of one file: one of them moved
        else:
            moved_from = path if known[:3] == identity[:3] else None
        changed.append(ChangedFile(path, identity[1], moved_from))
    return changed


def remembered(before: Snapshot, after: Snapshot, told: Difference) -> Snapshot:
    """
    Return what the next difference is to be taken from: `after`, and of `before` whatever was not
    met by an incomplete walk, or is gone without that anybody was told. A box can make up paths as
    fast as it likes, so this is only as much as one walk may find.
    """
    if told is NO_DIFFERENCE:
        return Snapshot(after.files, unclean=after.unclean)
    left = before.files.keys() - after.files.keys()
    if after.is_complete:
        left -= {*told.removed, *(file.moved_from for file in told.changed)}
    files = dict(after.files)
    bytes_left = PATHS_BYTES_MAX - sum(map(len, files))
    for path in sorted(left):
        bytes_left -= len(path)
        if bytes_left < 0 or len(files) >= ENTRIES_MAX:
            break
        files[path] = before.files[path]
    return Snapshot(files, unclean=after.unclean)


def walk(
    data_fd: int, *, entries_max: int = ENTRIES_MAX, seconds_max: float = WALK_S_MAX
) -> Snapshot:
    """Look at every regular file below `data_fd`, within the limits."""
    seen = _Walk(entries_max, time.monotonic() + seconds_max)
    try:
        folder = openat2(data_fd, ".", FOLDER)
    except PermissionError:
        return Snapshot(is_complete=False)  # closed by its owner, who may do that
    try:
        seen.enter(folder, DATA, 0)
    finally:
        os.close(folder)
    is_bare = seen.is_complete and seen.entries_left == entries_max
    return Snapshot(seen.files, seen.is_complete, frozenset(seen.unclean), is_bare)


class _Walk:
    """One walk: what was found, and what is left of its limits."""

    def __init__(self, entries_left: int, deadline: float) -> None:
        self.files: dict[str, Identity] = {}
        self.unclean: list[str] = []
        self.is_complete = True
        self.entries_left = entries_left
        self._bytes_left = PATHS_BYTES_MAX
        self._deadline = deadline

    def enter(self, folder_fd: int, prefix: str, depth: int) -> None:
        """Look at one folder: its files first, then its folders, so that neither starves."""
        folders: list[str] = []
        with os.scandir(folder_fd) as entries:
            for entry in entries:
                self.entries_left -= 1
                if self.entries_left < 0 or time.monotonic() > self._deadline:
                    self.is_complete = False
                    break
                name = entry.name
                is_file = entry.is_file(follow_symlinks=False)
                if not (is_file or entry.is_dir(follow_symlinks=False)):
                    continue
                if not is_clean_name(name):
                    self._pass_over(f"{prefix}/{name}")
                elif not is_file:
                    folders.append(name)
                elif not (name.startswith(PART_PREFIX) and _PART_NAME.fullmatch(name)):
                    self._look_at(entry, f"{prefix}/{name}")
        for name in folders:
            self._descend(folder_fd, name, f"{prefix}/{name}", depth + 1)

    def _pass_over(self, path: str) -> None:
        if len(self.unclean) < UNCLEAN_MAX:
            self.unclean.append(escaped(path))

    def _look_at(self, entry: os.DirEntry[str], path: str) -> None:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return  # removed while we look
        except PermissionError:
            self.is_complete = False
            return
        size = len(path.encode())
        if stat.S_ISREG(status.st_mode) and size <= PATH_BYTES_MAX:
            self._bytes_left -= size
            if self._bytes_left < 0:
                self.is_complete = False
            else:
                self.files[path] = identity_of(status)

    def _descend(self, parent_fd: int, name: str, path: str, depth: int) -> None:
        if depth >= DEPTH_MAX:
            self.is_complete = False
            return
        try:
            fd = openat2(parent_fd, name, FOLDER)
        except PermissionError:
            self.is_complete = False  # closed by its owner: not ours to force
            return
        except OSError:
            return  # gone, or no longer a folder
        try:
            self.enter(fd, path, depth)
        finally:
            os.close(fd)


def escaped(path: str) -> str:
    """Return a path that cannot be shown as one that can: odd characters and bytes by number."""
    shown = "".join(_escaped_character(character) for character in path[:_UNCLEAN_CHARS_MAX])
    return shown + ("…" if len(path) > _UNCLEAN_CHARS_MAX else "")


def _escaped_character(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that is no UTF-8, as Python keeps it
        return f"\\x{ord(character) - 0xDC00:02x}"
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()
