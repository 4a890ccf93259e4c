"""Containers: what each organization owns, and when each was last used."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Select, bindparam, insert, select, update

from sanderling.records import Container
from sanderling.store.database import Database
from sanderling.store.paging import Listing, Page, by_creation, select_page
from sanderling.store.rows import Rows
from sanderling.store.tables import containers

_ROWS = Rows(containers, Container)

# Made once, because every use asks and making them takes longer than asking.
_FIND = select(containers).where(
    containers.c.id == bindparam("container_id"), containers.c.status != "deleted"
)
_GET = _FIND.where(containers.c.organization_id == bindparam("organization_id"))


def _is_idle(now: float) -> ColumnElement[bool]:
    deadline = containers.c.last_active_at + containers.c.expires_after_minutes * 60
    return (containers.c.status == "running") & (deadline <= now)


class ContainerTable:
    """What is known of each container; a deleted one is kept, and behaves as absent."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, container: Container) -> None:
        def work(connection: Connection) -> None:
            connection.execute(insert(containers).values(_ROWS.encode(container)))

        await self._database.write(work)

    async def get(self, organization_id: str, container_id: str) -> Container | None:
        values = {"container_id": container_id, "organization_id": organization_id}
        return await self._database.recall(
            ("container", *values.values()), lambda connection: _first(connection, _GET, values)
        )

    async def find(self, container_id: str) -> Container | None:
        """Return the container whoever owns it: for the server's own work, never for a client."""
        values = {"container_id": container_id}
        return await self._database.read(lambda connection: _first(connection, _FIND, values))

    async def touch(self, container_id: str, at: float) -> bool:
        """
        Note that a running container was in use at `at`, unless a later use is noted already.

        Returns whether the container is still running.
        """

        def work(connection: Connection) -> bool:
            running = (containers.c.id == container_id) & (containers.c.status == "running")
            connection.execute(
                update(containers)
                .where(running, containers.c.last_active_at < at)
                .values(last_active_at=at)
            )
            return connection.execute(select(containers.c.id).where(running)).first() is not None

        return await self._database.write(work)

    async def set_status(
        self, container_id: str, status: Literal["running", "expired", "deleted"]
    ) -> bool:
        """Return whether the status changed; a deleted container stays deleted."""

        def work(connection: Connection) -> bool:
            result = connection.execute(
                update(containers)
                .where(
                    containers.c.id == container_id,
                    containers.c.status.not_in(["deleted", status]),
                )
                .values(status=status)
            )
            return result.rowcount == 1

        return await self._database.write(work)

    async def expire(self, container_id: str, now: float) -> bool:
        """Expire the container if it is running and still idle at `now`; return whether it did."""

        def work(connection: Connection) -> bool:
            result = connection.execute(
                update(containers)
                .where(containers.c.id == container_id, _is_idle(now))
                .values(status="expired")
            )
            return result.rowcount == 1

        return await self._database.write(work)

    async def page(
        self, organization_id: str, page: Page, *, name: str | None = None
    ) -> Listing[Container]:
        """Return a page of the organization's containers; `name` keeps those of that very name."""

        def work(connection: Connection) -> Listing[Container]:
            rows, has_more = select_page(
                connection,
                containers,
                page,
                sorting=by_creation(containers),
                scope=(containers.c.organization_id == organization_id)
                & (containers.c.status != "deleted"),
                only=None if name is None else containers.c.name == name,
            )
            return Listing([_ROWS.decode(row) for row in rows], has_more)

        return await self._database.read(work)

    async def idle_since(self, now: float) -> list[Container]:
        """Return the running containers whose idle time is over at `now`, longest idle first."""

        def work(connection: Connection) -> list[Container]:
            rows = connection.execute(
                select(containers).where(_is_idle(now)).order_by(containers.c.last_active_at)
            )
            return [_ROWS.decode(row) for row in rows.mappings()]

        return await self._database.read(work)


def _first(
    connection: Connection, statement: Select[Any], values: dict[str, str]
) -> Container | None:
    found = connection.execute(statement, values).mappings().first()
    return None if found is None else _ROWS.decode(found)
