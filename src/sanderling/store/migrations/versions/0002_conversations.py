"""Conversations: what was said in each, and which runs were made in it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _conversations()
    _conversation_items()
    _conversation_turns()


def _sequence() -> sa.Column[int]:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("sequence", big, autoincrement=True, nullable=False)


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(none_as_null=True), nullable=False)


def _conversations() -> None:
    op.create_table(
        "conversations",
        _sequence(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("next_position", sa.Integer(), nullable=False),
        _json("record"),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_conversations")),
        sa.UniqueConstraint("id", name=op.f("uq_conversations_id")),
        sqlite_autoincrement=True,
    )


def _conversation_items() -> None:
    op.create_table(
        "conversation_items",
        sa.Column("conversation_id", sa.String(64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.String(), nullable=False),
        _json("item"),
        sa.PrimaryKeyConstraint("conversation_id", "position", name=op.f("pk_conversation_items")),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("fk_conversation_items_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint(
            "item_id",
            "conversation_id",
            name=op.f("uq_conversation_items_item_id_conversation_id"),
        ),
    )


def _conversation_turns() -> None:
    op.create_table(
        "conversation_turns",
        _sequence(),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("conversation_id", sa.String(64), nullable=False),
        sa.Column("first_position", sa.Integer(), nullable=False),
        sa.Column("end_position", sa.Integer(), nullable=True),
        sa.Column("container_id", sa.String(64), nullable=True),
        _json("file_ids"),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_conversation_turns")),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("fk_conversation_turns_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint("run_id", name=op.f("uq_conversation_turns_run_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_conversation_turns_conversation_id"), "conversation_turns", ["conversation_id"]
    )
