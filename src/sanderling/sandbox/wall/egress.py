"""
The one way out of a box, where the operator has opened one: a port of its own loopback.

A box has no interface but `lo` and no route, and keeps it so. Before it is sealed it makes a
listening socket on its loopback and gives it to the host: a socket stays in the namespace it was
made in, so whoever holds this one hears what the box's code says to that port, and never has to
enter the box. A host that wants none of it closes the socket, and the port refuses.
"""

from __future__ import annotations

import socket

HOST, PORT = "127.0.0.1", 3128  # the port by which people know a proxy, since squid
URL = f"http://{HOST}:{PORT}"
# Connections that nobody has accepted yet wait in the kernel: this many, then SYNs are dropped.
_BACKLOG = 64
# What the kernel may hold for one connection in each direction; those accepted inherit it.
_BUFFER_BYTES = 256 << 10


def listen() -> int:
    """
    Return a socket that listens on the loopback of this network namespace, which must be up.

    Raises:
        OSError: it cannot be made; the box must not be used.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        listener.setsockopt(socket.SOL_SOCKET, buffer, _BUFFER_BYTES)
    listener.bind((HOST, PORT))
    listener.listen(_BACKLOG)
    return listener.detach()
