from __future__ import annotations

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sanderling.sandbox import box_files, snapshots
from sanderling.sandbox.base import ChangedFile
from sanderling.sandbox.snapshots import Snapshot, difference, walk


def test_a_walk_sees_regular_files_with_clean_names_only(data: Path, data_fd: int, secret: Path):
    (data / "a.csv").write_text("1")
    (data / "sub").mkdir()
    (data / "sub" / "b.png").write_text("22")
    os.link(data / "a.csv", data / "hard.csv")
    os.mkfifo(data / "fifo")
    (data / "link").symlink_to(secret)
    (data / "folder-link").symlink_to(secret.parent)
    (data / ".sanderling-part-0123456789abcdef").write_text("being written from outside")
    (data / ".sanderling-part-of-the-box").write_text("333")
    for odd in (b"new\nline", b"\xff\xfe", "\u202egnp".encode(), b"\x1b[2J"):
        (Path(os.fsdecode(os.fsencode(data) + b"/" + odd))).write_text("x")

    found = walk(data_fd)

    assert found.is_complete
    assert {path: identity[1] for path, identity in found.files.items()} == {
        "/mnt/data/a.csv": 1,
        "/mnt/data/.sanderling-part-of-the-box": 3,
        "/mnt/data/hard.csv": 1,
        "/mnt/data/sub/b.png": 2,
    }


def test_a_walk_is_bounded_in_entries_depth_and_time(data: Path, data_fd: int):
    for number in range(30):
        (data / f"{number}").write_text("")
    deep = data
    for _ in range(box_files.DEPTH_MAX + 3):
        deep = deep / "d"
        deep.mkdir()
    (deep / "x").write_text("")

    few = walk(data_fd, entries_max=10)
    late = walk(data_fd, seconds_max=-1)
    whole = walk(data_fd)

    assert len(few.files) <= 10
    assert not few.is_complete
    assert not late.files
    assert not late.is_complete
    assert len(whole.files) == 30
    assert not whole.is_complete


@pytest.mark.parametrize("mode", [0o000, 0o444])
@pytest.mark.parametrize("where", ["", "sub"])
def test_a_folder_that_was_closed_to_us_is_passed_over_and_its_files_are_not_called_removed(
    data: Path, data_fd: int, where: str, mode: int
):
    (data / "sub").mkdir()
    (data / "sub" / "kept.csv").write_text("1")
    before = walk(data_fd)
    (data / where).chmod(mode)
    with ThreadPoolExecutor(1) as thread:  # its rights are its own
        after = thread.submit(_walk_without_rights, data_fd).result()
    (data / where).chmod(0o755)

    assert not after.is_complete
    assert difference(before, after).removed == ()


def _walk_without_rights(data_fd: int) -> Snapshot:
    """As a plain user walks; for a plain user setfsuid does nothing."""
    ctypes.CDLL(None).setfsuid(ctypes.c_uint(12345))
    return walk(data_fd)


def test_a_difference_tells_new_changed_and_removed_files():
    before = Snapshot(
        {"/mnt/data/same": (1, 1, 1, 1), "/mnt/data/old": (2, 5, 1, 1), "/mnt/data/x": (3, 1, 1, 1)}
    )
    after = Snapshot(
        {"/mnt/data/same": (1, 1, 1, 1), "/mnt/data/x": (3, 1, 2, 2), "/mnt/data/new": (4, 9, 1, 1)}
    )
    found = difference(before, after)

    assert found.changed == (ChangedFile("/mnt/data/new", 9), ChangedFile("/mnt/data/x", 1))
    assert found.removed == ("/mnt/data/old",)
    assert found.is_complete


def test_what_an_incomplete_walk_did_not_meet_is_not_called_removed():
    before = Snapshot({"/mnt/data/old": (1, 1, 1, 1)})
    found = difference(before, Snapshot({}, is_complete=False))

    assert found.removed == ()
    assert not found.is_complete


def test_a_difference_is_bounded():
    count = snapshots.FILES_MAX + 1
    found = difference(Snapshot(), Snapshot({f"/mnt/data/{n}": (n, 0, 0, 0) for n in range(count)}))

    assert len(found.changed) == snapshots.FILES_MAX
    assert not found.is_complete


def test_paths_that_an_incomplete_walk_did_not_meet_are_remembered_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(snapshots, "ENTRIES_MAX", 10)
    seen = Snapshot()
    for cell in range(5):
        new = {f"/mnt/data/{cell}-{n}": (n, 0, 0, 0) for n in range(4)}
        after = Snapshot(new, is_complete=False)
        seen = snapshots.remembered(seen, after, difference(seen, after))

    assert len(seen.files) == 10
    assert new.keys() <= seen.files.keys()


def test_a_walk_remembers_so_many_bytes_of_paths(data: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(snapshots, "PATHS_BYTES_MAX", 50)
    for n in range(5):
        (data / f"{n}").write_text("")
    fd = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    found = snapshots.walk(fd)
    os.close(fd)

    assert (len(found.files), found.is_complete) == (4, False)


def test_what_is_gone_is_told_even_if_it_takes_several_times(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(snapshots, "FILES_MAX", 2)
    seen = Snapshot({f"/mnt/data/{n}": (n, 0, 0, 0) for n in range(5)})
    told: list[str] = []
    for _ in range(4):
        found = difference(seen, Snapshot())
        told += found.removed
        seen = snapshots.remembered(seen, Snapshot(), found)

    assert told == [f"/mnt/data/{n}" for n in range(5)]
    assert seen == Snapshot()


@pytest.mark.parametrize(
    ("before", "after", "changed", "removed"),
    [
        ({"a": (1, 5, 7, 1)}, {"b": (1, 5, 7, 2)}, [("b", "a")], []),
        ({"a": (1, 5, 7, 1)}, {"d/b": (1, 5, 7, 1)}, [("d/b", "a")], []),
        ({"a": (1, 5, 7, 1)}, {"a": (1, 5, 7, 2)}, [("a", "a")], []),
        ({"a": (1, 5, 7, 1)}, {"b": (1, 6, 7, 2)}, [("b", None)], ["a"]),
        ({"a": (1, 5, 7, 1)}, {"b": (1, 5, 8, 2)}, [("b", None)], ["a"]),
        ({"a": (1, 5, 7, 1)}, {"b": (2, 5, 7, 1)}, [("b", None)], ["a"]),
        ({"a": (1, 5, 7, 1)}, {"a": (1, 5, 7, 1), "b": (1, 5, 7, 1)}, [("b", None)], []),
        # Written beside it and put in its place, as editors do.
        ({"a": (1, 5, 7, 1)}, {"a": (2, 5, 7, 1)}, [("a", None)], []),
        ({"a": (1, 5, 7, 1), "b": (2, 5, 7, 1)}, {"b": (1, 5, 7, 2)}, [("b", None)], ["a"]),
        # Two links of one file; one of them moved.
        (
            {"a": (1, 5, 7, 1), "b": (1, 5, 7, 1)},
            {"c": (1, 5, 7, 2), "d": (1, 5, 7, 2)},
            [("c", "a"), ("d", None)],
            ["b"],
        ),
    ],
)
def test_a_renamed_file_is_known_by_its_inode_size_and_time(
    before: dict[str, snapshots.Identity],
    after: dict[str, snapshots.Identity],
    changed: list[tuple[str, str | None]],
    removed: list[str],
):
    found = difference(Snapshot(before), Snapshot(after))

    assert [(file.path, file.moved_from) for file in found.changed] == changed
    assert list(found.removed) == removed
    seen = snapshots.remembered(Snapshot(before), Snapshot(after), found)
    assert difference(seen, Snapshot(after)) is snapshots.NO_DIFFERENCE


def test_names_that_cannot_be_used_are_told_escaped_and_once(data: Path, data_fd: int):
    for odd in (b"new\nline", b"\xff\xfe.csv", "\u202egnp".encode()):
        (Path(os.fsdecode(os.fsencode(data) + b"/" + odd))).write_text("x")
    (data / "dir\x1b").mkdir()
    (data / "\x07link").symlink_to("new")
    first = walk(data_fd)
    found = difference(Snapshot(), first)
    seen = snapshots.remembered(Snapshot(), first, found)
    for n in range(50):
        (data / f"{n}\n").write_text("x")

    assert found.changed == ()
    assert found.unclean == (
        "/mnt/data/\\u202egnp",
        "/mnt/data/\\xff\\xfe.csv",
        "/mnt/data/dir\\x1b",
        "/mnt/data/new\\nline",
    )
    assert difference(seen, first).unclean == ()
    assert len(walk(data_fd).unclean) == snapshots.UNCLEAN_MAX
