"""The small process that makes user namespaces for the views of boxes' files."""

from __future__ import annotations

import subprocess
import sys

# A fork is refused twice; each request is answered all the same.
REFUSED = """
import os, socket
from sanderling.sandbox.wall import views

control, _ = socket.socketpair()
fork, forks = os.fork, iter([True, False, False])
def refuse():
    if next(forks):
        return fork()
    raise BlockingIOError(11, "no processes left")
os.fork = refuse
mapper = views.Mapper(control)
for number in (1, 2):
    try:
        mapper.namespace(number)
    except OSError as error:
        print(error)
"""


def test_a_namespace_that_cannot_be_made_now_may_be_made_later() -> None:
    done = subprocess.run(
        [sys.executable, "-c", REFUSED], capture_output=True, text=True, timeout=30, check=True
    )

    assert done.stdout.count("no processes left") == 2, done.stdout
