"""Programs of the machine: what is missing is named, with the command that installs it."""

from __future__ import annotations

from pathlib import Path

from sanderling.environments import programs


def test_what_is_not_there_is_named_with_its_package(tmp_path: Path):
    for name in programs.PROGRAMS.keys() - {"dot", "ffmpeg"}:
        (tmp_path / name).touch(mode=0o755)

    lacking = programs.missing(str(tmp_path))

    assert lacking == {"ffmpeg": "ffmpeg", "dot": "graphviz"}
    assert programs.remedy(lacking) == "apt install --no-install-recommends ffmpeg graphviz"


def test_nothing_is_missing_where_everything_is(tmp_path: Path):
    for name in programs.PROGRAMS:
        (tmp_path / name).touch(mode=0o755)

    assert programs.missing(str(tmp_path)) == {}
