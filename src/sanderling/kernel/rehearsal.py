"""
A kernel that has run a few cells for nobody, in the process that is forked to make real ones.

What a kernel does for its first cells it would do in every box again: Python specialises its own
code, the dynamic linker looks up functions, and each page that this writes to is copied. So the
kernel is made before the fork and goes through the very path of a real cell, with stand-ins at the
descriptors that the host gives a box. Then it forgets: no cell was run, no name is left.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys

from sanderling.kernel import main, protocol

_SPARE_FD = 200  # above all that is open while libraries are loaded
_TIMES = 20  # Python specialises code that has run eight times, and some of it later
_CELLS = (
    "import sys, json as words; print(words.__name__, sys.byteorder)",
    # What is loaded is what most first cells import. Looked up by name: to go through all modules
    # would write to the page of each.
    "for name in 'numpy', 'pandas', 'matplotlib.pyplot': name in sys.modules and __import__(name)",
    "value = [1, 2]\nvalue",
    "for number in range(3):\n    print(number, end=' ')\nprint(f'{number}')",
)
_NONCE = "0" * 32
_STREAMS = ("stdout", "stderr", "__stdout__", "__stderr__")


class RehearsalFailed(Exception):
    """A kernel did not answer as it should; none may be forked from this process."""


def hold_descriptors() -> socket.socket:
    """
    Put stand-ins at descriptors 3, 4 and 5, the kernel's; whatever was there is lost.

    Return the other end of the socket. A forked child puts its own in their place and closes all
    others.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    low = [ours.detach(), theirs.detach(), *pipe]
    # The write end stays open, unused: without a writer a pipe is never quiet.
    host, kernel, read_end, _ = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _SPARE_FD) for fd in low]
    for fd in low:
        os.close(fd)
    for fd, place in ((kernel, 3), (read_end, 4), (read_end, 5)):
        os.dup2(fd, place, inheritable=False)
    os.close(kernel)
    os.close(read_end)
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=host)


def rehearsed_kernel(host: socket.socket, *, data_folder: str = main.DATA_FOLDER) -> main.Kernel:
    """
    Return a kernel that is ready to `run` in a forked child. `host` is from `hold_descriptors`.

    Raises:
        RehearsalFailed: it did not answer as it should.
    """
    kernel = main.Kernel(data_folder=data_folder)
    streams = {name: getattr(sys, name) for name in _STREAMS}
    messages = _messages()
    try:
        for _ in range(_TIMES):
            main.reseed()
            kernel.start()
            for message in messages:
                host.send(message)
                kernel.answer()
            _check(host, ["ready", "configured"] + ["done"] * (len(messages) - 1))
            kernel.pretend(messages)
    finally:
        # What this process itself has to say still goes to the host's log.
        for name, stream in streams.items():
            setattr(sys, name, stream)
    return kernel


def settle(kernel: main.Kernel) -> None:
    """
    In a box that nobody wants yet: have the pages copied that a first cell writes to.

    They are some 250; copied in the first cell they cost it half of its time.
    """
    kernel.pretend(_messages()[1:])  # its limits are the host's to say


def _messages() -> list[bytes]:
    limits = {"memory_bytes": None, "cpu_count": None, "proxy": None}
    messages = [protocol.prefix({"op": "configure", **limits})]
    for number, code in enumerate(_CELLS, start=1):
        header = {"op": "execute", "cell": number, "nonce": _NONCE}
        messages.append(protocol.prefix(header) + code.encode())
    return messages


def _check(host: socket.socket, expected: list[str]) -> None:
    """Take all that the kernel has said; beside what it showed it must be `expected`."""
    assembler = protocol.Assembler()
    said: list[str] = []
    while True:
        try:
            frame = assembler.feed(host.recv(protocol.MESSAGE_BYTES_MAX + 1, socket.MSG_DONTWAIT))
        except BlockingIOError:
            break
        if frame is not None and frame.header["op"] not in {"logs", "result"}:
            said.append(frame.header["op"] if frame.header.get("status", "ok") == "ok" else "error")
    if said != expected:
        raise RehearsalFailed(f"The kernel said {said}, not {expected}.")
