"""
The life of a server process: take the port, open the parts, answer, and end in the right order.

The port is taken first, so that a wrong one is refused at once and not after the boxes are warm.
When a signal asks the server to stop it takes no more connections, then ends every run, which
gives each open stream its last event, then waits for the answers to be read, and only then closes
the parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import uvicorn

from sanderling.api.server import WEBSOCKETS, create_app
from sanderling.api.services import Services
from sanderling.app import open_services
from sanderling.errors import SetupError
from sanderling.observe import logs
from sanderling.sandbox import machine
from sanderling.settings import Settings

# How long a stopping server waits for clients to read their last event. Supervisors kill after
# 10 s (docker) or 90 s (systemd), and closing the boxes needs some of that.
STREAM_END_S_MAX = 5
PORT_MAX = 65535
# Connections that wait while the server is busy; uvicorn's own number.
_BACKLOG = 2048
# How long a connection stays open between two requests: longer than any client keeps one to use
# again (httpx 5 s, aiohttp 15 s, proxies 60 s, Go 90 s). The one who closes first must be the
# client, or now and then its next request meets a connection that is just being closed.
KEEP_ALIVE_S = 120


async def run_server(
    settings: Settings, *, announce: Callable[[str], None], until_stdin_closes: bool = False
) -> None:
    """
    Serve until SIGTERM, SIGINT or (where asked) the end of standard input.

    announce: called once with the base URL, when the port takes requests and a box is ready.

    Raises:
        SetupError, SandboxError: the server cannot start; the message says what to do.
    """
    logs.configure(settings.log_level)
    machine.allow_many_descriptors()
    started = time.monotonic()
    with contextlib.closing(listen(settings.host, settings.port)) as listener, _stopper() as stop:
        if until_stdin_closes:
            _watch_stdin(stop)
        try:
            async with open_services(settings) as services:
                url = base_url(settings.host, listener)

                def ready() -> None:
                    milliseconds = (time.monotonic() - started) * 1000
                    logs.info("server.listening", url=url, startup_ms=milliseconds)
                    announce(url)

                await _answer(services, listener, stop, ready)
        except asyncio.CancelledError:
            # The signal came before the server was up; nothing was promised to anybody yet.
            if not stop.is_asked:
                raise
    logs.info("server.stopped", uptime_s=time.monotonic() - started)


def listen(host: str, port: int) -> socket.socket:
    """
    Return a socket that listens on `host`:`port`; port 0 takes a free one.

    Raises:
        SetupError: it is taken, forbidden, or no address of this machine.
    """
    if not 0 <= port <= PORT_MAX:  # the system would take it modulo 65536
        raise SetupError(f"{port} is not a port; choose one from 1 to {PORT_MAX}, or 0.")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise SetupError(f"{host} is not an address to listen on: {error.strerror}.") from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        # A server that was restarted may take its port back while old connections linger.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # At once, not when the server is up: two programs may hold the same address until one
        # of them listens.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise SetupError(_why_not(host, port, error)) from error
    return listener


def _why_not(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"Port {port} on {host} is taken by another program; choose another with --port, "
                "or 0 for a free one."
            )
        case errno.EACCES | errno.EPERM:
            return (
                f"Port {port} on {host} may not be taken by this user; choose one from 1024 up "
                "with --port."
            )
        case errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this machine; choose another with --host."
    return f"{host}:{port} cannot be listened on: {error.strerror}."


def base_url(host: str, listener: socket.socket) -> str:
    """Return the URL that clients of `listener` use, as the operator named the host."""
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"


class _Stop:
    """The wish to stop, wherever in the server's life it arrives."""

    def __init__(self) -> None:
        self.is_asked = False
        self.server: uvicorn.Server | None = None  # set once the server answers requests
        task = asyncio.current_task()
        assert task is not None, "a server runs in a task"
        self._task = task

    def ask(self, reason: str) -> None:
        """Stop: at first in order, the second time without waiting for open streams."""
        if self.is_asked:
            if self.server is not None:
                self.server.force_exit = True
            return
        self.is_asked = True
        logs.info("server.stopping", signal=reason)
        if self.server is None:
            self._task.cancel()
        else:
            self.server.should_exit = True


@contextlib.contextmanager
def _stopper() -> Iterator[_Stop]:
    stop = _Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.ask, signal.Signals(number).name)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _watch_stdin(stop: _Stop) -> None:
    loop = asyncio.get_running_loop()

    def read_to_end() -> None:
        while os.read(0, 65536):
            pass
        # The loop is gone when the server ended for another reason while this thread waited.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(stop.ask, "end of standard input")

    # A thread, because standard input may be a file or /dev/null, which no event loop can watch;
    # a daemon, because a blocked read must not keep the process.
    threading.Thread(target=read_to_end, name="stdin", daemon=True).start()


class _Server(uvicorn.Server):
    """uvicorn with our signals, our word when it is ready, and our end for open streams."""

    def __init__(
        self, config: uvicorn.Config, services: Services, ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._services = services
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # `_stopper` holds them for the whole life of the process

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        async with asyncio.TaskGroup() as group:
            # Together: closing the runs gives every open stream its end, which is what uvicorn
            # waits for; and uvicorn refuses new connections before it waits.
            group.create_task(super().shutdown(sockets))
            group.create_task(self._services.runner.close())
            group.create_task(self._services.cells.close())


async def _answer(
    services: Services, listener: socket.socket, stop: _Stop, ready: Callable[[], None]
) -> None:
    config = uvicorn.Config(
        create_app(services),
        # Our own logging is set up already, and our own request line is written by api/server.
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        # A proxy's word about who the client is counts for nothing here: nothing depends on it.
        proxy_headers=False,
        timeout_graceful_shutdown=STREAM_END_S_MAX,
        timeout_keep_alive=KEEP_ALIVE_S,
        **WEBSOCKETS,
    )
    server = _Server(config, services, ready)
    stop.server = server
    await server.serve(sockets=[listener])
