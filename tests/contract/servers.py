"""
Two servers that clients reach over a real socket: one without a wall, one as operators start it.

Both ask a real model server over HTTP, which says what a test tells it to say.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvicorn

from sanderling.api.server import WEBSOCKETS, create_app
from sanderling.api.services import Services
from sanderling.models.chat import ChatModel
from sanderling.settings import Settings
from tests.api.making import memory_services
from tests.doubles.model_server import ModelServer, Turn

T = TypeVar("T")

_READY = "Sanderling is listening on "
# Open streams get this long; far more than a server needs that only says goodbye.
_STOP_S_MAX = 20.0


class LoopThread:
    """An event loop of its own, so that servers live beside tests that block."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="test servers")
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` there and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=60)

    def close(self) -> None:
        """End the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class PlayedModel(ModelServer):
    """A model server whose script is set by each test."""

    def __init__(self) -> None:
        super().__init__([])

    def play(self, *turns: Turn) -> None:
        """Say these turns to whoever asks next; forget what was asked before."""
        self._turns = iter(turns)
        self._turn = None
        self.requests.clear()


@contextmanager
def played_model(loop: LoopThread) -> Iterator[PlayedModel]:
    """Serve a model on a free port."""
    model = PlayedModel()
    loop.run(model.__aenter__())
    try:
        yield model
    finally:
        loop.run(model.__aexit__(None, None, None))


class MemoryServer:
    """A server in this process: real HTTP, real store, real runs; code runs without a wall."""

    def __init__(self, root: Path, model_url: str, settings: Settings) -> None:
        self._root = root
        self._model_url = model_url
        self._settings = settings
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None
        self.services: Services | None = None

    @property
    def base_url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    async def start(self, prepare: Callable[[Services], Coroutine[Any, Any, None]] | None) -> None:
        """Serve, once `prepare` is done with the parts; return when requests are taken."""
        is_up = asyncio.Event()
        self._task = asyncio.create_task(self._serve(is_up, prepare))
        waiting = asyncio.create_task(is_up.wait())
        await asyncio.wait({self._task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            waiting.cancel()
            self._task.result()

    async def _serve(
        self, is_up: asyncio.Event, prepare: Callable[[Services], Coroutine[Any, Any, None]] | None
    ) -> None:
        model = ChatModel(self._model_url)
        parts = memory_services(self._root, model=model, settings=self._settings)
        async with parts as services:
            if prepare is not None:
                await prepare(services)
            config = uvicorn.Config(create_app(services), log_config=None, **WEBSOCKETS)
            self._server = uvicorn.Server(config)
            serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
            async with asyncio.timeout(30):
                while not self._server.started:  # noqa: ASYNC110 uvicorn tells it no other way
                    await asyncio.sleep(0.01)
            is_up.set()
            await serving

    async def stop(self) -> None:
        """Stop taking requests and close every part."""
        assert self._server is not None
        assert self._task is not None
        self._server.should_exit = True
        await self._task


@contextmanager
def memory_server(
    loop: LoopThread,
    root: Path,
    model_url: str,
    prepare: Callable[[Services], Coroutine[Any, Any, None]] | None = None,
    **settings: Any,
) -> Iterator[str]:
    """Serve in this process; yield the base URL."""
    server = MemoryServer(root, model_url, Settings(file_bytes_max=8 << 20, **settings))
    loop.run(server.start(prepare))
    try:
        yield server.base_url
    finally:
        loop.run(server.stop())


@contextmanager
def real_server(data: Path, env: Path, model_url: str, *arguments: str) -> Iterator[str]:
    """Start `sanderling serve` as an operator does; yield the base URL; stop it by SIGTERM."""
    command = [sys.executable, "-m", "sanderling", "serve", "--port", "0", "--data", str(data)]
    command += ["--env", str(env), "--model-url", model_url, *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        complaints: list[str] = []
        reader = threading.Thread(target=lambda: complaints.extend(server.stderr or ()))
        reader.start()
        try:
            line = server.stdout.readline()
            if not line.startswith(_READY):
                server.wait(timeout=_STOP_S_MAX)
                reader.join()
                raise AssertionError("the server did not start: " + "".join(complaints))
            yield line.removeprefix(_READY).strip()
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                code = server.wait(timeout=_STOP_S_MAX)
            finally:
                server.kill()
                reader.join()
        assert code == 0, "".join(complaints)
