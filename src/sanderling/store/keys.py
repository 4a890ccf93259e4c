"""
API keys: 32 random bytes each, of which only the SHA-256 digest is kept.

A plain digest is right here: slow hashes protect passwords that people choose, and this key cannot
be guessed. Looking a key up by its digest's index tells nothing about any other key.
"""

from __future__ import annotations

import hashlib
import secrets

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sanderling.clock import Clock
from sanderling.ids import new_id
from sanderling.records import ApiKey
from sanderling.store.database import Database
from sanderling.store.rows import Rows
from sanderling.store.tables import keys

_ROWS = Rows(keys, ApiKey)

KEY_PREFIX = "sk-sdl-"
_KEY_BYTES = 32  # as much as SHA-256 can tell apart


def new_key(name: str, organization_id: str, *, now: float) -> tuple[str, ApiKey]:
    """Return a fresh key as text, to be shown once, and its record, to be inserted."""
    plain = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    record = ApiKey(
        id=new_id("key"),
        organization_id=organization_id,
        name=name,
        hint=f"{plain[: len(KEY_PREFIX) + 3]}...{plain[-4:]}",
        digest=digest_of(plain),
        created_at=now,
    )
    return plain, record


def digest_of(key: str) -> str:
    """Return the SHA-256 of the whole key in hex; of any text, because any text may be sent."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class KeyTable:
    """What is known of each key."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def insert(self, key: ApiKey) -> None:
        async def work(connection: AsyncConnection) -> None:
            await connection.execute(insert(keys).values(_ROWS.encode(key)))

        await self._database.write(work)

    async def by_digest(self, digest: str) -> ApiKey | None:
        """Return the key with that digest; a revoked one is not found."""

        async def work(connection: AsyncConnection) -> ApiKey | None:
            row = await connection.execute(
                select(keys).where(keys.c.digest == digest, keys.c.revoked_at.is_(None))
            )
            found = row.mappings().first()
            return None if found is None else _ROWS.decode(found)

        return await self._database.read(work)

    async def all(self) -> list[ApiKey]:
        """Return every key, revoked ones too, oldest first."""

        async def work(connection: AsyncConnection) -> list[ApiKey]:
            rows = await connection.execute(select(keys).order_by(keys.c.sequence))
            return [_ROWS.decode(row) for row in rows.mappings()]

        return await self._database.read(work)

    async def revoke(self, key_id: str) -> bool:
        """Refuse the key from now on; return whether an active key had that id."""

        async def work(connection: AsyncConnection) -> bool:
            result = await connection.execute(
                update(keys)
                .where(keys.c.id == key_id, keys.c.revoked_at.is_(None))
                .values(revoked_at=self._clock.now())
            )
            return result.rowcount == 1

        return await self._database.write(work)

    async def any_active(self) -> bool:
        """Return whether any key would be accepted."""

        async def work(connection: AsyncConnection) -> bool:
            row = await connection.execute(
                select(keys.c.id).where(keys.c.revoked_at.is_(None)).limit(1)
            )
            return row.first() is not None

        return await self._database.read(work)
