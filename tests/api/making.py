"""A whole server without a wall and a socket: real store, real runs, doubles at the ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
from sqlalchemy import Connection, func, select

from sanderling.api.server import create_app
from sanderling.api.services import Services
from sanderling.clock import Clock, SystemClock
from sanderling.containers.registry import Containers
from sanderling.environments.catalog import Catalog
from sanderling.models.base import Model
from sanderling.models.scripted import ScriptedModel
from sanderling.runs.feed import Feed
from sanderling.runs.runner import Runner
from sanderling.sandbox.egress.domains import operators_list
from sanderling.settings import Settings
from sanderling.store import tables
from sanderling.store.store import Store
from tests.doubles.memory_sandbox import MemorySandbox


@asynccontextmanager
async def memory_services(
    root: Path, *, model: Model, settings: Settings | None = None, clock: Clock | None = None
) -> AsyncIterator[Services]:
    """Open every part of a server; code runs in this process."""
    settings, clock = settings or Settings(), clock or SystemClock()
    store = await Store.memory(root, clock=clock)
    sandbox = MemorySandbox(root / "boxes")
    containers = Containers(
        store,
        sandbox,
        clock,
        file_bytes_max=settings.file_bytes_max,
        egress_domains=operators_list(settings.egress_domains),
        environments=Catalog(settings.environments),
        environment=settings.environment,
    )
    feed = Feed(store)
    runner = Runner(store=store, model=model, containers=containers, feed=feed, clock=clock)
    try:
        yield Services(settings, store, containers, runner, model, sandbox, clock)
    finally:
        await runner.close()
        await feed.close()
        await containers.close()
        await sandbox.aclose()
        await model.aclose()
        await store.close()


@dataclass
class Api:
    """What a test talks to."""

    services: Services
    http: httpx.AsyncClient
    sandbox: MemorySandbox

    async def json(self, method: str, path: str, body: Any = None, **kwargs: Any) -> Any:
        """Send a request that must succeed; return its JSON."""
        if body is not None:
            kwargs["json"] = body
        reply = await self.http.request(method, path, **kwargs)
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def error(self, method: str, path: str, body: Any = None, **kwargs: Any) -> Any:
        """Send a request that must fail; return (status, error)."""
        if body is not None:
            kwargs["content"] = orjson.dumps(body)
            kwargs["headers"] = {"content-type": "application/json", **kwargs.get("headers", {})}
        reply = await self.http.request(method, path, **kwargs)
        assert reply.status_code >= 400, reply.text
        content = reply.json()
        assert set(content) == {"error"}
        assert set(content["error"]) == {"message", "type", "param", "code"}
        assert reply.headers["x-request-id"].startswith("req_")
        return reply.status_code, content["error"]

    async def events(self, method: str, path: str, body: Any = None) -> list[dict[str, Any]]:
        """Read a whole stream; return its events."""
        reply = await self.http.request(method, path, json=body)
        assert reply.status_code == 200, reply.text
        assert reply.headers["content-type"].startswith("text/event-stream")
        return read_events(reply.text)

    async def upload(
        self, content: bytes, filename: str = "data.csv", purpose: str = "user_data"
    ) -> Any:
        """Upload a file; return its object."""
        return await self.json(
            "POST", "/v1/files", files={"file": (filename, content)}, data={"purpose": purpose}
        )


async def runs_recorded(api: Api) -> int:
    """Return how many runs there are in the store, whoever may see them."""

    def count(connection: Connection) -> int:
        return connection.execute(select(func.count()).select_from(tables.runs)).scalar_one()

    return await api.services.store.database.read(count)


async def until(is_so: Callable[[], object]) -> None:
    """Wait until `is_so`; fail if it is not within ten seconds."""
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 what is waited for is told by nobody
            await asyncio.sleep(0.001)


def read_events(text: str) -> list[dict[str, Any]]:
    """Return the events of a stream, checking how each is framed."""
    events = []
    for block in text.split("\n\n")[:-1]:
        if block.startswith(":"):
            continue
        name, data = block.split("\n")
        event = orjson.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


@asynccontextmanager
async def memory_api(root: Path, *turns: Any, **kwargs: Any) -> AsyncIterator[Api]:
    """Open a server whose model plays `turns`, and a client that reaches it in process."""
    model = kwargs.pop("model", None) or ScriptedModel(turns)
    async with memory_services(root, model=model, **kwargs) as services:
        app = create_app(services)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            sandbox = services.sandbox
            assert isinstance(sandbox, MemorySandbox)
            yield Api(services, http, sandbox)
        await services.cells.close()
