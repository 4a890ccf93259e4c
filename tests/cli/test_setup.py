from __future__ import annotations

from pathlib import Path

from tests.cli.live import sanderling


def test_a_folder_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()

    result = sanderling("setup", "--env", tmp_path / "mine")

    assert result.returncode == 1
    assert result.stdout == ""
    assert "is not a guest environment, so it is left alone" in result.stderr
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["letter.txt"]
