"""Jupyter's way to run code: a kernel by its own client, and one behind Kernel Gateway."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from typing import Any

from bench.peers.base import CellFailed, Peer, Place, Session
from bench.peers.processes import JUPYTER, package_version

_START_S_MAX = 60.0


class IPyKernel(Peer):
    key, title, isolation = "ipykernel", "ipykernel, jupyter_client", "none"
    python = JUPYTER
    shows_figures = True
    live_max = 10

    async def session(self) -> Session:
        from jupyter_client.manager import start_new_kernel

        return _KernelSession(*start_new_kernel())

    def version(self) -> str:
        return f"{package_version('ipykernel')}, {package_version('jupyter_client')}"


class _KernelSession:
    """A kernel process that belongs to its client."""

    def __init__(self, manager: Any, client: Any) -> None:
        self._manager = manager
        self._client = client

    async def run(self, code: str) -> str:
        printed: list[str] = []

        def note(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])

        reply = self._client.execute_interactive(code, output_hook=note, timeout=120)
        if reply["content"]["status"] != "ok":
            raise CellFailed(reply["content"])
        return "".join(printed)

    async def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


class KernelGateway(Peer):
    key, title, isolation = "gateway", "Jupyter Kernel Gateway, HTTP + websocket", "none"
    python = JUPYTER
    is_blocking = False
    shows_figures = True
    _port = 0

    async def open(self, place: Place) -> None:
        from jupyter_client.localinterfaces import localhost
        from tornado.netutil import bind_sockets

        [probe] = bind_sockets(0, localhost())
        self._port = probe.getsockname()[1]
        probe.close()
        command = [sys.executable, "-m", "kernel_gateway", f"--port={self._port}"]
        self._server = subprocess.Popen(
            [*command, "--KernelGatewayApp.log_level=ERROR"], stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _START_S_MAX
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api").close()
                return
            except urllib.error.URLError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    async def session(self) -> Session:
        from tornado.httpclient import AsyncHTTPClient
        from tornado.websocket import websocket_connect

        base = f"127.0.0.1:{self._port}/api/kernels"
        http = AsyncHTTPClient()
        made = await http.fetch(f"http://{base}", method="POST", body='{"name": "python3"}')
        kernel = json.loads(made.body)["id"]
        socket = await websocket_connect(f"ws://{base}/{kernel}/channels")
        return _GatewaySession(http, f"http://{base}/{kernel}", socket)

    async def close(self) -> None:
        self._server.terminate()
        self._server.wait()

    def version(self) -> str:
        return package_version("jupyter_kernel_gateway")


class _GatewaySession:
    """A kernel of the gateway and a websocket to it."""

    def __init__(self, http: Any, url: str, socket: Any) -> None:
        self._http = http
        self._url = url
        self._socket = socket

    async def run(self, code: str) -> str:
        header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request"}
        header |= {"username": "", "session": "bench", "version": "5.3"}
        request = {"header": header, "parent_header": {}, "metadata": {}, "channel": "shell"}
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        await self._socket.write_message(json.dumps({**request, "content": content}))
        printed: list[str] = []
        awaited = {"execute_reply", "status"}  # the reply, and that the kernel is idle
        while awaited:
            message = json.loads(await self._socket.read_message())
            content = message["content"]
            if message["parent_header"].get("msg_id") != header["msg_id"]:
                continue
            match message["msg_type"]:
                case "stream":
                    printed.append(content["text"])
                case "execute_reply":
                    if content["status"] != "ok":
                        raise CellFailed(content)
                    awaited.discard("execute_reply")
                case "status" if content["execution_state"] == "idle":
                    awaited.discard("status")
        return "".join(printed)

    async def close(self) -> None:
        self._socket.close()
        await self._http.fetch(self._url, method="DELETE")
