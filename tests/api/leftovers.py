"""What a server has kept: the rows of every table and every file on the disk."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, func, select

from sanderling.store.tables import metadata
from tests.api.making import Api

Kept = tuple[dict[str, int], list[Path]]


async def kept_by(api: Api) -> Kept:
    """Return how many rows each table has, and the files of the blob store, unfinished ones too."""

    def count(connection: Connection) -> dict[str, int]:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }

    store = api.services.store
    blobs = store.blobs.path("blob_" + "0" * 32).parents[1]
    rows = await store.database.read(count)
    return rows, sorted(path for path in blobs.rglob("*") if path.is_file())
