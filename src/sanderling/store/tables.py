"""
The tables of the database.

A record's values that are looked up or change have columns of their own; the rest of the record is
one JSON column, so that a new field seldom needs a migration. Nothing is kept in both places.
`sequence` is the order of insertion and the tie-break of every listing; `id` is what clients know.
The SQL here is what SQLite and PostgreSQL share. The migrations must lead to exactly these tables;
tests/store/test_migrations.py holds them to it.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.schema import SchemaItem

# Named by rule, because SQLite cannot alter a constraint that has no name.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts by itself only in a column that is declared INTEGER.
_BIG = BigInteger().with_variant(Integer, "sqlite")
_JSON = JSON(none_as_null=True)


def _sequence() -> Column[int]:
    return Column("sequence", _BIG, primary_key=True, autoincrement=True)


def _id() -> Column[str]:
    return Column("id", String(64), nullable=False, unique=True)


def _table(name: str, *columns: SchemaItem) -> Table:
    # Without AUTOINCREMENT SQLite would give a deleted row's sequence to a later one.
    return Table(name, metadata, *columns, sqlite_autoincrement=True)


keys = _table(
    "keys",
    _sequence(),
    _id(),
    Column("organization_id", String, nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
    Column("record", _JSON, nullable=False),
)

files = _table(
    "files",
    _sequence(),
    _id(),
    Column("organization_id", String, nullable=False),
    Column("purpose", String, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, index=True),
    Column("blob_id", String(64), nullable=False, index=True),
    Column("record", _JSON, nullable=False),
    Index(None, "organization_id", "created_at", "sequence"),
)

uploads = _table(
    "uploads",
    _sequence(),
    _id(),
    Column("organization_id", String, nullable=False),
    Column("status", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
    Column("record", _JSON, nullable=False),
    Index(None, "organization_id", "status"),
)

upload_parts = _table(
    "upload_parts",
    _sequence(),
    _id(),
    Column("upload_id", ForeignKey(uploads.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("bytes", _BIG, nullable=False),
    Column("blob_id", String(64), nullable=False, index=True),
    Column("record", _JSON, nullable=False),
)

containers = _table(
    "containers",
    _sequence(),
    _id(),
    Column("organization_id", String, nullable=False),
    Column("name", String, nullable=False),
    Column("status", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("last_active_at", Double, nullable=False),
    Column("expires_after_minutes", Integer, nullable=False),
    Column("record", _JSON, nullable=False),
    Index(None, "organization_id", "created_at", "sequence"),
    Index(None, "status", "last_active_at"),
)

container_files = _table(
    "container_files",
    _sequence(),
    _id(),
    Column("container_id", ForeignKey(containers.c.id, ondelete="CASCADE"), nullable=False),
    Column("path", String, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("blob_id", String(64), nullable=False, index=True),
    Column("record", _JSON, nullable=False),
    UniqueConstraint("container_id", "path"),
    Index(None, "container_id", "created_at", "sequence"),
)

runs = _table(
    "runs",
    _sequence(),
    _id(),
    # These three repeat what stands inside `request`, which never changes, to be looked up.
    Column("organization_id", String, nullable=False),
    Column("previous_run_id", String),
    Column("stored", Boolean, nullable=False),
    Column("status", String(16), nullable=False, index=True),
    Column("created_at", Double, nullable=False),
    Column("completed_at", Double),
    Column("container_id", String(64)),
    Column("request", _JSON, nullable=False),
    Column("usage", _JSON),
    Column("error", _JSON),
    Column("incomplete_reason", String(32)),
    Index(None, "organization_id", "created_at", "sequence"),
)

run_items = Table(
    "run_items",
    metadata,
    Column("run_id", ForeignKey(runs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("direction", String(8), primary_key=True),
    Column("position", Integer, primary_key=True),
    # Not unique: a client may send one item twice.
    Column("item_id", String, nullable=False),
    Column("item", _JSON, nullable=False),
    Index(None, "item_id", "run_id"),
)

conversations = _table(
    "conversations",
    _sequence(),
    _id(),
    Column("organization_id", String, nullable=False),
    Column("created_at", Double, nullable=False),
    # Where the next item goes: a place is never used twice, not even that of a deleted item.
    Column("next_position", Integer, nullable=False),
    Column("record", _JSON, nullable=False),
)

conversation_items = Table(
    "conversation_items",
    metadata,
    Column("conversation_id", ForeignKey(conversations.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("item_id", String, nullable=False),
    Column("item", _JSON, nullable=False),
    # The id first: an item is also looked up by nothing but it.
    UniqueConstraint("item_id", "conversation_id"),
)

# One row for each run in a conversation. It outlives the run's own, hence no foreign key.
conversation_turns = _table(
    "conversation_turns",
    _sequence(),
    Column("run_id", String(64), nullable=False, unique=True),
    Column(
        "conversation_id",
        ForeignKey(conversations.c.id, ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    # The items it added: from the first position to before the second, which its end sets.
    Column("first_position", Integer, nullable=False),
    Column("end_position", Integer),
    Column("container_id", String(64)),
    Column("file_ids", _JSON, nullable=False),
)

# A stream is a run's, or anything else's that is replayed: hence no foreign key.
events = Table(
    "events",
    metadata,
    Column("stream_id", String(64), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("event", _JSON, nullable=False),
)
