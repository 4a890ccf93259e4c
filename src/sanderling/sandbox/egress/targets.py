"""
Where a request to the proxy wants to go, read so that it cannot be read in two ways.

Two forms are served: `CONNECT domain:443`, a tunnel for TLS, and `GET http://domain/path`. The Host
header, if there is one, must say the same as the request target.

Source: RFC 9112, 3.2; RFC 9110, 9.3.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sanderling.sandbox.egress import domains

HTTP_PORT, HTTPS_PORT = 80, 443

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@\\%]+)(?::(\d{1,5}))?")
_ABSOLUTE = re.compile(r"(?i:http)://([^/?#]*)(/[^#]*|\?[^#]*)?")


class Refused(Exception):
    """
    A request that is not served.

    status: of the answer. text: of the answer, a sentence or two, ASCII.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class Target:
    """domain: in the form it is compared in. path: with its query, empty for a tunnel."""

    domain: str
    port: int
    path: bytes = b""


def target_of(method: bytes, target: bytes, hosts: Iterable[bytes]) -> Target:
    """
    Return where a request wants to go.

    hosts: every Host header it has.

    Raises:
        Refused: to nowhere, to no domain, to another port, or to two places at once.
    """
    text = target.decode("ascii", "replace")
    found = _tunnel(text) if method == b"CONNECT" else _plain(text)
    expected = HTTPS_PORT if method == b"CONNECT" else HTTP_PORT
    if found.port != expected:
        raise Refused(
            403,
            f"Port {found.port} is not allowed here: http:// goes to port {HTTP_PORT} and "
            f"https:// to port {HTTPS_PORT}.",
        )
    for host in hosts:
        named = _authority(host.decode("ascii", "replace"), default_port=expected)
        if named != (found.domain, found.port):
            raise Refused(400, "The Host header names another server than the request.")
    return found


def _tunnel(text: str) -> Target:
    return Target(*_authority(text, default_port=None))


def _plain(text: str) -> Target:
    match = _ABSOLUTE.fullmatch(text)
    if match is None:
        raise Refused(
            400, "This is a proxy: it serves CONNECT domain:443 and full http:// addresses."
        )
    path = match[2] or "/"
    domain, port = _authority(match[1], default_port=HTTP_PORT)
    return Target(domain, port, (path if path.startswith("/") else f"/{path}").encode())


def _authority(text: str, *, default_port: int | None) -> tuple[str, int]:
    match = _AUTHORITY.fullmatch(text)
    port = default_port if match is None or match[2] is None else int(match[2])
    if match is None or port is None or port > 65535:
        raise Refused(400, "The address of the request is not well formed.")
    try:
        return domains.name(match[1]), port
    except domains.NotADomain as error:
        raise Refused(403, str(error)) from error
