from __future__ import annotations

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text

from sanderling.store import migrations
from sanderling.store.database import MEMORY, Database
from sanderling.store.tables import metadata


async def test_the_migrated_schema_is_exactly_the_tables():
    database = await Database.open(MEMORY)

    def differences(connection):
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        return compare_metadata(context, metadata)

    found = await database.read(differences)
    await database.close()

    assert found == []


async def test_the_migrated_schema_has_the_keys_and_constraints_of_the_tables():
    """compare_metadata does not look at primary keys, nor at what a deletion takes along."""

    def constraints(inspector):
        return {
            name: (
                inspector.get_pk_constraint(name),
                sorted(inspector.get_foreign_keys(name), key=str),
                sorted(inspector.get_unique_constraints(name), key=str),
                sorted(inspector.get_indexes(name), key=str),
                {c["name"]: (str(c["type"]), c["nullable"]) for c in inspector.get_columns(name)},
            )
            for name in metadata.tables
        }

    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    wanted = constraints(inspect(engine))
    engine.dispose()
    database = await Database.open(MEMORY)

    def read(connection):
        return constraints(inspect(connection))

    found = await database.read(read)
    await database.close()

    assert found == wanted


async def test_opening_again_changes_nothing_and_keeps_the_rows(tmp_path):
    insert = text("INSERT INTO events (stream_id, seq, event) VALUES ('s', 0, '{}')")
    for expected in (0, 1):
        database = await Database.open(tmp_path / "a.db")
        rows = await database.read(lambda c: c.execute(text("SELECT * FROM events")).all())
        assert len(rows) == expected
        if expected == 0:
            await database.write(lambda c: c.execute(insert))
        await database.close()


async def test_foreign_keys_are_on_after_the_migration():
    database = await Database.open(MEMORY)
    state = await database.read(lambda c: c.execute(text("PRAGMA foreign_keys")).scalar())
    await database.close()

    assert state == 1


def test_the_steps_form_one_line_from_nothing_to_head():
    script = ScriptDirectory(str(Path(migrations.__file__).parent))

    assert script.get_bases() == ["0001"]
    assert len(script.get_heads()) == 1
