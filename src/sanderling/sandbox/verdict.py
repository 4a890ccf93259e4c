"""
What is told of how a cell ended: which limits it met, each in one plain sentence.

The host counts what it can see from outside: deaths, refused processes, a full disk. What a
traceback has already said (`kernel/sentences.py`) is not said again.
"""

from __future__ import annotations

from sanderling.kernel import sentences
from sanderling.records import ExecutionStatus
from sanderling.sandbox.base import BoxLimits
from sanderling.sandbox.box_files import Room
from sanderling.sandbox.shown import CellEnded
from sanderling.sandbox.snapshots import Difference

RESTARTED = (
    "The Python process had to be restarted: variables are gone, files in /mnt/data are kept."
)
LOST = "The Python process could not be restarted: variables and new files in /mnt/data are gone."


def what_ended_it(
    status: ExecutionStatus, ended: CellEnded, *, limits: BoxLimits, timeout_s: float
) -> list[str]:
    """Return the sentences on what stopped the code, and on what was withheld from it."""
    notices: list[str] = []
    memory = sentences.size(limits.memory_bytes)
    match status:
        case "timed_out":
            notices.append(f"The code ran longer than {timeout_s:g} s and was stopped.")
            if ended.is_throttled and limits.cpu_count is not None:
                notices.append(f"It could use at most {limits.cpu_count:g} processors at a time.")
        case "out_of_memory":
            notices.append(f"The code needed more than its {memory} of memory and was stopped.")
        case "died":
            notices.append("The Python process ended while the code was running.")
        case "interrupted" if ended.status == "died":
            notices.append("The code was interrupted.")
        case _:
            pass
    if ended.is_out_of_memory and status != "out_of_memory":
        notices.append(f"A process needed more than the {memory} of memory and was stopped.")
    if ended.dropped_bytes:
        notices.append(
            f"The output was too long: {ended.dropped_bytes:,} bytes of it were left out."
        )
    return notices


def what_was_full(ended: CellEnded, room: Room, told: str) -> list[str]:
    """
    Return the sentences on what there was no more of, whether the code noticed or not.

    told: the traceback that was shown, if any.
    """
    notices: list[str] = []
    if ended.is_crowded and sentences.PROCESSES not in told:
        notices.append(f"A process or thread could not be started. {sentences.PROCESSES}")
    disk = sentences.disk(room.disk_bytes, room.files)
    if room.is_full and disk not in told:
        notices.append(f"There is no space left for files. {disk}")
    return notices


def what_was_passed_over(found: Difference) -> list[str]:
    """Return the sentences on files that cannot be told of, or not by their names."""
    notices: list[str] = []
    if not found.is_complete:
        notices.append(
            "Some files in /mnt/data were not looked at: there are too many, or their folder "
            "may not be read."
        )
    if found.unclean:
        notices.append(
            f"Cannot be downloaded because of their names: {', '.join(found.unclean)}. Names must "
            "be UTF-8 without control characters; rename them."
        )
    return notices
