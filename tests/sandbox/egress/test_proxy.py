from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest

from sanderling.sandbox.egress import gate, proxy, reach, visit
from sanderling.sandbox.egress.hello import ALERT_ACCESS_DENIED
from tests.sandbox.egress.worlds import OTHER, SITE, Caller, World, answering, asked, world

GET = b"GET http://site.example/a?b HTTP/1.1\r\nHost: site.example\r\n\r\n"


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        made.names["site.example"] = [[SITE]]
        made.servers[SITE, 80] = answering(b"hello")
        yield made


def client_hello(name: str | None) -> bytes:
    """What a TLS client of Python's says first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


# ---- http:// -----------------------------------------------------------------------------------


async def test_an_allowed_domain_is_served(here: World) -> None:
    heard: list[bytes] = []
    here.servers[SITE, 80] = answering(b"hello", heard=heard)

    answer = await asked(here.box(), GET)

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nhello")
    assert heard == [b"GET /a?b HTTP/1.1\r\nhost: site.example\r\nconnection: close\r\n\r\n"]
    assert here.dialled == [(SITE, 80)]


async def test_each_request_is_written_down_without_path_or_query(here: World) -> None:
    await asked(here.box(), GET)
    entry = await here.entry()

    assert (entry.container_id, entry.organization_id) == ("cntr_a", "org_a")
    assert (entry.method, entry.domain, entry.port) == ("GET", "site.example", 80)
    assert (entry.verdict, entry.reason, entry.status) == ("allowed", None, 200)
    assert (entry.address, entry.bytes_up, entry.bytes_down) == (SITE, 0, 5)
    assert entry.duration_ms > 0
    assert "?b" not in str(entry.as_json())


async def test_a_domain_that_is_not_allowed_is_refused_with_words_for_the_model(
    here: World,
) -> None:
    answer = await asked(
        here.box(), b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    )
    entry = await here.entry()

    told = b"evil.example is not allowed here; this container may reach only: site.example, "
    assert answer.startswith(b"HTTP/1.1 403 " + told)
    assert answer.split(b"\r\n\r\n")[1].startswith(told + b"*.many.example.")
    assert (entry.verdict, entry.status, here.dialled) == ("refused", 403, [])


async def test_below_a_wildcard_every_name_is_allowed_but_not_its_own(here: World) -> None:
    here.names["a.b.many.example"] = [[SITE]]
    place = here.box()

    assert b"200 OK" in await asked(place, b"GET http://a.b.Many.Example/ HTTP/1.0\r\n\r\n")
    assert b" 403 " in await asked(place, b"GET http://many.example/ HTTP/1.0\r\n\r\n")


async def test_an_upload_goes_up_whole_whichever_way_it_is_framed(here: World) -> None:
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n"))
        got.append(await reader.readuntil(b"end"))
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    here.servers[SITE, 80] = serve
    head = b"POST http://site.example/ HTTP/1.1\r\nHost: site.example\r\n"
    body = b"x" * 200_000 + b"end"
    place = here.box()

    async with Caller(place) as caller:
        await caller.say(head + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(body))
        assert await caller.head() == b"HTTP/1.1 100 \r\n\r\n"
        await caller.say(body)
        assert (await caller.head()).startswith(b"HTTP/1.1 201 ")
        # The same connection, another framing.
        await caller.say(head + b"Transfer-Encoding: chunked\r\n\r\n3\r\nend\r\n0\r\n\r\n")
        assert (await caller.head()).startswith(b"HTTP/1.1 201 ")

    assert got[1] == body
    assert b"content-length: 200003\r\n" in got[0]
    assert b"transfer-encoding: chunked\r\n" in got[2]


async def test_headers_of_the_hop_and_to_the_proxy_stay_here(here: World) -> None:
    heard: list[bytes] = []
    here.servers[SITE, 80] = answering(b"", heard=heard)
    await asked(
        here.box(),
        GET[:-2] + b"Proxy-Authorization: secret\r\nProxy-Connection: keep-alive\r\n"
        b"Connection: keep-alive, X-Own\r\nX-Own: 1\r\nUpgrade: h2c\r\nTE: trailers\r\n"
        b"X-Kept: 2\r\n\r\n",
    )

    assert heard[0].split(b"\r\n")[1:] == [
        b"host: site.example",
        b"x-kept: 2",
        b"connection: close",
        b"",
        b"",
    ]


async def test_a_connection_that_is_kept_is_held_to_the_rules_anew(here: World) -> None:
    async with Caller(here.box()) as caller:
        await caller.say(GET)
        assert b" 200 " in await caller.head()
        assert await caller.exactly(5) == b"hello"
        await caller.say(GET.replace(b"site.example", b"evil.example"))
        assert b" 403 " in await caller.head()
    await here.entry(1)

    assert [e.verdict for e in here.entries] == ["allowed", "refused"]
    assert here.dialled == [(SITE, 80)]


@pytest.mark.parametrize(
    "request_text",
    [
        # The Host header and the request disagree.
        b"GET http://site.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET http://site.example/ HTTP/1.1\r\nHost: site.example:81\r\n\r\n",
        b"GET http://site.example/ HTTP/1.1\r\nHost: site.example\r\nHost: evil.example\r\n\r\n",
        b"GET http://site.example/ HTTP/1.1\r\n\r\n",
        b"CONNECT site.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n",
        # Two readers could disagree.
        GET[:-2] + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        GET[:-2] + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        GET[:-2] + b"Content-Length: +5\r\n\r\nhello",
        GET[:-2] + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        GET[:-2] + b"Bad Header: 1\r\n\r\n",
        GET[:-2] + b"X: a\0b\r\n\r\n",
        b"GET http://site.example@evil.example/ HTTP/1.0\r\n\r\n",
        b"GET http://site.example\\@evil.example/ HTTP/1.0\r\n\r\n",
        b"GET http://site.example:80:80/ HTTP/1.0\r\n\r\n",
        b"GET http://site.example:/ HTTP/1.0\r\n\r\n",
        b"GET http://site.example:99999/ HTTP/1.0\r\n\r\n",
        b"GET http:///path HTTP/1.0\r\n\r\n",
        b"GET http://site.example/#part HTTP/1.0\r\n\r\n",
        # Not what a proxy serves.
        b"GET / HTTP/1.1\r\nHost: site.example\r\n\r\n",
        b"GET https://site.example/ HTTP/1.1\r\nHost: site.example\r\n\r\n",
        b"GET ftp://site.example/ HTTP/1.0\r\n\r\n",
        b"CONNECT site.example HTTP/1.0\r\n\r\n",
        b"CONNECT site.example:443 HTTP/1.1\r\nHost: site.example:443\r\nContent-Length: 1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(20),
        b"nonsense\r\n\r\n",
    ],
)
async def test_what_can_be_read_in_two_ways_or_is_no_request_is_refused(
    here: World, request_text: bytes
) -> None:
    answer = await asked(here.box(), request_text)
    entry = await here.entry()

    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), answer
    assert (entry.verdict, here.dialled) == ("refused", [])


async def test_two_requests_hidden_in_one_body_reach_the_server_as_a_body(here: World) -> None:
    heard: list[bytes] = []
    here.servers[SITE, 80] = answering(b"hello", heard=heard)
    hidden = b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    head = b"POST http://site.example/ HTTP/1.1\r\nHost: site.example\r\nContent-Length: %d\r\n\r\n"

    answer = await asked(here.box(), head % len(hidden) + hidden)

    assert answer.count(b"HTTP/1.1") == 1
    assert len(here.entries) == 1
    assert here.entries[0].bytes_up == len(hidden)


@pytest.mark.parametrize("port", [22, 25, 81, 443, 8080])
async def test_http_goes_to_port_80_only(here: World, port: int) -> None:
    answer = await asked(here.box(), b"GET http://site.example:%d/ HTTP/1.0\r\n\r\n" % port)

    assert answer.startswith(b"HTTP/1.1 403 Port %d is not allowed here" % port)
    assert here.dialled == []


@pytest.mark.parametrize("port", [22, 25, 80, 444, 8443])
async def test_a_tunnel_goes_to_port_443_only(here: World, port: int) -> None:
    answer = await asked(here.box(), b"CONNECT site.example:%d HTTP/1.0\r\n\r\n" % port)

    assert answer.startswith(b"HTTP/1.1 403 Port %d is not allowed here" % port)
    assert here.dialled == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001",
        "[::1]", "[::ffff:127.0.0.1]", "[::]", "0", "0.0.0.0", "169.254.169.254", "93.184.216.34",
        "[2606:2800:220:1::1]", "localhost", "site", "metadata.google.internal", "x.local",
        "1.0.0.127.in-addr.arpa", "site.example.", "site.example..", ".site.example",
        "site..example",
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["GET http://{}/ HTTP/1.0", "CONNECT {}:443 HTTP/1.0"])
async def test_nothing_but_the_name_of_a_public_domain_is_a_place(
    here: World, host: str, form: str
) -> None:
    answer = await asked(here.box(domains=("*",)), form.format(host).encode() + b"\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 403 "), answer
    assert here.dialled == []


# ---- addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["10.1.2.3"], ["169.254.169.254"], ["::1"], ["64:ff9b::a00:1"], ["fe80::1%lo"],
     [SITE, "192.168.0.1"], ["fd00::1", SITE]],
)  # fmt: skip
async def test_a_name_that_leads_inside_is_refused_even_if_only_one_answer_does(
    here: World, addresses: list[str]
) -> None:
    here.names["site.example"] = [addresses]

    answer = await asked(here.box(), GET)

    assert answer.startswith(b"HTTP/1.1 403 site.example is not allowed: it leads to "), answer
    assert here.dialled == []


async def test_a_name_that_changes_its_mind_is_asked_once_per_request(here: World) -> None:
    here.names["site.example"] = [[SITE], ["127.0.0.1"]]
    async with Caller(here.box()) as caller:
        await caller.say(GET)
        assert b" 200 " in await caller.head()
        await caller.exactly(5)
        await caller.say(GET)
        assert b" 403 " in await caller.head()

    assert here.dialled == [(SITE, 80)]


async def test_the_next_address_is_tried_where_one_does_not_answer(here: World) -> None:
    here.names["site.example"] = [[OTHER, SITE]]

    assert b" 200 " in await asked(here.box(), GET)
    assert here.dialled == [(OTHER, 80), (SITE, 80)]
    assert here.entries[0].address == SITE


async def test_a_name_that_is_not_known_and_a_server_that_is_not_there_are_failures(
    here: World,
) -> None:
    del here.names["site.example"]
    assert b"502 site.example was not found" in await asked(here.box(), GET)
    here.names["site.example"] = [[OTHER]]
    assert b"502 site.example cannot be reached" in await asked(here.box("cntr_b"), GET)

    assert [e.verdict for e in here.entries] == ["failed", "failed"]


async def test_a_resolver_that_is_silent_is_waited_for_only_so_long(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "RESOLVE_S_MAX", 0.05)
    here.names["site.example"] = [[]]

    assert b"504 site.example was not found in time" in await asked(here.box(), GET)


# ---- https:// ----------------------------------------------------------------------------------

CONNECT = b"CONNECT site.example:443 HTTP/1.1\r\nHost: site.example:443\r\n\r\n"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write(b"<end>")
    await writer.drain()


async def test_a_tunnel_carries_both_ways_and_each_direction_ends_by_itself(here: World) -> None:
    here.servers[SITE, 443] = echo
    first = client_hello("site.example")
    async with Caller(here.box()) as caller:
        await caller.say(CONNECT)
        assert (await caller.head()).startswith(b"HTTP/1.1 200 ")
        await caller.say(first)
        assert await caller.exactly(len(first)) == first
        await caller.say(b"z" * 300_000)
        assert await caller.exactly(300_000) == b"z" * 300_000
        caller.writer.write_eof()
        assert await caller.rest() == b"<end>"
    entry = await here.entry()

    assert (entry.method, entry.domain, entry.port) == ("CONNECT", "site.example", 443)
    assert (entry.bytes_up, entry.bytes_down) == (len(first) + 300_000, len(first) + 300_005)
    assert (entry.verdict, entry.address) == ("allowed", SITE)


async def test_a_hello_that_comes_in_pieces_with_the_request_or_in_capitals_is_heard(
    here: World,
) -> None:
    here.servers[SITE, 443] = echo
    first = client_hello("Site.Example")
    async with Caller(here.box()) as caller:
        await caller.say(CONNECT + first[:7])
        await caller.head()
        for at in range(7, len(first), 100):
            await caller.say(first[at : at + 100])
        assert await caller.exactly(len(first)) == first


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(lambda: client_hello("evil.example"), id="another name"),
        pytest.param(lambda: client_hello(None), id="no name"),
        pytest.param(lambda: b"SSH-2.0-OpenSSH_9.2\r\n", id="ssh"),
        pytest.param(lambda: b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", id="http"),
        pytest.param(lambda: b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", id="not a hello"),
        pytest.param(
            lambda: (b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(16380)) * 3, id="huge"
        ),
        pytest.param(lambda: b"", id="nothing"),
    ],
)
async def test_a_tunnel_is_for_tls_with_its_own_domain_only(here: World, first: object) -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read())

    here.servers[SITE, 443] = serve
    async with Caller(here.box()) as caller:
        await caller.say(CONNECT)
        await caller.head()
        await caller.say(first())  # type: ignore[operator]
        caller.writer.write_eof()
        assert await caller.rest() in (ALERT_ACCESS_DENIED, b"")
    entry = await here.entry()

    assert entry.verdict == "refused"
    assert entry.reason
    assert seen == [b""]


# ---- time and quantity -------------------------------------------------------------------------


async def test_a_request_that_never_ends_is_answered_408(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visit, "HEAD_S_MAX", 0.1)
    async with Caller(here.box()) as caller:
        await caller.say(b"GET http://site.example/ HTTP/1.1\r\nX-Slow: ")
        assert b" 408 " in await caller.head()


async def test_a_head_without_end_is_answered_431_and_not_kept(here: World) -> None:
    async with Caller(here.box()) as caller:
        await caller.say(GET[:-2] + b"X: " + b"y" * (visit.HEAD_BYTES_MAX + 1000))
        assert b" 431 " in await caller.head()


async def test_a_silent_connection_a_silent_server_and_a_silent_tunnel_are_ended(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    here.servers[SITE, 80] = here.servers[SITE, 443] = silence
    place = here.box()
    with monkeypatch.context() as patch:
        patch.setattr(visit, "KEEP_S_MAX", 0.1)
        async with Caller(place) as caller:
            assert await caller.rest() == b""
    with monkeypatch.context() as patch:
        patch.setattr(visit, "IDLE_S_MAX", 0.1)
        async with Caller(place) as caller:
            await caller.say(GET)
            assert await caller.rest() == b""
    async with Caller(place) as caller:
        await caller.say(CONNECT)
        await caller.head()
        monkeypatch.setattr(visit, "IDLE_S_MAX", 0.1)  # from the next byte on
        await caller.say(client_hello("site.example"))
        assert await caller.rest() == b""

    assert [e.reason for e in here.entries] == ["timed out", "timed out"]


async def test_a_body_that_the_server_does_not_want_ends_with_its_answer(here: World) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()

    here.servers[SITE, 80] = refuse
    async with Caller(here.box()) as caller:
        await caller.say(
            b"POST http://site.example/ HTTP/1.1\r\nHost: site.example\r\n"
            b"Content-Length: 1000000\r\n\r\n" + b"x" * 1000
        )
        assert b" 413 " in await caller.head()
        assert await caller.exactly(2) == b"no"


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        b"",
    ],
)
async def test_a_server_that_does_not_speak_http_is_a_bad_gateway(
    here: World, answer: bytes
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    here.servers[SITE, 80] = serve

    assert (await asked(here.box(), GET)).startswith(b"HTTP/1.1 502 ")


async def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(here: World) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await writer.drain()

    here.servers[SITE, 80] = serve
    answer = await asked(here.box(), GET)

    assert b"hello" in answer
    assert not answer.endswith(b"0\r\n\r\n")


async def test_a_flood_of_connections_waits_its_turn_and_all_are_served(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "CONNECTIONS_MAX", 4)
    at_once = most = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        at_once -= 1

    here.servers[SITE, 80] = serve
    place = here.box()
    answers = await asyncio.gather(*[asked(place, GET) for _ in range(60)])

    assert all(b" 200 " in answer for answer in answers)
    assert most <= 4


async def test_a_container_asks_only_so_often_and_another_does_not_notice(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "REQUESTS_BURST", 1)
    monkeypatch.setattr(gate, "REQUESTS_PER_S", 1e-6)
    greedy = here.box("cntr_a")
    async with Caller(greedy) as caller:
        await caller.say(GET)
        assert b" 200 " in await caller.head()
        await caller.exactly(5)
        await caller.say(GET)  # never served
        other = await asked(here.box("cntr_b"), GET)

    assert b" 200 " in other
    assert [e.container_id for e in here.entries] == ["cntr_a", "cntr_b"]


async def test_two_boxes_do_not_get_each_others_domains(here: World) -> None:
    here.names["other.example"] = [[SITE]]
    first, second = here.box("cntr_a", ("site.example",)), here.box("cntr_b", ("other.example",))
    other = GET.replace(b"site.example", b"other.example")

    assert [
        b" 200 " in await asked(place, request)
        for place in (first, second)
        for request in (GET, other)
    ] == [True, False, False, True]


async def test_a_container_that_is_shut_loses_its_connections_and_its_listener(
    here: World,
) -> None:
    here.servers[SITE, 443] = echo
    place = here.box()
    first = client_hello("site.example")
    async with Caller(place) as caller:
        await caller.say(CONNECT + first)
        await caller.head()
        await caller.exactly(len(first))
        await here.proxy.shut("cntr_a")
        assert await caller.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*place)

    assert (await here.entry()).reason == "ended by the host"
