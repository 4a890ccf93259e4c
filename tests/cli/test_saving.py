from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sanderling.cli import saving
from sanderling.errors import SetupError


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_a_file_is_saved_under_its_last_component(tmp_path: Path) -> None:
    saved = await saving.save(tmp_path, "/mnt/data/deep/chart.png", chunks(b"ab", b"c"))

    assert saved == saving.SavedFile("/mnt/data/deep/chart.png", tmp_path / "chart.png", 3)
    assert (tmp_path / "chart.png").read_bytes() == b"abc"


async def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("mine")

    first = await saving.save(tmp_path, "a.csv", chunks(b"1"))
    second = await saving.save(tmp_path, "a.csv", chunks(b"2"))

    assert (tmp_path / "a.csv").read_text() == "mine"
    assert [first.saved_to.name, second.saved_to.name] == ["a_1.csv", "a_2.csv"]


async def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").symlink_to(outside)

    saved = await saving.save(folder, "a.txt", chunks(b"x"))

    assert saved.saved_to.name == "a_1.txt"
    assert not outside.exists()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ("..", "file"),
        (".bashrc", "bashrc"),
        ("a\\b\\c.txt", "c.txt"),
        ("evil\u202egnp.exe", "evilgnp.exe"),
        ("\x1b[2Jx.txt", "[2Jx.txt"),
        ("", "file"),
    ],
)
async def test_a_hostile_name_becomes_a_plain_one(tmp_path: Path, path: str, name: str) -> None:
    saved = await saving.save(tmp_path, path, chunks(b"x"))

    assert saved.saved_to == tmp_path / name


async def test_a_download_that_breaks_leaves_no_half_file(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await saving.save(tmp_path, "a.bin", broken())

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SetupError, match=r"^The folder .*/file/out cannot be made: Not a dir"):
        saving.prepare_folder(tmp_path / "file" / "out")
