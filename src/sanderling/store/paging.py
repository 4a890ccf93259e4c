"""
Pages of a list, by cursor: which rows stand after one id, or before another, and are there more?

The order is total: by creation time, then by insertion sequence, so rows of the same instant never
swap places between two requests. A cursor is the id of a row of the same list. `has_more` tells of
the direction that was read: past the last row, or, when only `before` is given, past the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from sqlalchemy import ColumnElement, Connection, FromClause, RowMapping, select, tuple_

from sanderling.errors import InvalidRequest

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted: at most `limit` rows (1 or more), in `order`."""

    limit: int = 20
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None
    before: str | None = None


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """One page, and whether the list goes on beyond it."""

    data: list[T]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Sorting:
    """What orders a list (`keys`, ascending) and which column its cursors name."""

    keys: Sequence[ColumnElement[Any]]
    ident: ColumnElement[str]


def by_creation(table: FromClause) -> Sorting:
    """Return the order of a table that has created_at, sequence and id."""
    return Sorting((table.c.created_at, table.c.sequence), table.c.id)


def select_page(
    connection: Connection,
    table: FromClause,
    page: Page,
    *,
    sorting: Sorting,
    scope: ColumnElement[bool],
    only: ColumnElement[bool] | None = None,
) -> tuple[list[RowMapping], bool]:
    """
    Return the rows of `page`, in its order, and its has_more.

    Args:
        scope: whose list it is; a cursor must name a row of it.
        only: a further filter on the rows, which a cursor's row need not pass.

    Raises:
        InvalidRequest: `after` or `before` names no row of the list; `param` says which.
    """
    assert page.limit >= 1, "the edge lets no smaller limit through"
    key = tuple_(*sorting.keys)
    statement = select(table).where(scope)
    if only is not None:
        statement = statement.where(only)
    rising = page.order == "asc"
    for param, cursor in (("after", page.after), ("before", page.before)):
        if cursor is None:
            continue
        place = _place(connection, cursor, param, sorting=sorting, scope=scope)
        above = rising == (param == "after")
        statement = statement.where(key > place if above else key < place)
    # With `before` alone the rows nearest to the cursor are wanted: read away from it, then turn.
    backward = page.before is not None and page.after is None
    ascending = rising != backward
    statement = statement.order_by(*(k.asc() if ascending else k.desc() for k in sorting.keys))
    rows = list(connection.execute(statement.limit(page.limit + 1)).mappings())
    has_more = len(rows) > page.limit
    rows = rows[: page.limit]
    return (rows[::-1] if backward else rows), has_more


def _place(
    connection: Connection,
    cursor: str,
    param: str,
    *,
    sorting: Sorting,
    scope: ColumnElement[bool],
) -> ColumnElement[Any]:
    """Return the sort key of the row that `cursor` names, as a value to compare with."""
    statement = select(*sorting.keys).where(scope, sorting.ident == cursor)
    # An item may stand twice in an input; the first one is the cursor.
    statement = statement.order_by(*sorting.keys).limit(1)
    row = connection.execute(statement).first()
    if row is None:
        raise InvalidRequest(
            f"Invalid '{param}': no object with id '{cursor}' is in this list.", param=param
        )
    return tuple_(*row)
