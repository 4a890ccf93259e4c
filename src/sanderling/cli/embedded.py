"""
A server of the command's own: `serve --port 0` as a child process in a temporary data folder.

The child lives exactly as long as this process: it ends when its standard input closes, and the
pipe closes however we die. Nothing of it is left on the disk afterwards.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO

from sanderling.errors import SetupError

_READY = re.compile(r"^Sanderling is listening on (http://\S+)$")
# How long a stopping server may take: its own limit for open streams, and some for the boxes.
_STOP_S_MAX = 15.0


@contextmanager
def own_server(
    arguments: Sequence[str] = (), *, environ: Mapping[str, str] | None = None
) -> Iterator[str]:
    """
    Start a server with the further `serve` arguments; yield its base URL; stop it on leaving.

    Raises:
        SetupError: it did not start; the message is what the server said.
    """
    with (
        tempfile.TemporaryDirectory(prefix="sanderling-", ignore_cleanup_errors=True) as data,
        tempfile.TemporaryFile() as complaints,
    ):
        command = [sys.executable, "-m", "sanderling", "serve", "--host", "127.0.0.1"]
        command += ["--port", "0", "--data", data, "--until-stdin-closes", *arguments]
        server = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            env=environ,
            # Out of our process group: Ctrl-C is for us, and we stop the server in our own order.
            start_new_session=True,
        )
        before = signal.signal(signal.SIGTERM, _leave)
        try:
            yield _wait_ready(server, complaints)
        finally:
            signal.signal(signal.SIGTERM, before)
            _stop(server)


def _leave(number: int, _: object) -> None:
    """End by the usual way out, so that the server and its folder go too."""
    sys.exit(128 + number)


def _wait_ready(server: subprocess.Popen[str], complaints: IO[bytes]) -> str:
    assert server.stdout is not None
    line = server.stdout.readline()
    if match := _READY.match(line.rstrip("\n")):
        return match[1]
    server.wait()
    complaints.seek(0)
    said = complaints.read().decode(errors="replace").strip()
    raise SetupError(said or f"The server ended with exit code {server.returncode}.")


def _stop(server: subprocess.Popen[str]) -> None:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.close()
    try:
        server.wait(timeout=_STOP_S_MAX)
    except subprocess.TimeoutExpired:
        server.send_signal(signal.SIGKILL)
        server.wait()
    server.stdout.close()
