"""Has peers installed, starts their drivers, and asks them in turn."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uv

from bench import memory, peers
from bench.measures import Values
from bench.peers import ours
from bench.peers.base import Peer, Place, Venv
from sanderling.environments.environment import Environment

TOP = Path(__file__).parents[1]
_LIBRARIES = ("numpy", "pandas", "matplotlib")
_ANSWER_S_MAX = 180.0  # 1,000 boxes on a loaded machine


class PeerFailed(Exception):
    """A peer cannot be measured; the message says why."""


@contextlib.contextmanager
def workplace(environment: Environment) -> Iterator[Place]:
    """Make ready what drivers need; the folder of installed things is kept between runs."""
    folder = TOP / ".sanderling"
    mpl_config = folder / "bench-matplotlib"
    shutil.rmtree(mpl_config, ignore_errors=True)
    shutil.copytree(environment.mpl_config, mpl_config)
    prefixes = tuple(map(str, environment.base_prefixes))
    try:
        yield Place(environment.path, prefixes, mpl_config, folder)
    finally:
        shutil.rmtree(mpl_config, ignore_errors=True)


def python_of(peer: Peer, place: Place, environment: Environment) -> Path:
    """Return the Python that has what the peer needs; install it the first time."""
    if peer.python == "ours":
        return Path(sys.executable)
    if peer.python == "guest":
        return environment.python
    assert isinstance(peer.python, Venv)
    packages = list(peer.python.packages)
    if peer.python.has_libraries:
        packages += [f"{name}=={environment.packages[name]}" for name in _LIBRARIES]
    folder = place.peers / f"bench-env-{peer.python.name}"
    python, stamp = folder / "bin/python", folder / "packages"
    if not stamp.exists() or stamp.read_text() != "\n".join(packages):
        print(f"Installing {' '.join(packages)} …", file=sys.stderr, flush=True)
        base = [uv.find_uv_bin(), "--quiet"]
        venv = ["venv", "--clear", "--python", str(environment.python.resolve()), str(folder)]
        install = ["pip", "install", "--compile-bytecode", "--python", str(python), *packages]
        subprocess.run([*base, *venv], check=True)
        subprocess.run([*base, *install], check=True)
        stamp.write_text("\n".join(packages))
    return python


class Driver:
    """A peer in its own process. Use it as a context manager."""

    def __init__(self, peer: Peer, place: Place, environment: Environment) -> None:
        """
        Raises:
            PeerFailed: it cannot be installed or opened.
        """
        self.peer = peer
        if (how := peer.missing()) is not None:
            raise PeerFailed(how)
        try:
            python = python_of(peer, place, environment)
            peer.install(place)
        except (OSError, subprocess.CalledProcessError) as error:
            raise PeerFailed(f"it could not be installed: {error}") from error
        self._group = memory.make_group()
        facts = {"env": str(place.env), "prefixes": place.prefixes}
        facts |= {"mpl_config": str(place.mpl_config), "peers": str(place.peers)}
        arguments = [peer.key, json.dumps(facts), str(self._group or "")]
        self._log = (place.peers / f"bench-{peer.key}.log").open("w")
        self._process = subprocess.Popen(
            [python, "-m", "bench.driver", *arguments],
            cwd=TOP,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )
        try:
            self.version = str(self._ask(op="open")["version"])
        except PeerFailed:
            self.close()
            raise

    def measure(self, name: str, *, count: int, budget_s: float) -> Values:
        """Raises PeerFailed."""
        return self._values(op="measure", name=name, count=count, budget_s=budget_s)

    def scale(self, live: int, *, count: int, budget_s: float) -> Values:
        """Raises PeerFailed."""
        return self._values(op="scale", live=live, count=count, budget_s=budget_s)

    def close(self) -> None:
        """End the driver and everything it started."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        with self._deadline():
            self._process.wait()
        with contextlib.suppress(ProcessLookupError):  # what a peer has left behind
            os.killpg(self._process.pid, signal.SIGKILL)
        self._log.close()
        if self._group is not None:
            memory.remove_group(self._group)

    def _values(self, **request: Any) -> Values:
        values: Values = self._ask(**request)["values"]
        return values

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._deadline():
            try:
                self._process.stdin.write(json.dumps(request) + "\n")
                self._process.stdin.flush()
            except BrokenPipeError as error:
                raise PeerFailed(f"its driver ended; see {self._log.name}") from error
            line = self._process.stdout.readline()
        if not line:
            raise PeerFailed(f"its driver ended or hung; see {self._log.name}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerFailed(answer["error"])
        return answer

    @contextlib.contextmanager
    def _deadline(self) -> Iterator[None]:
        timer = threading.Timer(_ANSWER_S_MAX, self._process.kill)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def offered() -> list[str]:
    """The keys of all peers that this version of Sanderling can be set beside, ours included."""
    return [k for k in peers.KEYS if not k.endswith("-gvisor") or ours.offers("gvisor")]
