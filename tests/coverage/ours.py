"""
What this server has, read from its code: routes and what they say of themselves, request models,
the shapes of replies, and what the projections of items, responses and events really give.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, get_args

from pydantic import BaseModel
from starlette.routing import WebSocketRoute

from sanderling.api import server, shapes
from sanderling.api.chat.events import ChatProjection
from sanderling.api.describing import description_of
from sanderling.api.openapi import document
from sanderling.api.responses.events import ResponseProjection
from sanderling.api.responses.objects import item_object, response_object, usage_object
from sanderling.api.responses.requests import CreateResponse
from sanderling.api.responses.tools import choice_object, tool_object
from sanderling.records import CompactionItem, Item, Run, Tool, Usage
from sanderling.runs.events import Event, MessageFinished, RunChanged
from tests.coverage import paths, samples
from tests.coverage.theirs import named

# What a client may choose, beside words.
_CHOICES: tuple[dict[str, Any], ...] = (
    {"type": "code_interpreter"},
    {"type": "function", "name": "f"},
    {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
)


@dataclass(frozen=True)
class Endpoint:
    """As `theirs.Endpoint`; `shape` is the name of its reply's, or of a list's elements."""

    name: str
    query: frozenset[str] = frozenset()
    body: frozenset[str] = frozenset()
    reply: frozenset[str] = frozenset()
    shape: str | None = None


@functools.cache
def endpoints() -> dict[str, Endpoint]:
    """Return every endpoint below /v1 by its name."""
    routes = [(prefix, route) for prefix, route in server.api_routes() if prefix]
    described = document(routes, version="")
    components = described["components"]["schemas"]
    found: dict[str, Endpoint] = {}
    for _, route in routes:
        description = description_of(route.endpoint)
        assert description is not None
        for method in route.methods:
            operation = described["paths"][_path_of(described, route.endpoint)][method.lower()]
            bodies = operation.get("requestBody", {}).get("content", {}).values()
            body = {path for each in bodies for path in paths.of_schema(each["schema"], components)}
            name = named(method, route.path.replace(":path", ""))
            found[name] = Endpoint(
                name,
                frozenset(each.name.removesuffix("[]") for each in description.query),
                frozenset(body),
                *_reply(description.reply),
            )
    for name in _sockets():
        found[name] = Endpoint(name)
    return found


def _path_of(described: dict[str, Any], endpoint: Any) -> str:
    name = endpoint.__name__.strip("_")
    [path] = [
        path
        for path, operations in described["paths"].items()
        if any(each["operationId"] == name for each in operations.values())
    ]
    return str(path)


def _sockets() -> Iterator[str]:
    for module in server._ROUTERS:
        for route in module.router.routes:
            if isinstance(route, WebSocketRoute):
                yield f"WebSocket {route.path}"


def _reply(shape: type[BaseModel] | None) -> tuple[frozenset[str], str | None]:
    if shape is None:
        return frozenset(), None
    if issubclass(shape, shapes.Listing) or "data" in shape.model_fields:
        [element] = get_args(shape.model_fields["data"].annotation)
        return _reply(element)
    found = _item_paths() if shape is shapes.Item else frozenset(paths.of_type(shape))
    if shape is shapes.Response:
        found |= _response_paths()
    elif shape is shapes.Compaction:
        found |= _compaction_paths()
    elif shape is shapes.ChatCompletion:
        found |= frozenset(paths.of_value(_chat()[0]))
    return found, shape.__name__


# ---- what projections give ---------------------------------------------------------------------


@functools.cache
def _item_paths() -> frozenset[str]:
    kinds = get_args(Item)
    items = [item_object(each, with_outputs=True) for kind in kinds for each in samples.of(kind)]
    return frozenset(path for item in items for path in paths.of_value(item))


@functools.cache
def _response_paths() -> frozenset[str]:
    """Return what a response can show; its output has the items that its stream can tell of."""
    tools = [tool_object(each) for kind in get_args(Tool) for each in samples.of(kind)]
    output = [wire["item"] for wire in _wires() if wire["type"] == "response.output_item.done"]
    found: set[str] = set()
    for run in samples.of(Run):
        for choice in _CHOICES:
            asked = CreateResponse.model_validate({"tool_choice": choice})
            run.request.echo.update(tools=tools, tool_choice=choice_object(asked.tool_choice))
            found |= set(paths.of_value(response_object(run, ())))
    return frozenset(found | set(paths.of_value(output, "output")))


def _compaction_paths() -> frozenset[str]:
    items = [item_object(each, with_outputs=False) for each in samples.of(CompactionItem)]
    whole = {"output": items, "usage": usage_object(Usage())}
    return frozenset(paths.of_value(whole))


@functools.cache
def chunks() -> frozenset[str]:
    """Return what the chunks of a chat completion can have that this server answers itself."""
    return frozenset(path for chunk in _chat()[1] for path in paths.of_value(chunk))


@functools.cache
def _chat() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a completion of a run in which everything happened, and its chunks."""
    projection = ChatProjection(samples.of(Run)[0], include_usage=True)
    happened = [each for kind in get_args(Event) for each in samples.of(kind)]
    told = [each for each in happened if not isinstance(each, RunChanged)]
    ended = RunChanged("completed", at=1.0, usage=Usage())
    chunks = [chunk for event in (*told, ended) for chunk in projection.project(event)]
    return projection.completion, chunks


@functools.cache
def events() -> frozenset[str]:
    """Return every event that a response's stream can have, and its fields."""
    return frozenset(path for wire in _wires() for path in (f":{wire['type']}", *_fields_of(wire)))


def _fields_of(wire: dict[str, Any]) -> list[str]:
    return [f":{wire['type']}.{name}" for name in wire if name != "type"]


@functools.cache
def _wires() -> tuple[dict[str, Any], ...]:
    found: list[dict[str, Any]] = []
    for run in samples.of(Run):
        for kind in get_args(Event):
            for sample in samples.of(kind):
                event = sample
                projection = ResponseProjection(run, with_outputs=True, with_output_deltas=True)
                if isinstance(event, MessageFinished):
                    event = replace(event, item=replace(event.item, role="assistant"))
                with contextlib.suppress(AssertionError):  # a model does not say that
                    found += projection.project(event)
    return tuple(found)
