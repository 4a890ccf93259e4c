"""The first schema: keys, files, containers and their files, runs and their items, events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _keys()
    _files()
    _containers()
    _container_files()
    _runs()
    _run_items()
    _events()


def _sequence() -> sa.Column[int]:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("sequence", big, autoincrement=True, nullable=False)


def _json(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(none_as_null=True), nullable=nullable)


def _keys() -> None:
    op.create_table(
        "keys",
        _sequence(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        _json("record"),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_keys")),
        sa.UniqueConstraint("id", name=op.f("uq_keys_id")),
        sa.UniqueConstraint("digest", name=op.f("uq_keys_digest")),
        sqlite_autoincrement=True,
    )


def _files() -> None:
    op.create_table(
        "files",
        _sequence(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("blob_id", sa.String(64), nullable=False),
        _json("record"),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_files")),
        sa.UniqueConstraint("id", name=op.f("uq_files_id")),
        sqlite_autoincrement=True,
    )
    _index("files", "organization_id", "created_at", "sequence")
    _index("files", "blob_id")
    _index("files", "expires_at")


def _containers() -> None:
    op.create_table(
        "containers",
        _sequence(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("last_active_at", sa.Double(), nullable=False),
        sa.Column("expires_after_minutes", sa.Integer(), nullable=False),
        _json("record"),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_containers")),
        sa.UniqueConstraint("id", name=op.f("uq_containers_id")),
        sqlite_autoincrement=True,
    )
    _index("containers", "organization_id", "created_at", "sequence")
    _index("containers", "status", "last_active_at")


def _container_files() -> None:
    op.create_table(
        "container_files",
        _sequence(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("container_id", sa.String(64), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("blob_id", sa.String(64), nullable=False),
        _json("record"),
        sa.ForeignKeyConstraint(
            ["container_id"],
            ["containers.id"],
            name=op.f("fk_container_files_container_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_container_files")),
        sa.UniqueConstraint("id", name=op.f("uq_container_files_id")),
        sa.UniqueConstraint(
            "container_id", "path", name=op.f("uq_container_files_container_id_path")
        ),
        sqlite_autoincrement=True,
    )
    _index("container_files", "container_id", "created_at", "sequence")
    _index("container_files", "blob_id")


def _runs() -> None:
    op.create_table(
        "runs",
        _sequence(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("previous_run_id", sa.String(), nullable=True),
        sa.Column("stored", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("completed_at", sa.Double(), nullable=True),
        sa.Column("container_id", sa.String(64), nullable=True),
        _json("request"),
        _json("usage", nullable=True),
        _json("error", nullable=True),
        sa.Column("incomplete_reason", sa.String(32), nullable=True),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_runs")),
        sa.UniqueConstraint("id", name=op.f("uq_runs_id")),
        sqlite_autoincrement=True,
    )
    _index("runs", "organization_id", "created_at", "sequence")
    _index("runs", "status")


def _run_items() -> None:
    op.create_table(
        "run_items",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("direction", sa.String(8), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.String(), nullable=False),
        _json("item"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_run_items_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "direction", "position", name=op.f("pk_run_items")),
    )
    _index("run_items", "item_id", "run_id")


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("stream_id", sa.String(64), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        _json("event"),
        sa.PrimaryKeyConstraint("stream_id", "seq", name=op.f("pk_events")),
    )


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))
