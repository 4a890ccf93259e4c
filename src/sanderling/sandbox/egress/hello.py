"""
The first message of a TLS client, as far as it says whom it wants to talk to.

Whoever opens a tunnel to a domain must ask for that domain in it, or a server that hosts many could
be asked for another. Read strictly: whatever two readers could take differently is refused, and so
is a name that is missing, doubled, or hidden (Encrypted ClientHello). Nothing is decrypted.

Source: RFC 8446, 4.1.2 and 5.1; RFC 6066, 3.
"""

from __future__ import annotations

HELLO_BYTES_MAX = 32 << 10  # with post-quantum keys and a resumption ticket it has some 4 KiB
ALERT_ACCESS_DENIED = bytes.fromhex("15 0303 0002 02 31")  # a fatal one: the client says so

_RECORD_START = b"\x16\x03"  # a handshake, TLS of any version
_RECORD_BYTES_MAX = 1 << 14
_CLIENT_HELLO = b"\x01"
_SERVER_NAME, _HOST_NAME = 0, 0
_ENCRYPTED_HELLOS = frozenset({0xFE0D, 0xFFCE})


class HelloRefused(Exception):
    """Its text is a sentence that says why."""


class HelloReader:
    """Reads the ClientHello as its bytes come in; each byte is looked at once."""

    def __init__(self) -> None:
        self._count = 0
        self._records = bytearray()  # not looked at yet
        self._message = bytearray()  # what whole records hold

    def feed(self, data: bytes) -> str | None:
        """
        Return the server that the client asks for; None: more must come first.

        Raises:
            HelloRefused: it is not TLS, names no server, or hides which.
        """
        self._count += len(data)
        if self._count > HELLO_BYTES_MAX:
            raise HelloRefused("The ClientHello is too long.")
        self._records += data
        while self._records:
            if not _RECORD_START.startswith(self._records[:2]):
                raise HelloRefused("What was sent is not TLS.")
            if len(self._records) < 5:
                return None
            size = int.from_bytes(self._records[3:5])
            if not 0 < size <= _RECORD_BYTES_MAX:
                raise HelloRefused("A TLS record has no possible length.")
            if len(self._records) < 5 + size:
                return None
            self._message += self._records[5 : 5 + size]
            del self._records[: 5 + size]
            if self._message[:1] != _CLIENT_HELLO:
                raise HelloRefused("TLS does not begin with a ClientHello.")
            end = 4 + int.from_bytes(self._message[1:4])
            if len(self._message) >= max(4, end):
                return _name_in(_Reader(bytes(self._message[4:end])))
        return None


def _name_in(hello: _Reader) -> str:
    hello.take(2 + 32)  # version, random
    for length_bytes in (1, 2, 1):  # session id, cipher suites, compression
        hello.vector(length_bytes)
    extensions = hello.vector(2)
    hello.must_be_empty()
    names: list[bytes] = []
    kinds: set[int] = set()
    while not extensions.is_empty:
        kind = extensions.number(2)
        body = extensions.vector(2)
        if kind in kinds:
            raise HelloRefused("The ClientHello has an extension twice.")
        kinds.add(kind)
        if kind == _SERVER_NAME:
            names = _host_names(body)
    if kinds & _ENCRYPTED_HELLOS:
        raise HelloRefused("An Encrypted ClientHello hides the server it asks for.")
    if len(names) != 1:
        raise HelloRefused("The ClientHello does not name one server (SNI).")
    return names[0].decode("ascii", "backslashreplace")


def _host_names(body: _Reader) -> list[bytes]:
    listed = body.vector(2)
    body.must_be_empty()
    names = []
    while not listed.is_empty:
        if listed.number(1) != _HOST_NAME:
            raise HelloRefused("The ClientHello names its server by something that is no host.")
        names.append(listed.vector(2).rest)
    return names


class _Reader:
    """Takes a message apart from its front. Raises HelloRefused where it ends too early."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    @property
    def is_empty(self) -> bool:
        return not self.rest

    def take(self, count: int) -> bytes:
        if len(self.rest) < count:
            raise HelloRefused("The ClientHello is not well formed.")
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def number(self, length_bytes: int) -> int:
        return int.from_bytes(self.take(length_bytes))

    def vector(self, length_bytes: int) -> _Reader:
        return _Reader(self.take(self.number(length_bytes)))

    def must_be_empty(self) -> None:
        if self.rest:
            raise HelloRefused("The ClientHello is not well formed.")
