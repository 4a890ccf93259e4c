"""`sanderling serve` and `sanderling settings`: the server, and what it would run with."""

from __future__ import annotations

import asyncio
import sys

import click

from sanderling.cli.doctor import what_is_missing
from sanderling.cli.options import as_toml, takes_settings
from sanderling.errors import MachineUnfit, SetupError
from sanderling.settings import Settings


@click.command(
    epilog="""\b
Examples:
  sanderling serve
  sanderling serve --port 9000 --model-url http://127.0.0.1:8080/v1
  sanderling serve --config sanderling.toml
  sanderling keys create laptop && sanderling serve --host 0.0.0.0

The model server's key is read from SANDERLING_MODEL_KEY, else from OPENAI_API_KEY: a key on a
command line can be seen by every user of the machine.
"""
)
@takes_settings()
@click.option("--print-settings", is_flag=True, help="Print the settings that hold, and exit.")
@click.option(
    "--until-stdin-closes",
    is_flag=True,
    help="Stop when standard input closes; for a program that starts a server of its own.",
)
def serve(settings: Settings, print_settings: bool, until_stdin_closes: bool) -> None:
    """
    Serve the OpenAI API under /v1 until SIGTERM or Ctrl-C.

    Prints one line on standard output when it is ready; log lines go to standard error.
    """
    if print_settings:
        click.echo(as_toml(settings), nl=False)
        return
    # Imported here: the server's parts take half a second that no other command should wait for.
    from sanderling.cli.serving import run_server

    try:
        asyncio.run(run_server(settings, announce=_announce, until_stdin_closes=until_stdin_closes))
    except MachineUnfit as error:
        told = [error.message, what_is_missing(settings.env)]
        raise SetupError("\n".join(filter(None, told))) from error


def _announce(url: str) -> None:
    click.echo(f"Sanderling is listening on {url}")
    sys.stdout.flush()


@click.command(
    "settings",
    short_help="Print every setting, its value and its reason.",
    epilog="""\b
Examples:
  sanderling settings > sanderling.toml
  sanderling settings --port 9000
  SANDERLING_MAX_TURNS=5 sanderling settings
""",
)
@takes_settings()
def settings_command(settings: Settings) -> None:
    """Print every setting, its value and its reason, as a file that --config takes."""
    click.echo(as_toml(settings), nl=False)
