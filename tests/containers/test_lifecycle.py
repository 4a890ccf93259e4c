from __future__ import annotations

from dataclasses import replace

import pytest

from sanderling.containers.lifecycle import deadline, is_overdue, refuse_unless_running
from sanderling.errors import Expired, NotFound
from sanderling.records import Container

CONTAINER = Container(
    id="cntr_1",
    organization_id="org_a",
    name="x",
    status="running",
    memory_limit="1g",
    created_at=0.0,
    last_active_at=100.0,
    expires_after_minutes=2,
)


def test_deadline_counts_from_the_last_use() -> None:
    assert deadline(CONTAINER) == 220.0
    assert not is_overdue(CONTAINER, 219.9)
    assert is_overdue(CONTAINER, 220.0)


def test_expired_container_is_not_overdue_again() -> None:
    assert not is_overdue(replace(CONTAINER, status="expired"), 1000.0)


def test_only_a_running_container_can_be_used() -> None:
    assert refuse_unless_running("cntr_1", CONTAINER) == CONTAINER
    with pytest.raises(Expired, match=r"^Container is expired\.$"):
        refuse_unless_running("cntr_1", replace(CONTAINER, status="expired"))
    with pytest.raises(NotFound, match=r"^Container with id 'cntr_1' not found\.$"):
        refuse_unless_running("cntr_1", None)
