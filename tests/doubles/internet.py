"""
An internet in a network namespace: names, web servers behind public addresses, and inner ones too.

And a machine beside it: another network namespace, with its own resolver, in which a real server is
started. Whatever that machine asks for it gets, be it public or not; only the rules under test keep
it from anything. Nothing leaves the two. Needs root.
"""

from __future__ import annotations

import contextlib
import http.server
import os
import shutil
import socket
import socketserver
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from sanderling.sandbox.wall import linux

T = TypeVar("T")

SITE, OTHER, RESOLVER, MACHINE = "93.184.216.34", "93.184.216.35", "93.184.216.53", "93.184.216.1"
INNER, METADATA = "10.9.9.9", "169.254.169.254"

# Domain → answers, one after another; the last one is repeated.
NAMES: dict[str, list[list[str]]] = {
    "site.example": [[SITE]],
    "other.example": [[OTHER]],
    "inner.example": [[INNER]],
    "metadata.example": [[METADATA]],
    "mixed.example": [[SITE, INNER]],
    "machine.example": [[MACHINE]],
    "loop.example": [["127.0.0.1"]],
}

is_possible = (
    os.geteuid() == 0 and shutil.which("ip") is not None and shutil.which("openssl") is not None
)


class Namespace:
    """A network namespace, and a mount namespace with it, entered by a thread at a time."""

    def __init__(self) -> None:
        self.net, self._mnt = self._in_thread(self._make)

    @staticmethod
    def _make() -> tuple[int, int]:
        linux.unshare(linux.CLONE_NEWNET | linux.CLONE_NEWNS)
        linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        me = f"/proc/self/task/{threading.get_native_id()}/ns"
        return os.open(f"{me}/net", os.O_RDONLY), os.open(f"{me}/mnt", os.O_RDONLY)

    def run(self, work: Callable[[], T]) -> T:
        """Do `work` inside; sockets and processes that it makes stay there."""

        def inside() -> T:
            linux.unshare(0x200)  # CLONE_FS: a thread changes its root alone
            linux.setns(self._mnt, linux.CLONE_NEWNS)
            linux.setns(self.net, linux.CLONE_NEWNET)
            return work()

        return self._in_thread(inside)

    def ip(self, arguments: str) -> None:
        fds = [int(word.rsplit("/", 1)[1]) for word in arguments.split() if "/fd/" in word]
        self.run(lambda: subprocess.run(["ip", *arguments.split()], check=True, pass_fds=fds))

    def close(self) -> None:
        os.close(self.net)
        os.close(self._mnt)

    @staticmethod
    def _in_thread(work: Callable[[], T]) -> T:
        result: list[T] = []
        failure: list[BaseException] = []

        def body() -> None:
            try:
                result.append(work())
            except BaseException as error:  # noqa: BLE001 - raised again by who waits
                failure.append(error)

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return result[0]


class Internet:
    """
    machine: where to start what is tested.
    authority: what all web servers can be checked with, PEM.
    """

    def __init__(self, folder: Path) -> None:
        self.names = {name: list(answers) for name, answers in NAMES.items()}
        self.machine = Namespace()
        self._outside = Namespace()
        self._servers: list[socketserver.BaseServer] = []
        self._connect()
        self._certificate = _certificate(folder)
        self.authority = Path(f"{self._certificate}.crt").read_text()
        resolv = folder / "resolv.conf"
        resolv.write_text(f"nameserver {RESOLVER}\nsearch inner.example\n")
        target = os.path.realpath("/etc/resolv.conf")
        self.machine.run(lambda: linux.mount(str(resolv), target, None, linux.MS_BIND))
        self._serve(self._outside, self._resolver)
        for address in (SITE, OTHER, INNER, METADATA):
            self._web(self._outside, address)
        self._web(self.machine, MACHINE)
        self._web(self.machine, "127.0.0.1")

    def _connect(self) -> None:
        fd = self._outside.net
        self.machine.ip(f"link add up0 type veth peer name down0 netns /proc/self/fd/{fd}")
        self.machine.ip(f"address add {MACHINE}/24 dev up0")
        for address in (f"{SITE}/24", OTHER, RESOLVER, INNER, METADATA):
            self._outside.ip(f"address add {address} dev down0")
        self._outside.ip("link set down0 up")
        self.machine.ip("link set up0 up")
        self.machine.ip(f"route add default via {SITE}")

    def _web(self, place: Namespace, address: str) -> None:
        def https() -> socketserver.BaseServer:
            server = http.server.ThreadingHTTPServer((address, 443), _Page)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate)
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
            return server

        self._serve(place, lambda: http.server.ThreadingHTTPServer((address, 80), _Page))
        self._serve(place, https)

    def _resolver(self) -> socketserver.BaseServer:
        names = self.names

        class Answer(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                data, server = self.request
                server.sendto(_answer(data, names), self.client_address)

        return socketserver.ThreadingUDPServer((RESOLVER, 53), Answer)

    def _serve(self, place: Namespace, make: Callable[[], socketserver.BaseServer]) -> None:
        server = place.run(make)
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self.machine.close()
        self._outside.close()


class _Page(http.server.BaseHTTPRequestHandler):
    """Says which server it is and what it was asked."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/away":
            self._say(302, b"", location="http://other.example/")
        elif self.path == "/table.csv":
            self._say(200, b"a,b\n1,2\n")
        else:
            address = self.connection.getsockname()[0]
            self._say(200, f"{address} {self.headers['host']} {self.path}".encode())

    def do_POST(self) -> None:
        size = int(self.headers["content-length"])
        self._say(200, f"{len(self.rfile.read(size))} bytes".encode())

    def _say(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def _answer(query: bytes, names: dict[str, list[list[str]]]) -> bytes:
    """Answer a DNS query for one name: A from the table, any other kind with nothing."""
    at, labels = 12, []
    while size := query[at]:
        labels.append(query[at + 1 : at + 1 + size].decode())
        at += 1 + size
    question = query[12 : at + 5]
    is_a = question[-4:-2] == b"\0\1"
    answers = names.get(".".join(labels).lower())
    found: list[str] = []
    if is_a and answers:
        found = answers.pop(0) if len(answers) > 1 else answers[0]
    flags = 0x8180 if answers else 0x8183  # NXDOMAIN
    head = query[:2] + struct.pack(">HHHHH", flags, 1, len(found), 0, 0)
    records = b"".join(
        b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(address) for address in found
    )
    return head + question + records


def _certificate(folder: Path) -> Path:
    """A certificate for every name of the table, its own authority, and its key, in one file."""
    path = folder / "web.pem"
    alternatives = ",".join(f"DNS:{name}" for name in (*NAMES, "*.many.example"))
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=test", "-keyout", path, "-out", f"{path}.crt"),
            *("-addext", f"subjectAltName={alternatives}"),
        ],
        check=True,
        capture_output=True,
    )
    with path.open("ab") as file:
        file.write(Path(f"{path}.crt").read_bytes())
    return path


@contextlib.contextmanager
def internet(folder: Path) -> Iterator[Internet]:
    made = Internet(folder)
    try:
        yield made
    finally:
        made.close()
