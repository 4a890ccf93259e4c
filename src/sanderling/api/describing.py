"""
What each route says of itself beside its code, for `/openapi.json` and `/docs`.

    @router.get("/{file_id}")
    @described(shapes.File)
    async def retrieve_file(…):

Bodies are read and replies are made by hand, so that errors are OpenAI's and bytes are streamed; a
framework that looks at signatures would know nothing of them. What is said here is therefore held
to what happens: tests/api/test_openapi.py asks every route, and fails for one that says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, WithJsonSchema

_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])

# A file in a form.
FormFile = Annotated[bytes, WithJsonSchema({"type": "string", "format": "binary"})]


@dataclass(frozen=True, slots=True)
class Query:
    """A parameter of the query: its name, its JSON schema, and what it does."""

    name: str
    schema: dict[str, Any]
    meaning: str


@dataclass(frozen=True, slots=True)
class Description:
    """
    What one route takes and gives.

    reply: its JSON; None: a file's bytes.
    json, form: what its body may be, as either.
    is_streamed: the reply may also be server-sent events.
    error: the body of its errors, where it is not that of all others.
    statuses: errors beside those that what it takes makes possible.
    """

    reply: type[BaseModel] | None
    json: type[BaseModel] | None
    form: type[BaseModel] | None
    query: tuple[Query, ...]
    statuses: tuple[int, ...]
    is_streamed: bool
    error: type[BaseModel] | None = None


def described(
    reply: type[BaseModel] | None,
    *,
    json: type[BaseModel] | None = None,
    form: type[BaseModel] | None = None,
    query: Sequence[Query] = (),
    statuses: Sequence[int] = (),
    is_streamed: bool = False,
    error: type[BaseModel] | None = None,
) -> Callable[[_Endpoint], _Endpoint]:
    """Return a decorator that lets an endpoint say what it takes and gives; see Description."""
    description = Description(reply, json, form, tuple(query), tuple(statuses), is_streamed, error)

    def decorate(endpoint: _Endpoint) -> _Endpoint:
        _DESCRIPTIONS[endpoint] = description
        return endpoint

    return decorate


_DESCRIPTIONS: dict[Callable[..., Any], Description] = {}


def description_of(endpoint: Callable[..., Any]) -> Description | None:
    """Return what the endpoint says of itself; None: nothing."""
    return _DESCRIPTIONS.get(endpoint)


def page(limit_max: int = 100, default: int = 20) -> tuple[Query, ...]:
    """Return the parameters of a list, which `paging.page_of` reads."""
    limit = {"type": "integer", "minimum": 1, "maximum": limit_max, "default": default}
    order = {"type": "string", "enum": ["asc", "desc"], "default": "desc"}
    return (
        Query("limit", limit, "How many at most."),
        Query("order", order, "By the time of creation, newest first unless it is `asc`."),
        Query("after", {"type": "string"}, "The id after which the page begins."),
        Query("before", {"type": "string"}, "The id before which it ends."),
    )
