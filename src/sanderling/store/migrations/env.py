"""Run by Alembic for each command: takes the connection that `migrations.run_steps` put there."""

from __future__ import annotations

from alembic import context

from sanderling.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
