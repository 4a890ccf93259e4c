"""Requests per minute of an organization: refused with what to do, told by headers, forgotten."""

from __future__ import annotations

from pathlib import Path

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from sanderling.api.rate_limits import RateLimits, duration
from sanderling.api.server import create_app
from sanderling.settings import Settings
from sanderling.store.keys import new_key
from tests.api.making import memory_api
from tests.doubles.fake_clock import FakeClock


async def test_requests_beyond_the_rate_are_429_until_there_is_room_again(tmp_path: Path):
    clock = FakeClock()
    settings = Settings(requests_per_minute=3)
    async with memory_api(tmp_path, settings=settings, clock=clock) as api:
        replies = [await api.http.get("/v1/files") for _ in range(3)]
        refused = await api.http.get("/v1/files")
        clock.advance(seconds=19.5)
        too_early = await api.http.get("/v1/files")
        clock.advance(seconds=0.5)
        again = await api.http.get("/v1/files")
        health = await api.http.get("/health")

    def told(reply: httpx.Response) -> tuple[str, ...]:
        names = ("limit", "remaining", "reset")
        return tuple(reply.headers[f"x-ratelimit-{name}-requests"] for name in names)

    assert [told(reply) for reply in replies] == [
        ("3", "2", "20s"),
        ("3", "1", "40s"),
        ("3", "0", "1m0s"),
    ]
    assert refused.status_code == 429
    assert told(refused) == ("3", "0", "1m0s")
    assert (refused.headers["retry-after"], refused.headers["retry-after-ms"]) == ("20", "20000")
    assert refused.headers["x-request-id"].startswith("req_")
    assert refused.headers["openai-organization"] == "org_default"
    assert refused.json() == {
        "error": {
            "message": (
                "Rate limit reached for requests in organization org_default on requests per min "
                "(RPM): Limit 3, Used 3, Requested 1. Please try again in 20s."
            ),
            "type": "requests",
            "param": None,
            "code": "rate_limit_exceeded",
        }
    }
    assert (too_early.status_code, too_early.headers["retry-after-ms"]) == (429, "500")
    assert (again.status_code, told(again)) == (200, ("3", "0", "1m0s"))
    assert "x-ratelimit-limit-requests" not in health.headers


async def test_each_organization_has_a_rate_of_its_own_and_the_sdk_sees_it(tmp_path: Path):
    settings = Settings(requests_per_minute=1)
    async with memory_api(tmp_path, settings=settings, clock=FakeClock()) as api:
        keys = []
        for name in ("one", "zwei\r\nß"):
            plain, record = new_key(name, f"org_{name}", now=0.0)
            await api.services.store.keys.insert(record)
            keys.append(plain)
        transport = httpx.ASGITransport(create_app(api.services))
        for key, organization in zip(keys, ("org_one", "org_zwei%0D%0A%C3%9F"), strict=True):
            async with (
                httpx.AsyncClient(transport=transport, base_url="http://test/v1") as http,
                AsyncOpenAI(
                    base_url="http://test/v1", api_key=key, max_retries=0, http_client=http
                ) as client,
            ):
                reply = await client.files.with_raw_response.list()
                assert reply.headers["openai-organization"] == organization
                with pytest.raises(openai.RateLimitError) as caught:
                    await client.files.list()
            assert caught.value.code == "rate_limit_exceeded"
            assert caught.value.request_id is not None


async def test_without_a_limit_there_are_no_limits_and_no_such_headers(tmp_path: Path):
    async with memory_api(tmp_path) as api:
        replies = [await api.http.get("/v1/files") for _ in range(150)]

    assert {reply.status_code for reply in replies} == {200}
    assert not any(name.startswith("x-ratelimit") for name in replies[-1].headers)
    assert replies[-1].headers["openai-version"] == "2020-10-01"
    assert int(replies[-1].headers["openai-processing-ms"]) >= 1


def test_an_organization_that_asks_no_more_is_forgotten():
    clock = FakeClock()
    limits = RateLimits(100, clock)
    for number in range(1000):
        limits.take(f"org_{number}")
    clock.advance(seconds=60)
    allowance, refusal = limits.take("org_new")

    assert len(limits._buckets) == 1
    assert refusal is None
    assert allowance is not None
    assert allowance.remaining == 99


def test_a_clock_that_is_set_back_neither_gives_nor_takes():
    clock = FakeClock()
    limits = RateLimits(2, clock)
    limits.take("org_a")
    clock.advance(seconds=-3600)
    second = limits.take("org_a")[1]
    third = limits.take("org_a")[1]
    clock.advance(seconds=30)

    assert second is None
    assert third is not None
    assert limits.take("org_a")[1] is None


def test_whoever_was_refused_before_the_clock_was_set_back_may_ask_a_minute_later():
    clock = FakeClock()
    limits = RateLimits(1, clock)
    for name in ("org_a", "org_b"):
        limits.take(name)
    clock.advance(seconds=-3600)
    refused = [limits.take(name)[1] for name in ("org_a", "org_b")]
    clock.advance(seconds=60)
    again = [limits.take(name)[1] for name in ("org_a", "org_b")]

    assert None not in refused
    assert again == [None, None]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0ms"), (0.6, "600ms"), (0.9999, "1s"), (1.5, "1.5s"), (59.9996, "1m0s"), (360, "6m0s")],
)
def test_durations_are_written_as_openai_writes_them(seconds: float, text: str):
    assert duration(seconds) == text
