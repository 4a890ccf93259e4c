"""
Frames of the socket between the server and the sandbox host (docs/protocol.md, section 1).

One call is one connection. A message is a JSON header and a body of bytes; a body longer than one
frame travels in several with `"more": true` in all but the last. Lengths are read before anything
else and checked before anything is kept, so neither end can be made to hold more than it agreed
to. No behaviour here: `host.py` and `client.py` say what the messages mean.
"""

from __future__ import annotations

import asyncio
import json
import math
import struct
from dataclasses import dataclass
from typing import Any, get_args

from sanderling.errors import (
    MachineFull,
    ProtocolBroken,
    RateLimited,
    RequestError,
    SanderlingError,
    SandboxError,
)
from sanderling.records import ExecutionStatus
from sanderling.sandbox.base import ChangedFile, Ended, Error, Happening, Image, Logs, Result

VERSION = 1

# Room for every field of every message with long paths and escapes; user bytes go in bodies.
HEADER_BYTES_MAX = 64 << 10
# One file chunk, and little enough that a slow reader pins little memory.
BODY_BYTES_MAX = 1 << 20
# Source of one cell. Models write kilobytes; a client may paste a table.
CODE_BYTES_MAX = 4 << 20
# Any happening: an image of 16 MiB (section 3's bound), or the end with 2,000 long paths.
HAPPENING_BYTES_MAX = 32 << 20

_LENGTHS = struct.Struct(">II")
_STATUSES = frozenset(get_args(ExecutionStatus))
_MIMES = frozenset(get_args(Image.__annotations__["mime"])) or frozenset(
    {"image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml"}
)


@dataclass(frozen=True, slots=True)
class Message:
    """One whole message. The getters raise ProtocolBroken when a field is missing or wrong."""

    header: dict[str, Any]
    body: bytes = b""

    def text(self, name: str) -> str:
        value = self.header.get(name)
        if not isinstance(value, str):
            raise ProtocolBroken(f"The field {name!r} of a message is not text.")
        return value

    def optional_text(self, name: str) -> str | None:
        return None if self.header.get(name) is None else self.text(name)

    def integer(self, name: str) -> int:
        value = self.header.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ProtocolBroken(f"The field {name!r} of a message is not an integer.")
        return value

    def number(self, name: str) -> float:
        value = self.header.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise ProtocolBroken(f"The field {name!r} of a message is not a number.")
        return float(value)

    def flag(self, name: str) -> bool:
        value = self.header.get(name)
        if not isinstance(value, bool):
            raise ProtocolBroken(f"The field {name!r} of a message is not true or false.")
        return value

    def body_text(self) -> str:
        return self.body.decode("utf-8", "replace")
