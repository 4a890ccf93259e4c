"""
What OpenAI has: read from openai-python as it is locked, whose types are made from OpenAI's own.

Of each call that the SDK can make its source says the path, the type of what is sent and the type
of what comes back. Only names are read.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, get_args

import openai.resources
from openai import BaseModel
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent

from tests.coverage import paths

VERSION = openai.__version__
# The first parts of the paths that something is served of here; of others only names are read.
SERVED = ("responses", "conversations", "containers", "files", "uploads", "models", "chat")
# What a list is made of in the SDK; it reads no more of one than this.
_PAGE_FIELDS = {"data", "has_more"}
_VERBS = {"_post": "POST", "_get": "GET", "_get_api_list": "GET", "_delete": "DELETE"}
_VERBS |= {"_put": "PUT", "_patch": "PATCH"}
# An endpoint that is no call: the SDK's `responses.connect()` opens a WebSocket.
SOCKET = "WebSocket /responses"


@dataclass(frozen=True)
class Endpoint:
    """One endpoint: paths of its query, of its body, and of its reply, or of a list's elements."""

    name: str  # GET /files/{id}
    query: frozenset[str] = frozenset()
    body: frozenset[str] = frozenset()
    reply: frozenset[str] = frozenset()

    @property
    def group(self) -> str:
        """The first part of its path."""
        return self.name.partition(" /")[2].partition("/")[0]


@functools.cache
def endpoints() -> dict[str, Endpoint]:
    """Return every endpoint by its name."""
    found: dict[str, Endpoint] = {SOCKET: Endpoint(SOCKET)}
    package = openai.resources
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        module = importlib.import_module(info.name)
        for endpoint in _endpoints_of(module):
            known = found.get(endpoint.name, endpoint)
            found[endpoint.name] = Endpoint(
                endpoint.name,
                known.query | endpoint.query,
                known.body | endpoint.body,
                known.reply | endpoint.reply,
            )
    return found


@functools.cache
def events() -> frozenset[str]:
    """Return every event of a response's stream, and its fields."""
    union, *_ = get_args(ResponseStreamEvent)
    return frozenset(path for kind in get_args(union) for path in paths.of_type(kind, shallow=True))


@functools.cache
def chunks() -> frozenset[str]:
    """Return what the chunks of a chat completion have."""
    return frozenset(paths.of_type(ChatCompletionChunk))


def named(method: str, path: str) -> str:
    """Return an endpoint's name; how its parameters are called says nothing."""
    return f"{method} {re.sub(r'{[^}]*}', '{id}', path)}"


def _endpoints_of(module: ModuleType) -> Iterator[Endpoint]:
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr not in _VERBS or not node.args:
            continue
        path = _path(node.args[0])
        if path is None or "?" in path:
            continue
        name = named(_VERBS[node.func.attr], path)
        if Endpoint(name).group not in SERVED:
            yield Endpoint(name)
            continue
        given = {each.arg: each.value for each in node.keywords}
        options = given.get("options")
        inner = options.keywords if isinstance(options, ast.Call) else []
        query = next((each.value for each in inner if each.arg == "query"), None)
        yield Endpoint(
            name,
            _sent(query, module),
            _sent(given.get("body"), module),
            _reply(given.get("model") or given.get("cast_to"), module),
        )


def _path(node: ast.expr) -> str | None:
    match node:
        case ast.Constant(value=str(path)):
            return path
        case ast.Call(args=[ast.Constant(value=str(path)), *_]):  # path_template(…)
            return path
        case _:
            return None


def _sent(node: ast.expr | None, module: ModuleType) -> frozenset[str]:
    """Return the paths of `maybe_transform({…}, Type)`, or of both its types."""
    match node:
        case ast.Call(args=[given, ast.IfExp(body=one, orelse=other)]):
            found = _of(one, module) | _of(other, module)
        case ast.Call(args=[given, kind]):
            found = _of(kind, module)
        case _:
            return frozenset()
    if not isinstance(given, ast.Dict):
        return found
    # One type may hold what goes into the query and what goes into the body.
    names = {key.value for key in given.keys if isinstance(key, ast.Constant)}
    return frozenset(path for path in found if paths.first_name(path) in names)


def _reply(node: ast.expr | None, module: ModuleType) -> frozenset[str]:
    match node:
        case ast.Call(args=[_, kind]):  # cast(Any, Type)
            return _reply(kind, module)
        case ast.Name() | ast.Attribute():
            kind = _named_by(node, module)
            if inspect.isclass(kind) and issubclass(kind, BaseModel):
                fields = kind.model_fields
                if fields.keys() >= _PAGE_FIELDS:
                    [element] = get_args(fields["data"].annotation)
                    return frozenset(paths.of_type(element))
            return frozenset(paths.of_type(kind))
        case _:
            return frozenset()


def _of(node: ast.expr, module: ModuleType) -> frozenset[str]:
    return frozenset(paths.of_type(_named_by(node, module)))


def _named_by(node: ast.expr, module: ModuleType) -> Any:
    match node:
        case ast.Name(id=name):
            return getattr(module, name, None)
        case ast.Attribute(value=value, attr=name):
            return getattr(_named_by(value, module), name, None)
        case _:
            return None
