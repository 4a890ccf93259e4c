"""
The network of a box: its own loopback and nothing else, with small buffers.

What a TCP socket buffers is memory of the machine, up to 40 MB for one connection to oneself where
the machine says so, and a control group does not always count it. A box's connections stay within
the box (or end at the host's proxy), so that small buffers cost them nothing.
"""

from __future__ import annotations

import fcntl
import socket
import struct

_SIOCSIFFLAGS, _IFF_UP_RUNNING = 0x8914, 0x41
# Least, first and most bytes of one socket's buffer.
_BUFFERS = {
    "/proc/sys/net/ipv4/tcp_rmem": "4096 65536 131072",
    "/proc/sys/net/ipv4/tcp_wmem": "4096 16384 131072",
}


def bring_up() -> None:
    """Make the network namespace just entered usable. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", _IFF_UP_RUNNING)
        fcntl.ioctl(any_socket.fileno(), _SIOCSIFFLAGS, request)
    for path, sizes in _BUFFERS.items():
        with open(path, "w") as file:
            file.write(sizes)
