import os

import pytest

from sanderling.errors import SpawnFailed
from sanderling.sandbox.verify import check_wall


def test_a_process_without_a_wall_is_refused_and_every_gap_is_named() -> None:
    with pytest.raises(SpawnFailed) as refusal:
        check_wall(os.getpid(), uid=1_900_001_001)

    for part in (
        "NoNewPrivs",
        "seccomp",
        "net namespace",
        "mnt namespace",
        "user namespace",
        "uid",
    ):
        assert part in refusal.value.message


def test_a_process_that_is_gone_is_refused() -> None:
    with pytest.raises(SpawnFailed, match="cannot be inspected"):
        check_wall(2**22 - 1, uid=None)
