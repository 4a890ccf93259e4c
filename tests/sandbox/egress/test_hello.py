from __future__ import annotations

import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sanderling.sandbox.egress.hello import HELLO_BYTES_MAX, HelloReader, HelloRefused


def hello(name: str | None = "site.example") -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def vector(length_bytes: int, data: bytes) -> bytes:
    return len(data).to_bytes(length_bytes) + data


def extension(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(2) + vector(2, body)


def names(*entries: tuple[int, bytes]) -> bytes:
    return extension(0, vector(2, b"".join(bytes([kind]) + vector(2, n) for kind, n in entries)))


def made(*extensions: bytes, after: bytes = b"") -> bytes:
    body = b"\x03\x03" + bytes(32) + vector(1, b"") + vector(2, b"\x13\x01") + vector(1, b"\0")
    body += vector(2, b"".join(extensions)) + after
    return b"\x16\x03\x01" + vector(2, b"\x01" + vector(3, body))


SNI = names((0, b"site.example"))
HELLO = hello()


def test_the_server_that_pythons_own_client_asks_for_is_found() -> None:
    assert HelloReader().feed(hello()) == "site.example"


@settings(deadline=None)
@given(st.lists(st.integers(1, 600), max_size=8))
def test_however_it_is_cut_into_packets_it_is_found_with_its_last_byte(cuts: list[int]) -> None:
    reader, rest = HelloReader(), HELLO
    for size in cuts:
        if size >= len(rest):
            break
        assert reader.feed(rest[:size]) is None
        rest = rest[size:]

    assert reader.feed(rest) == "site.example"


@settings(deadline=None)
@given(st.integers(1, 200))
def test_however_it_is_cut_into_records_it_is_found(size: int) -> None:
    message = made(SNI)[5:]
    records = b"".join(
        b"\x16\x03\x01" + vector(2, message[at : at + size]) for at in range(0, len(message), size)
    )

    assert HelloReader().feed(records) == "site.example"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(hello(None), id="no name"),
        pytest.param(made(), id="no extension"),
        pytest.param(made(names()), id="an empty list"),
        pytest.param(made(names((0, b"a.b"), (0, b"c.d"))), id="two names"),
        pytest.param(made(names((1, b"a.b"))), id="no host"),
        pytest.param(made(SNI, SNI), id="the extension twice"),
        pytest.param(made(SNI, extension(43, b""), extension(43, b"")), id="another twice"),
        pytest.param(made(SNI, extension(0xFE0D, b"x")), id="encrypted"),
        pytest.param(made(SNI, extension(0xFFCE, b"x")), id="encrypted, early draft"),
        pytest.param(made(SNI, after=b"x"), id="something behind"),
        pytest.param(made(extension(0, b"\0\x05\0\0\x09ab")), id="a length too long"),
        pytest.param(made(extension(0, vector(2, b"\0" + vector(2, b"a.b")) + b"x")), id="rest"),
        pytest.param(made(b"\0"), id="half an extension"),
        pytest.param(b"GET / HTTP/1.1\r\n", id="http"),
        pytest.param(b"\x80\x2e\x01\x03\x01", id="ssl 2"),
        pytest.param(b"\x15\x03\x01\x00\x02\x01\x00", id="an alert"),
        pytest.param(b"\x16\x03\x01\x00\x00", id="an empty record"),
        pytest.param(b"\x16\x03\x01\x40\x01", id="a record too long"),
        pytest.param(b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", id="another message"),
        pytest.param(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", id="an empty message"),
    ],
)
def test_what_does_not_name_one_server_openly_is_refused(data: bytes) -> None:
    with pytest.raises(HelloRefused):
        HelloReader().feed(data)


def test_a_message_without_end_is_refused_and_not_kept() -> None:
    reader = HelloReader()
    start = b"\x16\x03\x01" + vector(2, b"\x01\xff\xff\xff" + bytes(12_000))
    assert reader.feed(start) is None
    assert reader.feed(start) is None
    with pytest.raises(HelloRefused, match="too long"):
        reader.feed(bytes(HELLO_BYTES_MAX))


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_refused_or_waited_on(noise: bytes) -> None:
    for data in (noise, b"\x16\x03\x01" + noise, made(SNI)[:60] + noise):
        try:
            HelloReader().feed(data)
        except HelloRefused:
            continue
