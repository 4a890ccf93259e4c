"""
What is written down of every request that the proxy was asked to serve: who, where, and what came
of it. Never a path, a query, a header or a body: they may hold what is secret.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

FILE_BYTES_MAX = 8 << 20
FILES = 4  # the present one and those before it

Verdict = Literal["allowed", "refused", "failed"]


@dataclass(slots=True)
class Entry:
    """
    One request or tunnel. Filled in as it goes; `verdict` is the last word.

    verdict: `allowed` (it was connected), `refused` (by a rule of ours), `failed` (nobody answers).
    reason: why, if not allowed; else what ended it early, if anything did.
    status: of the answer that the code was given; None: there was none to give.
    bytes_up, bytes_down: of bodies, or of everything in a tunnel.
    """

    time: float  # Unix seconds
    container_id: str
    organization_id: str
    method: str = ""
    domain: str = ""
    port: int = 0
    address: str | None = None
    verdict: Verdict = "refused"
    reason: str | None = None
    status: int | None = None
    bytes_up: int = 0
    bytes_down: int = 0
    duration_ms: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class AuditFile:
    """A file of JSON lines that is put aside when it is full, the oldest one given up."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = _open(path)
        self._bytes = os.fstat(self._fd).st_size

    def write(self, fields: Mapping[str, Any]) -> None:
        """Append one line. Raises OSError: it could not be written."""
        line = json.dumps(fields).encode() + b"\n"
        if self._bytes + len(line) > FILE_BYTES_MAX:
            self._turn_over()
        os.write(self._fd, line)
        self._bytes += len(line)

    def close(self) -> None:
        os.close(self._fd)

    def _turn_over(self) -> None:
        for number in range(FILES - 1, 0, -1):
            older = self._numbered(number)
            newer = self._numbered(number - 1)
            if newer.exists():
                newer.replace(older)
        fd, self._fd = self._fd, _open(self._path)
        self._bytes = 0
        os.close(fd)

    def _numbered(self, number: int) -> Path:
        return self._path if number == 0 else self._path.with_suffix(f".log.{number}")


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
