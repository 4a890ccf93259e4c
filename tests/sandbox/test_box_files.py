from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from sanderling.errors import InvalidRequest, NotFound, TooLarge
from sanderling.sandbox import box_files
from sanderling.sandbox.box_files import PartFile
from sanderling.sandbox.snapshots import walk


def read(data_fd: int, path: str) -> bytes:
    file = box_files.open_to_read(data_fd, path)
    try:
        return file.read(0, 1 << 20)
    finally:
        file.close()


def write(data_fd: int, path: str, content: bytes, owner: tuple[int, int] | None = None) -> None:
    part = PartFile(data_fd, path, owner)
    try:
        part.write(content)
        part.finish()
    finally:
        part.close()


# ---- reading -----------------------------------------------------------------------------------


def test_a_regular_file_is_read(data: Path, data_fd: int):
    (data / "sub").mkdir()
    (data / "sub" / "ü 1.csv").write_bytes(b"a,b")

    assert read(data_fd, "/mnt/data/sub/ü 1.csv") == b"a,b"


def test_a_link_to_a_file_of_the_host_is_never_followed(data: Path, data_fd: int, secret: Path):
    (data / "link").symlink_to(secret)
    (data / "relative").symlink_to("../secret")
    (data / "folder").symlink_to(secret.parent)

    for path in ("/mnt/data/link", "/mnt/data/relative", "/mnt/data/folder/secret"):
        with pytest.raises(NotFound):
            read(data_fd, path)


def test_a_link_within_the_folder_is_not_followed_either(data: Path, data_fd: int):
    (data / "real").write_text("x")
    (data / "link").symlink_to("real")
    with pytest.raises(NotFound):
        read(data_fd, "/mnt/data/link")


@pytest.mark.parametrize(
    "path",
    [
        "/mnt/data/../secret",
        "/mnt/data/sub/../../secret",
        "/mnt/data//secret",
        "/mnt/data/",
        "/mnt/data",
        "/etc/passwd",
        "secret",
        "",
        "/mnt/data/./x",
        "/mnt/data/a\x00b",
        "/mnt/data/" + "x" * 256,
        "/mnt/data/" + "/".join("d" for _ in range(50)),
        "/proc/self/fd/0",
    ],
)
def test_a_path_that_leads_elsewhere_names_no_file(data_fd: int, secret: Path, path: str):
    with pytest.raises(NotFound):
        read(data_fd, path)


def test_what_is_no_regular_file_is_refused_without_waiting(data: Path, data_fd: int):
    os.mkfifo(data / "fifo")
    (data / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(data / "socket"))
    os.symlink("/proc/self/environ", data / "proc")

    for name in ("fifo", "folder", "socket", "proc", "missing"):
        with pytest.raises(NotFound):
            read(data_fd, f"/mnt/data/{name}")


def test_no_more_is_read_than_the_file_had_when_it_was_opened(data: Path, data_fd: int):
    (data / "growing").write_bytes(b"12345")
    file = box_files.open_to_read(data_fd, "/mnt/data/growing")
    (data / "growing").write_bytes(b"1234567890")

    assert file.read(0, 100) == b"12345"
    assert file.read(5, 100) == b""
    file.close()


def test_a_file_swapped_for_a_link_after_the_open_is_read_as_it_was(
    data: Path, data_fd: int, secret: Path
):
    (data / "x").write_text("own")
    file = box_files.open_to_read(data_fd, "/mnt/data/x")
    (data / "x").unlink()
    (data / "x").symlink_to(secret)

    assert file.read(0, 100) == b"own"
    file.close()


# ---- writing -----------------------------------------------------------------------------------


def test_a_file_appears_whole_with_its_folders(data: Path, data_fd: int):
    part = PartFile(data_fd, "/mnt/data/a/b/c.txt", None)
    part.write(b"one ")
    part.write(b"two")

    assert not (data / "a/b/c.txt").exists()
    assert walk(data_fd).files == {}

    part.finish()
    part.close()

    assert (data / "a/b/c.txt").read_bytes() == b"one two"
    assert [p.name for p in (data / "a/b").iterdir()] == ["c.txt"]


def test_an_unfinished_file_leaves_nothing(data: Path, data_fd: int):
    part = PartFile(data_fd, "/mnt/data/x", None)
    part.write(b"half")
    part.close()

    assert list(data.iterdir()) == []


def test_an_existing_file_is_replaced_and_a_link_there_is_not_followed(
    data: Path, data_fd: int, secret: Path
):
    (data / "file").write_text("old")
    (data / "link").symlink_to(secret)
    write(data_fd, "/mnt/data/file", b"new")
    write(data_fd, "/mnt/data/link", b"new")

    assert (data / "file").read_text() == "new"
    assert secret.read_text() == "of the host"
    assert not (data / "link").is_symlink()


def test_a_folder_that_is_a_link_is_not_written_through(data: Path, data_fd: int, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (data / "folder").symlink_to(outside)
    with pytest.raises(InvalidRequest):
        write(data_fd, "/mnt/data/folder/x", b"")

    assert list(outside.iterdir()) == []


def test_a_file_cannot_take_the_place_of_a_folder(data: Path, data_fd: int):
    (data / "folder").mkdir()
    (data / "file").write_text("x")
    for path in ("/mnt/data/folder", "/mnt/data/file/x"):
        with pytest.raises(InvalidRequest):
            write(data_fd, path, b"")

    assert [p.name for p in (data / "folder").iterdir()] == []


@pytest.mark.parametrize(
    "name", ["a\nb", "a\x1b[31mb", "\u202egnp.exe", "a\u2028b", "..", "\ud800"]
)
def test_names_that_cannot_be_shown_are_refused(data_fd: int, name: str):
    with pytest.raises(InvalidRequest):
        write(data_fd, f"/mnt/data/{name}", b"")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write as another user")
def test_files_and_folders_belong_to_the_guest(tmp_path: Path):
    data = tmp_path / "owned"
    data.mkdir()
    os.chown(data, 101_001, 101_001)
    fd = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        write(fd, "/mnt/data/sub/x", b"x", owner=(101_001, 101_001))
    finally:
        os.close(fd)
    (tmp_path / "own").write_text("x")

    for path in (data / "sub", data / "sub" / "x"):
        assert (path.stat().st_uid, path.stat().st_gid) == (101_001, 101_001)
    assert stat.S_IMODE((data / "sub" / "x").stat().st_mode) & 0o7022 == 0
    assert (tmp_path / "own").stat().st_uid == os.geteuid()


def test_a_full_box_is_too_large(data_fd: int, monkeypatch: pytest.MonkeyPatch):
    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    part = PartFile(data_fd, "/mnt/data/x", None)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(TooLarge):
        part.write(b"x")
    part.close()


# ---- removing ----------------------------------------------------------------------------------


def test_a_file_is_removed_once_and_a_link_instead_of_what_it_names(
    data: Path, data_fd: int, secret: Path
):
    (data / "x").write_text("x")
    (data / "link").symlink_to(secret)

    assert box_files.remove(data_fd, "/mnt/data/x")
    assert not box_files.remove(data_fd, "/mnt/data/x")
    assert not box_files.remove(data_fd, "/mnt/data/missing/x")
    assert box_files.remove(data_fd, "/mnt/data/link")
    assert secret.exists()


def test_a_folder_is_not_removed(data: Path, data_fd: int):
    (data / "folder").mkdir()
    with pytest.raises(InvalidRequest):
        box_files.remove(data_fd, "/mnt/data/folder")
    assert (data / "folder").is_dir()
