"""The description of the API is whole, and what it says is what happens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from sanderling.api import shapes
from sanderling.api.describing import description_of
from sanderling.api.openapi import UndescribedRoute, document
from sanderling.api.server import api_routes, create_app
from sanderling.models.scripted import code, text
from tests.api.making import Api, memory_api


@pytest.fixture
async def described(api: Api) -> dict[str, Any]:
    document: dict[str, Any] = await api.json("GET", "/openapi.json")
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def references(value: Any) -> Iterator[str]:
    match value:
        case dict():
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for each in value.values():
                yield from references(each)
        case list():
            for each in value:
                yield from references(each)


def test_route_that_says_nothing_of_itself_is_an_error():
    router = APIRouter()

    @router.get("/silent")
    async def silent() -> None:
        """Do nothing."""

    routes = [("/v1", route) for route in router.routes if isinstance(route, APIRoute)]
    with pytest.raises(UndescribedRoute, match="/silent"):
        document(routes, version="1")


async def test_every_route_is_described_once_with_a_sentence(api: Api, described: dict[str, Any]):
    app = create_app(api.services)
    beside_v1 = {route.path for route in app.routes if isinstance(route, APIRoute)}
    ids = [operation["operationId"] for _, _, operation in operations(described)]

    # What the pages are made from is not on them.
    assert beside_v1 == {"/health", "/openapi.json", "/docs"}
    assert len(ids) == len(set(ids)) == len(api_routes())
    for _, path, operation in operations(described):
        assert re.fullmatch(r"[A-Z].*[.:]", operation["summary"]), path
        named = re.findall(r"\{(\w+)\}", path)
        told = [each["name"] for each in operation["parameters"] if each["in"] == "path"]
        assert told == named, path


async def test_every_reference_leads_somewhere_and_every_schema_is_used(
    described: dict[str, Any],
):
    names = {each.rpartition("/")[2] for each in references(described)}

    assert names == set(described["components"]["schemas"])


async def test_unions_of_the_request_are_told_by_their_types(described: dict[str, Any]):
    schemas = described["components"]["schemas"]
    tools = schemas["CreateResponse"]["properties"]["tools"]["anyOf"][0]["items"]["anyOf"]

    kinds = [each["allOf"][1]["properties"]["type"]["const"] for each in tools]
    assert kinds == ["code_interpreter", "function"]
    assert "container" in schemas["CodeInterpreter"]["properties"]
    assert schemas["CreateUpload"]["required"] == ["bytes", "filename", "mime_type", "purpose"]


async def test_page_for_people_shows_every_operation_and_loads_nothing(
    api: Api, described: dict[str, Any]
):
    reply = await api.http.get("/docs")

    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["content-security-policy"].startswith("default-src 'none'")
    for method, path, _ in operations(described):
        assert f"<b>{method}</b> <code>{path}</code>" in reply.text
    assert "<script" not in reply.text
    assert set(re.findall(r"(?:href|src)='([^#'][^']*)'", reply.text)) == {"openapi.json"}


class Auditor:
    """Holds each reply to what its route said; remembers which routes were asked."""

    def __init__(self, described: dict[str, Any]) -> None:
        self.asked: set[str] = set()
        self._routes = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), method, operation)
            for method, path, operation in operations(described)
        ]
        self._replies = {
            route.endpoint.__name__.strip("_"): description_of(route.endpoint)
            for _, route in api_routes()
        }

    async def check(self, reply: httpx.Response) -> None:
        await reply.aread()
        (operation,) = [
            operation
            for path, method, operation in self._routes
            if method == reply.request.method and path.fullmatch(reply.request.url.path)
        ]
        said = operation["responses"][str(reply.status_code)]["content"]
        kind = reply.headers["content-type"].partition(";")[0]
        assert kind in said, (operation["operationId"], kind)
        if reply.status_code != 200:
            shapes.Error.model_validate_json(reply.content, extra="forbid")
            return
        self.asked.add(operation["operationId"])
        description = self._replies[operation["operationId"]]
        assert description is not None
        if kind == "application/json" and description.reply is not None:
            allows = description.reply in (shapes.Item, shapes.ItemList)
            description.reply.model_validate_json(
                reply.content, extra="allow" if allows else "forbid"
            )


OUTPUTS = """
import sys
from pathlib import Path
print("out"); print("err", file=sys.stderr)
Path("/mnt/data/made.csv").write_text("a")
1 + 1
"""


async def test_every_route_answers_what_it_says(tmp_path: Path):
    turns = (code("1 + 1"), text("Two."), *[text("Yes.")] * 3, *(code("1 + 1"), text("Two.")) * 2)
    async with memory_api(tmp_path, *turns) as api:
        auditor = Auditor(await api.json("GET", "/openapi.json"))
        api.http.event_hooks["response"].append(auditor.check)

        await api.json("GET", "/health")
        (model, *_) = (await api.json("GET", "/v1/models"))["data"]
        await api.json("GET", f"/v1/models/{model['id']}")
        await _ask_files(api)
        await _ask_uploads(api)
        await _ask_containers(api)
        await _ask_responses(api)
        await _ask_others_of_its_kind(api)
        await _ask_conversations(api)

        said = {route.endpoint.__name__.strip("_") for _, route in api_routes()}
        never_succeeds = {"cancel_execution"}  # with what is there in this test
        assert auditor.asked == said - never_succeeds


async def _ask_files(api: Api) -> None:
    file = await api.upload(b"abc")
    path = f"/v1/files/{file['id']}"
    await api.json("GET", "/v1/files?limit=1")
    await api.json("GET", path)
    await api.http.get(f"{path}/content")
    await api.json("DELETE", path)
    await api.error("GET", path)
    await api.error("POST", "/v1/files", files={"file": b""})


async def _ask_uploads(api: Api) -> None:
    body = {"filename": "a", "purpose": "vision", "bytes": 1, "mime_type": "text/plain"}
    done, over = [await api.json("POST", "/v1/uploads", body) for _ in range(2)]
    path = f"/v1/uploads/{done['id']}"
    part = await api.json("POST", f"{path}/parts", files={"data": b"1"})
    await api.json("POST", f"{path}/complete", {"part_ids": [part["id"]]})
    await api.error("POST", f"{path}/complete", {"part_ids": [part["id"]]})
    await api.json("POST", f"/v1/uploads/{over['id']}/cancel")
    await api.error("POST", "/v1/uploads", {**body, "bytes": 1 << 60})


async def _ask_containers(api: Api) -> None:
    container = await api.json("POST", "/v1/containers", {"name": "x"})
    path = f"/v1/containers/{container['id']}"
    await api.json("GET", "/v1/containers?name=x")
    await api.json("GET", path)
    for source in (OUTPUTS, "1 / 0"):
        await api.json("POST", f"{path}/executions", {"code": source})
    await api.http.post(f"{path}/executions", json={"code": "1", "stream": True})
    await api.error("POST", f"{path}/executions/exec_x/cancel")
    file = await api.json("POST", f"{path}/files", files={"file": ("a.csv", b"a")})
    await api.json("GET", f"{path}/files")
    await api.json("GET", f"{path}/files/{file['id']}")
    await api.http.get(f"{path}/files/{file['id']}/content")
    await api.json("DELETE", f"{path}/files/{file['id']}")
    await api.json("DELETE", path)
    await api.error("GET", path)


async def _ask_responses(api: Api) -> None:
    tools = [{"type": "code_interpreter", "container": {"type": "auto"}}]
    response = await api.json("POST", "/v1/responses", {"input": "1 + 1?", "tools": tools})
    path = f"/v1/responses/{response['id']}"
    await api.http.post("/v1/responses", json={"input": "Sure?", "stream": True})
    await api.json("POST", "/v1/responses/input_tokens", {"input": "Sure?"})
    await api.json("POST", "/v1/responses/compact", {"model": "m", "input": "Sure?"})
    queued = await api.json("POST", "/v1/responses", {"input": "Sure?", "background": True})
    await api.json("POST", f"/v1/responses/{queued['id']}/cancel")
    await api.json("GET", path)
    await api.http.get(f"{path}?stream=true")
    await api.json("GET", f"{path}/input_items")
    await api.error("POST", f"{path}/cancel")
    await api.json("DELETE", path)
    await api.error("DELETE", path)


async def _ask_others_of_its_kind(api: Api) -> None:
    asked = [{"role": "user", "content": "1 + 1?"}]
    tools = [{"type": "code_interpreter"}]
    body = {"model": "m", "messages": asked, "tools": tools}
    await api.json("POST", "/v1/chat/completions", body)
    await api.error("POST", "/v1/chat/completions", {})
    await api.json("POST", "/v1/model/response", {"inputs": asked, "tools": tools})


async def _ask_conversations(api: Api) -> None:
    items = [{"role": "user", "content": "Hello"}]
    conversation = await api.json("POST", "/v1/conversations", {"items": items})
    path = f"/v1/conversations/{conversation['id']}"
    await api.json("GET", path)
    await api.json("POST", path, {"metadata": {"a": "b"}})
    added = await api.json("POST", f"{path}/items", {"items": items})
    item = f"{path}/items/{added['data'][0]['id']}"
    await api.json("GET", f"{path}/items?limit=1")
    await api.json("GET", item)
    await api.json("DELETE", item)
    await api.error("GET", item)
    await api.json("DELETE", path)
    await api.error("POST", f"{path}/items", {"items": items})
