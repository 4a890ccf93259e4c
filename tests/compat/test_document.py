"""docs/cells.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sanderling.kernel import limits, protocol, tracebacks
from sanderling.sandbox.spawner import INODES_MAX
from sanderling.sandbox.wall import rlimits
from sanderling.settings import Settings
from tests.compat import differences

TEXT = (Path(__file__).parents[2] / "docs" / "cells.md").read_text()
ROWS = re.findall(r"^\| (.+) \| (.+) \| (.+) \|$", TEXT, re.MULTILINE)


def test_it_has_the_table_of_differences_to_the_word() -> None:
    told = [differences.Difference(*row) for row in ROWS[-len(differences.REASONS) :]]

    assert told == list(differences.REASONS.values())


@pytest.mark.parametrize(
    ("limit", "number"),
    [
        ("time of a cell", f"{Settings.execution_timeout_s:.0f} s"),
        ("processes and threads", str(limits.PROCESSES_MAX)),
        ("open files of a process", f"{rlimits.OPEN_FILES_MAX:,}"),
        ("files, together", f"{Settings.box_disk_bytes >> 30} GiB"),
        ("files, together", f"{INODES_MAX:,} files"),
        ("one file", f"{rlimits.FILE_BYTES_MAX >> 30} GiB"),
        ("output of a cell", f"{Settings.logs_bytes_max >> 20} MiB"),
        ("output of a cell", f"{Settings.model_logs_chars_max:,} characters"),
        ("a result or picture", f"{protocol.VALUE_BYTES_MAX >> 20} MiB"),
        ("traceback", f"{tracebacks.TRACEBACK_CHARS_MAX:,} characters, {tracebacks.FRAMES_MAX}"),
        ("idle container", f"{Settings.container_idle_minutes} minutes"),
    ],
)
def test_it_has_each_limit_as_it_is(limit: str, number: str) -> None:
    [row] = [row for row in ROWS if row[0] == limit]

    assert number in row[1]
