"""
API keys: 32 random bytes each, of which only the SHA-256 digest is kept.

A plain digest is right here: slow hashes protect passwords that people choose, and this key cannot
be guessed. Looking a key up by its digest's index tells nothing about any other key.
"""

from __future__ import annotations

import hashlib
import secrets

from sqlalchemy import Connection, bindparam, insert, select, update

from sanderling.clock import Clock
from sanderling.ids import new_id
from sanderling.records import ApiKey
from sanderling.store.database import Database
from sanderling.store.rows import Rows
from sanderling.store.tables import keys

_ROWS = Rows(keys, ApiKey)

# Made once, because every request asks and making them takes longer than asking.
_ACTIVE = select(keys).where(keys.c.digest == bindparam("digest"), keys.c.revoked_at.is_(None))
_ANY_ACTIVE = select(keys.c.id).where(keys.c.revoked_at.is_(None)).limit(1)

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
        def work(connection: Connection) -> None:
            connection.execute(insert(keys).values(_ROWS.encode(key)))

        await self._database.write(work)

    async def admit(self, digest: str | None) -> tuple[ApiKey | None, bool]:
        """
        Return the active key with that digest, and whether any key is active at all.

        Every request asks this, so it is one look into the database, or none while nobody has
        written to it.
        """

        def work(connection: Connection) -> tuple[ApiKey | None, bool]:
            key = None if digest is None else _active(connection, digest)
            return key, key is not None or _is_any_active(connection)

        return await self._database.recall(("key", digest), work)

    async def all(self) -> list[ApiKey]:
        """Return every key, revoked ones too, oldest first."""

        def work(connection: Connection) -> list[ApiKey]:
            rows = connection.execute(select(keys).order_by(keys.c.sequence))
            return [_ROWS.decode(row) for row in rows.mappings()]

        return await self._database.read(work)

    async def revoke(self, key_id: str) -> bool:
        """Refuse the key from now on; return whether an active key had that id."""

        def work(connection: Connection) -> bool:
            result = connection.execute(
                update(keys)
                .where(keys.c.id == key_id, keys.c.revoked_at.is_(None))
                .values(revoked_at=self._clock.now())
            )
            return result.rowcount == 1

        return await self._database.write(work)

    async def any_active(self) -> bool:
        """Return whether any key would be accepted."""
        return await self._database.read(_is_any_active)


def _active(connection: Connection, digest: str) -> ApiKey | None:
    found = connection.execute(_ACTIVE, {"digest": digest}).mappings().first()
    return None if found is None else _ROWS.decode(found)


def _is_any_active(connection: Connection) -> bool:
    return connection.execute(_ANY_ACTIVE).first() is not None
