"""The whole server over its socket: executions, a run, live output, the largest upload."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openai import OpenAI

from bench.cells import IMPORTS, NEXT
from bench.measures import Values
from bench.samples import timed

_UPLOAD_BYTES = 512 << 20
_CHUNK = bytes(1 << 20)
_LINES = 50
_WARM_UP = 10
_UPLOADS = 3
_REFILL_S = 0.15  # for the pool, which cannot be asked from outside
# Each line carries the time at which it was printed; the box shares the machine's clock.
_TICK = (
    "import time\n"
    f"for _ in range({_LINES}):\n"
    "    print(time.time(), flush=True)\n"
    "    time.sleep(0.02)"
)
_RUN = {"model": "offline", "input": "Compute 2 + 3."}


def measure(env: Path, count: int) -> Values:
    """Return figures in milliseconds, MiB and shares; the server is started and ended here."""
    with tempfile.TemporaryDirectory() as data, _serving(Path(data), env) as (url, pid):
        wire = _Wire(url)
        values = _executions(wire, url, count * 4)
        values |= _containers(wire, count)
        values |= _runs(wire, count)
        values["live_line"] = _live_lines(wire)
        values |= _upload(wire, pid, Path(data))
        wire.close()
    return values


@contextlib.contextmanager
def _serving(data: Path, env: Path) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-m", "sanderling", "serve", "--port", "0"]
    server = subprocess.Popen(
        [*command, "--data", str(data), "--env", str(env)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().split()[-1], server.pid
    finally:
        server.terminate()
        server.wait(timeout=60)


class _Wire:
    """One kept connection, and nothing between it and us: what is left is the server's."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self._base = parts.path
        assert parts.hostname is not None
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        with self.stream(path, body) as reply:
            return json.loads(reply.read())

    def delete(self, path: str) -> None:
        self._connection.request("DELETE", self._base + path)
        self._checked().read()

    @contextlib.contextmanager
    def stream(self, path: str, body: dict[str, Any]) -> Iterator[http.client.HTTPResponse]:
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", self._base + path, json.dumps(body), headers)
        yield self._checked()

    def upload(self, bytes_count: int) -> None:
        """Send a file of zeros as a form."""
        boundary = secrets.token_hex(8)
        part = f"--{boundary}\r\nContent-Disposition: form-data; name="
        head = f'{part}"purpose"\r\n\r\nuser_data\r\n{part}"file"; filename="zeros"\r\n\r\n'
        tail = f"\r\n--{boundary}--\r\n"
        self._connection.putrequest("POST", self._base + "/files")
        self._connection.putheader("Content-Type", f"multipart/form-data; boundary={boundary}")
        self._connection.putheader("Content-Length", str(len(head) + bytes_count + len(tail)))
        self._connection.endheaders(head.encode())
        for _ in range(bytes_count // len(_CHUNK)):
            self._connection.send(_CHUNK)
        self._connection.send(tail.encode())
        self._checked().read()

    def close(self) -> None:
        self._connection.close()

    def _checked(self) -> http.client.HTTPResponse:
        reply = self._connection.getresponse()
        if reply.status != 200:
            raise RuntimeError(f"{reply.status}: {reply.read()!r}")
        return reply


def _executions(wire: _Wire, url: str, count: int) -> Values:
    """The same cell by a bare connection and by the official SDK, in turn."""
    path = f"/containers/{wire.post('/containers', {'name': 'bench'})['id']}/executions"
    bare: list[float] = []
    sdk: list[float] = []
    with OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        for _ in range(count + _WARM_UP):
            with timed(bare):
                wire.post(path, {"code": NEXT})
            with timed(sdk):
                client.post(path, body={"code": NEXT}, cast_to=object)
    return {"execution": bare[_WARM_UP:], "execution_sdk": sdk[_WARM_UP:]}


def _containers(wire: _Wire, count: int) -> Values:
    """A new container with a waiting box, and its first cell."""
    values: list[float] = []
    for _ in range(count):
        time.sleep(_REFILL_S)
        with timed(values):
            container = wire.post("/containers", {"name": "bench"})
            wire.post(f"/containers/{container['id']}/executions", {"code": IMPORTS})
        wire.delete(f"/containers/{container['id']}")
    return {"container": values}


def _runs(wire: _Wire, count: int) -> Values:
    """A response with one code call, by a model that answers at once."""
    container = wire.post("/containers", {"name": "bench"})["id"]
    tools = [{"type": "code_interpreter", "container": container}]
    values: list[float] = []
    for _ in range(count + _WARM_UP):
        with timed(values):
            wire.post("/responses", {**_RUN, "tools": tools})
    return {"run": values[_WARM_UP:]}


def _live_lines(wire: _Wire) -> list[float]:
    """From a line's print to its event's arrival."""
    container = wire.post("/containers", {"name": "bench"})["id"]
    values: list[float] = []
    with wire.stream(
        f"/containers/{container}/executions", {"code": _TICK, "stream": True}
    ) as reply:
        for line in reply:
            if not line.startswith(b"data: ") or b'"logs"' not in line:
                continue
            arrived = time.time()
            event = json.loads(line.removeprefix(b"data: "))
            if event["type"] == "container.execution.output":
                printed = event["output"]["logs"].split()
                values += [(arrived - float(text)) * 1000 for text in printed]
    return values


def _upload(wire: _Wire, pid: int, folder: Path) -> Values:
    """The largest file: what the server grows by, and its speed as a share of the bare disk's."""
    wire.upload(4 << 20)
    before = _peak_mib(pid)
    raw: list[float] = []
    through: list[float] = []
    for _ in range(_UPLOADS):
        with timed(raw), (folder / "raw").open("wb") as file:
            for _ in range(_UPLOAD_BYTES // len(_CHUNK)):
                file.write(_CHUNK)
            file.flush()
            os.fsync(file.fileno())
        (folder / "raw").unlink()
        with timed(through):
            wire.upload(_UPLOAD_BYTES)
    shares = [bare / ours for bare, ours in zip(raw, through, strict=True)]
    return {"upload_mib": [_peak_mib(pid) - before], "upload_share": shares}


def _peak_mib(pid: int) -> float:
    """The most memory a process ever had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmHWM")
