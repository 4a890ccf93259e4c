"""
Warnings that name the line of a cell, where libraries would name one of ours.

A library tells of the first frame that is not its own. Where a function of ours stands in for one
of its, that is ours, and nobody can find it: the warning is then of whoever called that.
"""

from __future__ import annotations

import functools
import sys
import warnings
from types import FrameType
from typing import Any

from sanderling.kernel.border import Border
from sanderling.kernel.tracebacks import KERNEL_FOLDER

_NOBODY = "<kernel>"  # what is drawn when a cell has ended is of no line

_BORDER = Border.cross.__code__  # below it is nothing of the user's
_frame_at = sys._getframe  # noqa: SLF001 - inspect's is as private


def install() -> None:
    """Have every warning looked at before it is shown. Done once for a process."""
    names: Any = warnings
    show = names._showwarnmsg  # noqa: SLF001 - what is below is replaced by `catch_warnings`
    if hasattr(show, "__wrapped__"):
        return

    def show_where_it_belongs(message: Any) -> None:
        if str(message.filename).startswith(KERNEL_FOLDER):
            message.filename, message.lineno = _place(_frame_at(1))
        show(message)

    show_where_it_belongs.__wrapped__ = show  # type: ignore[attr-defined]
    names._showwarnmsg = show_where_it_belongs  # noqa: SLF001


def _place(frame: FrameType | None) -> tuple[str, int]:
    """The nearest line that is neither ours nor a library's."""
    while frame is not None and frame.f_code is not _BORDER:
        path = frame.f_code.co_filename
        if not path.startswith((KERNEL_FOLDER, *_libraries(), "<frozen ")):
            return path, frame.f_lineno
        frame = frame.f_back
    return _NOBODY, 1


@functools.cache
def _libraries() -> frozenset[str]:
    # Not when this is loaded, which is before the zygote knows its prefix (`wall/activation.py`).
    import sysconfig  # noqa: PLC0415

    return frozenset(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
