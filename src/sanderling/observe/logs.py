"""
One line per thing that happened, on standard error: time, level, action, fields.

    2026-11-20T14:03:07.120Z info run.finished run_id=resp_9c… status=completed duration_ms=412

`bound(run_id=…)` adds fields to every line of the task inside it. Values that are not plain words
are written as JSON strings, so that nothing a client sent can begin a new line. Lines of libraries
appear in the same shape, with the library's logger as the action and its text as `message`.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from sanderling.observe.names import ACTIONS

_LOGGER = logging.getLogger("sanderling")
_BOUND: ContextVar[dict[str, Any] | None] = ContextVar("sanderling_log_fields", default=None)
_PLAIN = re.compile(r"[\w.:/+@%-]+", re.ASCII)
# Libraries that tell at INFO what an operator of Sanderling did not ask about.
_CHATTY = (
    "alembic",
    "uvicorn",
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "openai",
    "asyncio",
)


def debug(action: str, **fields: Any) -> None:
    _emit(logging.DEBUG, action, fields)


def info(action: str, **fields: Any) -> None:
    _emit(logging.INFO, action, fields)


def warning(action: str, **fields: Any) -> None:
    _emit(logging.WARNING, action, fields)


def error(action: str, *, cause: BaseException | None = None, **fields: Any) -> None:
    """Log a fault of ours; `cause` adds the traceback, which is the one thing past a line."""
    _emit(logging.ERROR, action, fields, cause)


def _emit(
    level: int, action: str, fields: dict[str, Any], cause: BaseException | None = None
) -> None:
    assert action in ACTIONS, f"{action} is not in observe/names.py"
    if _LOGGER.isEnabledFor(level):
        everything = {**(_BOUND.get() or {}), **fields}
        _LOGGER.log(level, action, extra={"sanderling_fields": everything}, exc_info=cause)


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Add `fields` to every line logged inside, in this task and in tasks it starts."""
    token = _BOUND.set({**(_BOUND.get() or {}), **fields})
    try:
        yield
    finally:
        _BOUND.reset(token)


class LineFormatter(logging.Formatter):
    """Writes a record as one line; a traceback follows on lines of its own, indented."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, Any] | None = getattr(record, "sanderling_fields", None)
        action = record.getMessage()
        if fields is None:
            action, fields = record.name, {"message": action}
        words = [f"{seconds}.{int(record.msecs):03d}Z", record.levelname.lower(), action]
        words += [f"{name}={_value(value)}" for name, value in fields.items() if value is not None]
        line = " ".join(words)
        if record.exc_info:
            line += "\n    " + self.formatException(record.exc_info).replace("\n", "\n    ")
        return line


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def configure(level: str, stream: TextIO | None = None) -> None:
    """
    Send every log line of `level` and above to `stream` (standard error), and nowhere else.

    level: debug, info, warning or error.
    """
    sink = logging.StreamHandler(stream or sys.stderr)
    sink.setFormatter(LineFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(sink)
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
