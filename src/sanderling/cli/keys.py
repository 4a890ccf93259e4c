"""`sanderling keys`: who may use a server that others can reach."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import click

from sanderling.cli.options import takes_settings
from sanderling.errors import SetupError
from sanderling.records import ApiKey
from sanderling.settings import Settings

if TYPE_CHECKING:
    from sanderling.store.store import Store

T = TypeVar("T")


@click.group(
    epilog="""\b
Examples:
  sanderling keys create laptop
  sanderling keys create ci --organization org_build
  sanderling keys list
  sanderling keys revoke key_0123456789abcdef01234567
"""
)
def keys() -> None:
    """
    Create, list and revoke API keys.

    Without any key the server is open, and listens on loopback only. A running server heeds a
    change at once.
    """


@keys.command("create", short_help="Create a key and print it, once.")
@click.argument("name")
@click.option(
    "--organization",
    default="org_default",
    show_default=True,
    help="Organization the key belongs to; organizations do not see each other's objects.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@takes_settings("data")
def create(settings: Settings, name: str, organization: str, as_json: bool) -> None:
    """Create a key called NAME and print it; it cannot be shown again."""
    if not name.strip():
        raise click.UsageError("Give the key a name that tells you later whose it is.")
    from sanderling.store.keys import new_key

    plaintext, key = new_key(name, organization, now=time.time())

    async def insert(store: Store) -> None:
        await store.keys.insert(key)

    _with_store(settings, insert)
    if as_json:
        click.echo(json.dumps({**_as_dict(key), "key": plaintext}))
    else:
        click.echo(plaintext)
        click.echo(f"Keep it: only its digest is stored. Its id is {key.id}.", err=True)


@keys.command("list", short_help="List the keys.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@takes_settings("data")
def list_keys(settings: Settings, as_json: bool) -> None:
    """List the keys: id, organization, name, hint, creation, and whether revoked."""

    async def read(store: Store) -> list[ApiKey]:
        return await store.keys.all()

    found = _with_store(settings, read)
    if as_json:
        click.echo(json.dumps([_as_dict(key) for key in found]))
        return
    for key in found:
        created = datetime.fromtimestamp(key.created_at, UTC).strftime("%Y-%m-%d %H:%M")
        state = "" if key.revoked_at is None else "  revoked"
        click.echo(f"{key.id}  {key.organization_id}  {key.name}  {key.hint}  {created} UTC{state}")
    if not found:
        click.echo("There are no keys: the server is open, on loopback only.", err=True)


@keys.command("revoke", short_help="Refuse a key from now on.")
@click.argument("key_id")
@takes_settings("data")
def revoke(settings: Settings, key_id: str) -> None:
    """Revoke the key KEY_ID: requests with it are refused from now on."""

    async def end(store: Store) -> bool:
        return await store.keys.revoke(key_id)

    if not _with_store(settings, end):
        raise SetupError(f"There is no key {key_id}; `sanderling keys list` shows those there are.")
    click.echo(f"Revoked {key_id}.", err=True)


def _as_dict(key: ApiKey) -> dict[str, str | float | None]:
    return {
        "id": key.id,
        "organization_id": key.organization_id,
        "name": key.name,
        "hint": key.hint,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }


def _with_store(settings: Settings, use: Callable[[Store], Awaitable[T]]) -> T:
    # Imported here: the database's libraries take half a second, and every command imports this.
    from sanderling.store.store import Store

    async def run() -> T:
        store = await Store.open(settings.data)
        try:
            return await use(store)
        finally:
            await store.close()

    return asyncio.run(run())
