from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sanderling.errors import MachineUnfit, SpawnFailed
from sanderling.sandbox.egress import host
from sanderling.sandbox.egress.host import Egress
from tests.sandbox.egress.worlds import Caller, asked

pytestmark = pytest.mark.sandbox  # the proxy takes from itself what only Linux has to take

GET = b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n"
DEADLINE_S = 30.0


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    return tmp_path / "egress.log"


@pytest.fixture
async def egress(audit: Path) -> AsyncIterator[Egress]:
    made = Egress(("*.example",), audit)
    await made.open()
    yield made
    await made.close()


def grant(egress: Egress, container_id: str = "cntr_a", *domains: str) -> tuple[str, int]:
    listener = socket.create_server(("127.0.0.1", 0))
    place: tuple[str, int] = listener.getsockname()
    named = domains or ("site.example",)
    egress.grant(container_id, listener.detach(), named, organization_id="org_a")
    return place


async def lines(audit: Path, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            found = audit.read_text().splitlines() if audit.exists() else []
            if len(found) >= count:
                return [json.loads(line) for line in found]
            await asyncio.sleep(0.01)


def of_process(pid: int | None) -> dict[str, str]:
    status = Path(f"/proc/{pid}/status").read_text()
    pairs = (line.partition(":") for line in status.splitlines())
    return {name: value.strip() for name, _, value in pairs}


async def test_what_code_asked_for_is_written_down_by_the_host(egress: Egress, audit: Path) -> None:
    assert b" 403 evil.example is not allowed here" in await asked(grant(egress), GET)

    [line] = await lines(audit, 1)
    assert (line["container_id"], line["organization_id"]) == ("cntr_a", "org_a")
    assert (line["domain"], line["verdict"], line["status"]) == ("evil.example", "refused", 403)


async def test_the_proxy_has_no_right_that_it_does_not_need(egress: Egress) -> None:
    status = of_process(egress.pid)

    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    if os.geteuid() == 0:
        assert "0" not in status["Uid"].split()
        assert status["Groups"] == ""


async def test_a_proxy_that_dies_is_replaced_and_containers_keep_what_they_were_granted(
    egress: Egress, audit: Path
) -> None:
    place = grant(egress)
    await asked(place, GET)
    await lines(audit, 1)
    first = egress.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    answer = await asked(place, GET)  # waits in the backlog until there is another

    assert b" 403 evil.example is not allowed here; this container may reach only: site" in answer
    assert egress.pid not in (None, first)
    assert len(await lines(audit, 2)) == 2


async def test_a_proxy_that_worked_before_it_died_is_replaced_at_once(
    egress: Egress, audit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_BACKOFF_S", (0.0, 10 * DEADLINE_S))
    monkeypatch.setattr(host, "_SETTLED_S", 0.0)
    place = grant(egress)
    for count in (1, 2, 3):
        async with asyncio.timeout(DEADLINE_S):
            await asked(place, GET)
        await lines(audit, count)
        assert egress.pid is not None
        os.kill(egress.pid, signal.SIGKILL)


async def test_a_host_that_ends_as_its_proxy_dies_ends(
    audit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(_: Egress) -> None:
        is_working.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:  # what `gather` makes of both in one moment
            raise ConnectionError from None

    is_working = asyncio.Event()
    monkeypatch.setattr(Egress, "_work", work)
    egress = Egress(("*.example",), audit)
    await egress.open()
    await is_working.wait()
    closing = asyncio.create_task(egress.close())
    done, _ = await asyncio.wait({closing}, timeout=DEADLINE_S)

    assert done == {closing}
    assert egress.pid is None


async def test_what_is_taken_back_is_refused_at_once(egress: Egress) -> None:
    place = grant(egress)
    await asked(place, GET)
    egress.shut("cntr_a")
    egress.shut("cntr_a")

    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                async with Caller(place):
                    await asyncio.sleep(0.01)
            except ConnectionRefusedError:
                break


async def test_a_container_that_is_granted_again_has_only_the_new_domains(egress: Egress) -> None:
    grant(egress, "cntr_a", "old.example")
    answer = await asked(grant(egress, "cntr_a", "new.example"), GET)

    assert b"may reach only: new.example." in answer


async def test_of_what_is_wanted_only_what_the_operator_still_allows_is_granted(
    audit: Path,
) -> None:
    egress = Egress(("a.example", "*.b.example"), audit)

    assert egress.granted(("a.example", "x.b.example", "*.b.example", "b.example", "*")) == (
        "a.example",
        "x.b.example",
        "*.b.example",
    )


async def test_a_box_without_a_listener_is_not_let_out(egress: Egress) -> None:
    with pytest.raises(SpawnFailed, match="not possible"):
        egress.grant("cntr_a", None, ("site.example",))


async def test_a_log_that_cannot_be_written_lets_nothing_through(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    egress = Egress(("*",), folder / "egress.log")
    await egress.open()
    try:
        async with Caller(grant(egress)) as caller:
            await caller.say(GET)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await caller.reader.readexactly(1)
            folder.mkdir()
            assert b" 403 " in await caller.rest()
    finally:
        await egress.close()


@pytest.mark.parametrize("program", ["import sys; sys.exit(3)", "print('ready')"])
async def test_a_proxy_that_does_not_start_is_a_machine_that_is_unfit(
    audit: Path, program: str
) -> None:
    import sys

    egress = Egress(("*",), audit, command=(sys.executable, "-c", program))

    with pytest.raises(MachineUnfit):
        await egress.open()
    await egress.close()


async def test_a_proxy_that_cannot_even_be_begun_is_one_too(audit: Path, tmp_path: Path) -> None:
    egress = Egress(("*",), audit, command=(str(tmp_path / "nothing"),))

    with pytest.raises(MachineUnfit):
        await egress.open()
    await egress.close()
