"""What must be there before the process that forks boxes is even started."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from sanderling.errors import MachineUnfit
from sanderling.sandbox import box_files, uids, zygotes
from sanderling.sandbox.wall.zygote import Plan

PLAN = Plan([], "/usr/bin", None, [], "single", 1000, 1000, has_egress=False)


async def test_a_machine_that_cannot_open_files_safely_is_unfit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(box_files, "openat2", refuse)

    with pytest.raises(MachineUnfit, match="openat2 is refused"):
        await zygotes.launch(tmp_path / "python", "never", PLAN, uids.BoxUids("single"))
