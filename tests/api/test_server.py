"""What holds for every route: faults of ours, and what of them reaches the client and the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from sanderling.api import middleware
from sanderling.models.scripted import ScriptedModel
from sanderling.store.keys import new_key
from tests.api.making import Api, memory_api


class BrokenModel(ScriptedModel):
    """A model with a bug of ours in it."""

    async def names(self) -> list[str]:
        raise RuntimeError("secret detail")


async def test_fault_of_ours_is_500_tells_nothing_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    async with memory_api(tmp_path, model=BrokenModel([])) as api:
        with caplog.at_level(logging.ERROR):
            status, error = await api.error("GET", "/v1/models")

    assert (status, error["type"], error["code"]) == (500, "server_error", "server_error")
    assert "secret" not in error["message"]
    assert "req_" in error["message"]
    (record,) = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert record.getMessage() == "request.failed"
    assert record.exc_info is not None


async def test_server_goes_on_after_a_fault(tmp_path: Path):
    async with memory_api(tmp_path, model=BrokenModel([])) as api:
        await api.error("GET", "/v1/models")

        assert (await api.http.get("/v1/files")).status_code == 200


async def test_request_id_is_fresh_each_time(api: Api):
    ids = {(await api.http.get("/v1/files")).headers["x-request-id"] for _ in range(3)}

    assert len(ids) == 3


async def test_wrong_method_says_which_are_right(api: Api):
    reply = await api.http.request("PATCH", "/v1/files")

    assert reply.status_code == 405
    assert reply.headers["allow"]


async def test_requests_beyond_what_the_server_takes_are_told_when_to_come_back(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(middleware, "REQUESTS_MAX", 0)
    status, error = await api.error("GET", "/v1/files")
    reply = await api.http.get("/v1/files")
    monkeypatch.undo()

    assert (status, error["code"]) == (429, "rate_limit_exceeded")
    assert int(reply.headers["retry-after"]) >= 1
    assert (await api.http.get("/v1/files")).status_code == 200


async def test_an_organization_with_many_requests_leaves_places_for_others(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    keys = {}
    for name in ("many", "other"):
        plain, record = new_key(name, f"org_{name}", now=0.0)
        await api.services.store.keys.insert(record)
        keys[name] = {"authorization": f"Bearer {plain}"}
    monkeypatch.setattr(middleware, "REQUESTS_MAX", 6)
    gate = Gate()

    def ask(name: str) -> asyncio.Task[httpx.Response]:
        return asyncio.create_task(
            api.http.post("/v1/containers", headers=keys[name], content=gate.body())
        )

    at_work = [ask("many") for _ in range(3)]
    await gate.asked(3)
    refused = await api.http.get("/v1/files", headers=keys["many"])
    other = ask("other")
    await gate.asked(4)
    gate.open()
    answers = await asyncio.gather(*at_work, other)

    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert "this organization" in refused.json()["error"]["message"]
    assert int(refused.headers["retry-after"]) >= 1
    assert [reply.status_code for reply in answers] == [200] * 4
    assert (await api.http.get("/v1/files", headers=keys["many"])).status_code == 200


class Gate:
    """Holds requests back in the middle of their bodies."""

    def __init__(self) -> None:
        self._asked = asyncio.Semaphore(0)
        self._count = 0
        self._is_open = asyncio.Event()

    async def body(self) -> AsyncIterator[bytes]:
        yield b'{"name": '
        self._asked.release()
        await self._is_open.wait()
        yield b'"x"}'

    async def asked(self, count: int) -> None:
        """Wait until so many requests were held back."""
        async with asyncio.timeout(10):
            while self._count < count:
                await self._asked.acquire()
                self._count += 1

    def open(self) -> None:
        self._is_open.set()
