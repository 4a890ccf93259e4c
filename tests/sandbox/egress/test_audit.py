from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from sanderling.sandbox.egress import audit
from sanderling.sandbox.egress.audit import AuditFile


def test_each_line_is_json_that_a_terminal_can_be_shown_and_only_we_can_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "egress.log"
    file = AuditFile(path)
    file.write({"domain": "a\x1b[31m\n\u202e"})
    file.close()
    AuditFile(path).write({"domain": "b"})

    lines = path.read_text().splitlines()
    assert [json.loads(line)["domain"] for line in lines] == ["a\x1b[31m\n\u202e", "b"]
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_full_file_is_put_aside_and_the_oldest_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "FILE_BYTES_MAX", 100)
    path = tmp_path / "egress.log"
    file = AuditFile(path)
    for number in range(50):
        file.write({"number": number, "text": "x" * 40})
    file.close()

    kept = sorted(tmp_path.iterdir())
    numbers = [
        json.loads(line)["number"] for p in reversed(kept) for line in p.read_text().splitlines()
    ]
    assert [p.name for p in kept] == ["egress.log", "egress.log.1", "egress.log.2", "egress.log.3"]
    assert all(p.stat().st_size <= 100 for p in kept)
    assert numbers == list(range(50 - len(numbers), 50))
