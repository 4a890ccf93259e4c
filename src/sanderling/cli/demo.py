"""`sanderling demo`: a server, the offline model, and the questions of `scenes.py`, end to end."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click

from sanderling.cli.options import takes_settings
from sanderling.settings import Settings


@click.command(
    short_help="See it work: a server, a dozen questions, the official SDK.",
    epilog="""\b
Examples:
  sanderling demo
  sanderling demo --out /tmp/pictures
""",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="Folder for the charts and files that are made; nothing is overwritten.",
)
@takes_settings("env")
def demo(settings: Settings, out: Path) -> int:
    """
    Start a server, ask it a dozen questions with the official SDK, and show everything.

    Needs no key, no model and no network. Exits with 1 if an answer is not the right one.
    """
    # Imported here: the SDK takes half a second that --help should not.
    from sanderling.cli import embedded, performance, saving

    saving.prepare_folder(out)
    # The demo is of the offline model, whatever this shell is set up for.
    environ = {n: v for n, v in os.environ.items() if not n.startswith("SANDERLING_MODEL_")}
    arguments = [] if settings.env is None else ["--env", os.fspath(settings.env)]
    with embedded.own_server(arguments, environ=environ) as base_url:
        return asyncio.run(performance.perform(base_url, out))
