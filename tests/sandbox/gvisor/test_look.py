from __future__ import annotations

import os
import subprocess

import pytest

from sanderling.errors import SpawnFailed
from sanderling.sandbox.gvisor import look


def test_a_process_of_the_hosts_own_is_no_box() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            with pytest.raises(SpawnFailed) as refused:
                look.check_box(process.pid)
        finally:
            process.kill()
    for fault in ("the user namespace is the host's", "the net namespace is", "no runsc-sandbox"):
        assert fault in refused.value.message


def test_a_process_that_is_gone_is_no_box() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(SpawnFailed, match="cannot be inspected"):
        look.check_box(process.pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="its uid is not 0")
def test_root_is_seen() -> None:
    with pytest.raises(SpawnFailed, match="init: its uid is 0"):
        look.check_box(os.getpid())
