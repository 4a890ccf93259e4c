"""A server as its users start it: a process of its own, with real boxes and the offline model."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from sanderling.environments import locate
from sanderling.errors import SetupError

# Streams get 5 s to end and the sandbox host takes some; a busy machine is slow at both.
STOP_S_MAX = 30.0


def guest_env() -> Path:
    """Return the guest environment the tests use; skip the test where there is none."""
    named = os.environ.get("SANDERLING_ENV")
    try:
        return locate.find(Path(named) if named else None).path
    except SetupError as error:
        pytest.skip(f"no guest environment: {error.message}")


def clean_environ(**more: str) -> dict[str, str]:
    """Return this process's environment without settings of Sanderling or the SDK."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("SANDERLING_", "OPENAI_"))}
    return {**kept, **more}


def sanderling(
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
    timeout: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "sanderling", *map(str, arguments)],
        capture_output=True,
        text=True,
        input=stdin,
        env=dict(env or clean_environ()),
        cwd=cwd,
        timeout=timeout,
        check=False,
    )


@dataclass
class LiveServer:
    """A server that is ready; `url` ends with /v1."""

    process: subprocess.Popen[str]
    url: str
    stderr: Path

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; return the exit code and what else was on standard output."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=STOP_S_MAX)
        return self.process.returncode, rest


@contextlib.contextmanager
def serving(data: Path, *flags: str, env: Mapping[str, str] | None = None) -> Iterator[LiveServer]:
    """Start `sanderling serve` on a free port; end it on leaving if it still runs."""
    stderr = data.parent / f"{data.name}.stderr"
    command = [sys.executable, "-m", "sanderling", "serve", "--port", "0", "--data", str(data)]
    with stderr.open("w") as sink:
        process = subprocess.Popen(
            [*command, "--env", str(guest_env()), *flags],
            stdout=subprocess.PIPE,
            stderr=sink,
            text=True,
            env=dict(env or clean_environ()),
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Sanderling is listening on http://"), stderr.read_text()
        yield LiveServer(process, line.split()[-1], stderr)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.communicate(timeout=STOP_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        elif process.stdout is not None:
            process.stdout.close()
