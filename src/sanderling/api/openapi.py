"""
The description of the API: OpenAPI 3.1, made from the routes and from what they say of themselves.

Request bodies are the models that check them, so what is described is what is taken. Unions are
decided by hand-written validators (`validation.py`), which say here what they would take.

Source: OpenAPI 3.1.1; JSON Schema 2020-12.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import (
    GenerateJsonSchema,
    JsonSchemaMode,
    JsonSchemaValue,
    models_json_schema,
)
from pydantic_core import core_schema

from sanderling.api import shapes
from sanderling.api.describing import Description, description_of
from sanderling.api.validation import ByJsonType, ByTypeField

_REF = "#/components/schemas/{model}"
# One server-sent event; what its data says is in docs/api-extensions.md and OpenAI's reference.
_EVENT = {
    "type": "object",
    "properties": {
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
_MEANINGS = {
    400: "The request cannot be served: a parameter is wrong, or it comes at the wrong time.",
    401: "No API key, or not one of this server's.",
    404: "No such object.",
    413: "The body is larger than the server takes.",
    422: "The request cannot be served: a parameter is wrong.",
    429: "Too many requests, or too much is at work; `retry-after` says when to ask again.",
    500: "A fault of the server.",
    502: "The model server failed.",
    503: "There is no room for another box, or the sandbox does not answer.",
    504: "The model server did not answer in time.",
    507: "The disk of the data folder is full.",
}


class UndescribedRoute(Exception):
    """A route says nothing of itself; `describing.described` is how it would."""


class _Schemas(GenerateJsonSchema):
    """Knows what the unions of `validation.py` take."""

    def function_plain_schema(
        self, schema: core_schema.PlainValidatorFunctionSchema
    ) -> JsonSchemaValue:
        match schema["function"]["function"]:
            case ByJsonType(adapters=adapters):
                return {"anyOf": [self.generate_inner(a.core_schema) for a in adapters.values()]}
            case ByTypeField() as union:
                return {"anyOf": [self._choice(union, kind) for kind in union.choices]}
        return super().function_plain_schema(schema)

    def _choice(self, union: ByTypeField, kind: str) -> JsonSchemaValue:
        typed: JsonSchemaValue = {"type": "object", "properties": {union.field: {"const": kind}}}
        if union.default is None:
            typed["required"] = [union.field]
        inner = self.generate_inner(union.choices[kind].__pydantic_core_schema__)
        return {"allOf": [inner, typed]}


def document(routes: Sequence[tuple[str, APIRoute]], *, version: str) -> dict[str, Any]:
    """
    Return the description of `routes`, each with the prefix it is served under.

    Raises:
        UndescribedRoute: one of them says nothing of itself.
    """
    said = [(prefix, route, _description(route)) for prefix, route in routes]
    models, components = _components(each for _, _, each in said)
    paths: dict[str, dict[str, Any]] = {}
    for prefix, route, description in said:
        operations = paths.setdefault(prefix + _plain(route.path), {})
        for method in sorted(route.methods or ()):
            operations[method.lower()] = _operation(prefix, route, method, description, models)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sanderling",
            "version": version,
            "description": "OpenAI's Responses, Conversations, Chat Completions, Containers, "
            "Files and Uploads, self-hosted; and executions, which are its own. Error bodies are "
            "OpenAI's, but for those of `model/response`.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _description(route: APIRoute) -> Description:
    description = description_of(route.endpoint)
    if description is None:
        raise UndescribedRoute(f"{route.path} {route.methods}")
    return description


def _plain(path: str) -> str:
    """Return a path without the converters of its parameters: `{name:path}` is `{name}`."""
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", path)


_Models = Mapping[Any, JsonSchemaValue]  # by model and mode
_GIVEN: JsonSchemaMode = "serialization"  # the mode of replies


def _components(descriptions: Iterable[Description]) -> tuple[_Models, dict[str, Any]]:
    """Return each model's reference, and the schemas they refer to."""
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {
        (shapes.Error, "serialization"): None
    }
    for each in descriptions:
        for shape in (each.reply, each.error):
            if shape is not None:
                wanted[shape, "serialization"] = None
        for model in (each.json, each.form):
            if model is not None:
                wanted[model, "validation"] = None
    models, schemas = models_json_schema(list(wanted), ref_template=_REF, schema_generator=_Schemas)
    return models, dict(sorted(schemas.get("$defs", {}).items()))


def _operation(
    prefix: str, route: APIRoute, method: str, description: Description, models: _Models
) -> dict[str, Any]:
    summary, _, rest = inspect.cleandoc(route.endpoint.__doc__ or "").partition("\n")
    names = re.findall(r"\{(\w+)\}", _plain(route.path))
    path_schema = {"type": "string", "minLength": 1}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": path_schema} for name in names
    ] + [
        {"name": each.name, "in": "query", "schema": each.schema, "description": each.meaning}
        for each in description.query
    ]
    operation: dict[str, Any] = {
        "operationId": route.endpoint.__name__.strip("_"),
        "tags": [route.path.split("/")[1]],
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": _success(description, models),
            **{
                str(status): _error(status, models[description.error or shapes.Error, _GIVEN])
                for status in _statuses(prefix, method, names, description)
            },
        },
    }
    if rest.strip():
        operation["description"] = rest.strip()
    if prefix:
        operation["security"] = [{"key": []}, {}]  # a server without keys is open
    content = {
        kind: {"schema": models[model, "validation"]}
        for kind, model in (
            ("application/json", description.json),
            ("multipart/form-data", description.form),
        )
        if model is not None
    }
    if content:
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _success(description: Description, models: _Models) -> dict[str, Any]:
    if description.reply is None:
        binary = {"schema": {"type": "string", "format": "binary"}}
        return {
            "description": "The bytes of the file.",
            "content": {"application/octet-stream": binary},
        }
    content: dict[str, Any] = {
        "application/json": {"schema": models[description.reply, "serialization"]}
    }
    if description.is_streamed:
        content["text/event-stream"] = {"schema": _EVENT}
    return {"description": "It is done.", "content": content}


def _statuses(
    prefix: str, method: str, names: Sequence[str], description: Description
) -> list[int]:
    """Return the errors that are possible for what the route takes, and those it names."""
    has_body = description.json is not None or description.form is not None
    possible = {500, *description.statuses}
    possible |= {401, 429} if prefix else set()
    possible |= {400, 413} if has_body else set()
    possible |= {400} if description.query else set()
    possible |= {400, 404} if names else set()  # of an object that is there and cannot be used
    possible |= {507} if method in ("POST", "DELETE") else set()
    return sorted(possible)


def _error(status: int, schema: JsonSchemaValue) -> dict[str, Any]:
    return {
        "description": _MEANINGS[status],
        "content": {"application/json": {"schema": schema}},
    }
