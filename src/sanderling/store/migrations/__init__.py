"""
Brings a database to the schema of this version.

The steps are in `versions/`, one file each, run by Alembic in one transaction: a database is
either as it was or at the newest schema. To change the schema, change `tables.py` and write the
next step; a test asserts that the steps lead to exactly those tables. No `alembic.ini`: the
configuration is made here, and the steps are found inside the installed package.
"""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine


def upgrade(engine: Engine) -> None:
    """
    Run the steps that the database has not seen yet.

    Raises:
        alembic.util.CommandError: the database was at a step this version does not know.
        sqlalchemy.exc.DBAPIError: the database failed; nothing was changed.
    """
    with engine.connect() as connection:
        # SQLite alters a table by replacing it, and with its foreign keys on the drop of the old
        # one would delete every row that refers to it. Off only outside of a transaction.
        _foreign_keys(connection, "OFF")
        with connection.begin():
            run_steps(connection)
        _foreign_keys(connection, "ON")


def _foreign_keys(connection: Connection, state: str) -> None:
    if connection.dialect.name == "sqlite":
        driver = connection.connection.dbapi_connection
        assert driver is not None, "the pool gave a closed connection"
        driver.cursor().execute(f"PRAGMA foreign_keys={state}")


def run_steps(connection: Connection, *, revision: str = "head") -> None:
    """Run the steps up to `revision` within the transaction that `connection` is in."""
    config = Config()
    config.set_main_option("script_location", "sanderling.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
