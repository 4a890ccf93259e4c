"""
The states of a run and the only ways between them.

    queued ──► in_progress ──► completed     the model had its say
       │            ├────────► incomplete    a limit cut it short; what there is can be used
       │            ├────────► failed        the model server, the sandbox or we failed
       └────────────┴────────► cancelled     the client asked for it

A run never leaves one of the four states on the right. Every change is an event in the feed.
"""

from __future__ import annotations

from sanderling.records import RunStatus
from sanderling.runs.events import TERMINAL_STATUSES

NEXT: dict[RunStatus, frozenset[RunStatus]] = {
    "queued": frozenset({"in_progress", "failed", "cancelled"}),
    "in_progress": frozenset({"completed", "incomplete", "failed", "cancelled"}),
    "completed": frozenset(),
    "incomplete": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}


def may_become(status: RunStatus, following: RunStatus) -> bool:
    """Return whether a run in `status` may go to `following`."""
    return following in NEXT[status]


def is_over(status: RunStatus) -> bool:
    """Return whether nothing follows `status`."""
    return status in TERMINAL_STATUSES
