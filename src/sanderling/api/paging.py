"""Query parameters of list endpoints, and the list object they answer with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from starlette.requests import Request

from sanderling.api.validation import invalid_value
from sanderling.errors import InvalidRequest
from sanderling.store.paging import Listing, Page

_Record = TypeVar("_Record")


def page_of(request: Request, *, limit: int = 20, limit_max: int = 100) -> Page:
    """
    Return the page that the query of `request` asks for, newest first by default.

    Raises:
        InvalidRequest: `limit` is no number from 1 to `limit_max`, or `order` is unknown.
    """
    query = request.query_params
    order = query.get("order") or "desc"
    if order not in ("asc", "desc"):
        raise invalid_value("order", order, ("asc", "desc"))
    direction: Literal["asc", "desc"] = "asc" if order == "asc" else "desc"
    return Page(
        limit=integer(query.get("limit"), "limit", default=limit, least=1, most=limit_max),
        order=direction,
        after=query.get("after") or None,
        before=query.get("before") or None,
    )


def integer(text: str | None, param: str, *, default: int, least: int, most: int) -> int:
    """
    Return a query parameter as an integer; `default` when it is absent or empty.

    Raises:
        InvalidRequest: it is none, or out of bounds.
    """
    if not text:
        return default
    # 18 digits fit a 64-bit integer whatever they are; more is no number anybody means.
    if not text.removeprefix("-").isascii() or not text.removeprefix("-").isdecimal():
        raise InvalidRequest(
            f"Invalid type for '{param}': expected an integer, but got a string instead.",
            param=param,
            code="invalid_type",
        )
    value = int(text[:18])
    if value < least:
        raise InvalidRequest(
            f"Invalid '{param}': integer below minimum value. Expected a value >= {least}, but "
            f"got {value} instead.",
            param=param,
            code="integer_below_min_value",
        )
    if value > most:
        raise InvalidRequest(
            f"Invalid '{param}': integer above maximum value. Expected a value <= {most}, but "
            f"got {value} instead.",
            param=param,
            code="integer_above_max_value",
        )
    return value


def flag(text: str | None, param: str) -> bool:
    """
    Return a query parameter as a boolean; absent is False.

    Raises:
        InvalidRequest: it is neither `true` nor `false`.
    """
    if text not in (None, "", "true", "false", "True", "False", "1", "0"):
        raise InvalidRequest(
            f"Invalid type for '{param}': expected a boolean, but got a string instead.",
            param=param,
            code="invalid_type",
        )
    return text in ("true", "True", "1")


def strings(request: Request, name: str) -> list[str]:
    """Return the values of an array parameter, written `name[]=a&name[]=b` or `name=a&name=b`."""
    query = request.query_params
    indexed = [query[key] for key in query if key.startswith(f"{name}[") and key != f"{name}[]"]
    return [*query.getlist(f"{name}[]"), *query.getlist(name), *indexed]


def list_object(
    listing: Listing[_Record], project: Callable[[_Record], dict[str, Any]]
) -> dict[str, Any]:
    """Return the list object of a page, each record projected to what a client sees."""
    return list_of([project(record) for record in listing.data], has_more=listing.has_more)


def list_of(data: Sequence[dict[str, Any]], *, has_more: bool = False) -> dict[str, Any]:
    """Return a list object of objects that are wire objects already."""
    return {
        "object": "list",
        "data": list(data),
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }
