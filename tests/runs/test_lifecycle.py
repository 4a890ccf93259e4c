from __future__ import annotations

from sanderling.runs.events import TERMINAL_STATUSES
from sanderling.runs.lifecycle import NEXT, is_over, may_become


def test_run_never_leaves_a_last_state() -> None:
    assert {status for status in NEXT if not NEXT[status]} == TERMINAL_STATUSES
    assert all(is_over(status) == (not NEXT[status]) for status in NEXT)


def test_every_state_can_be_reached() -> None:
    assert set().union(*NEXT.values()) | {"queued"} == set(NEXT)


def test_completed_run_cannot_be_cancelled_and_a_queued_one_can() -> None:
    assert not may_become("completed", "cancelled")
    assert may_become("queued", "cancelled")
