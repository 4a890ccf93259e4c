"""The network: there is none."""

from __future__ import annotations

from .probe import Probe

NETWORK = [
    Probe(
        "raw and packet sockets cannot be made",
        "report(attempt(socket.socket, 2, 3, 1), attempt(socket.socket, 17, 3, 3))",
        r"((EAFNOSUPPORT|EPERM) ?){2}",
    ),
    Probe(
        "exotic socket families cannot be made",
        "report(*[attempt(socket.socket, f, k, 0)"
        " for f, k in ((16, 3), (40, 1), (38, 5), (31, 3), (30, 1), (29, 3), (44, 3))])",
        r"(EAFNOSUPPORT ?){7}",
    ),
    Probe(
        "no address can be reached",
        "def connect(family, address):\n"
        "    s = socket.socket(family); s.settimeout(3); s.connect(address)\n"
        "report(*[attempt(connect, f, a) for f, a in ((2, ('169.254.169.254', 80)),"
        " (2, ('192.0.2.1', 53)), (2, ('127.0.0.1', 22)), (10, ('::1', 22)), (10, ('2001:db8::1', 53)))])",
        r"((ENETUNREACH|ECONNREFUSED|EADDRNOTAVAIL|EACCES) ?){5}",
        elsewhere={"gvisor": r"((EHOSTUNREACH|ECONNREFUSED) ?){5}"},
    ),
    Probe(
        "no datagram leaves and no name resolves",
        "report(attempt(socket.socket(2, 2).sendto, b'x', ('192.0.2.1', 53)),"
        " attempt(socket.getaddrinfo, 'example.com', 80))",
        r"ENETUNREACH \S+",
        elsewhere={"gvisor": r"EHOSTUNREACH \S+"},
    ),
    Probe(
        "only loopback exists",
        "report([l.split(':')[0].strip() for l in open('/proc/net/dev').readlines()[2:]])",
        r"\['lo'\]",
    ),
]
