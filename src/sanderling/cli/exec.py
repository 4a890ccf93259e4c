"""`sanderling exec`: Python in a box, with no model."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from sanderling.cli.options import takes_settings
from sanderling.errors import SanderlingError
from sanderling.records import MEMORY_TIER_BYTES
from sanderling.settings import Settings, parse_time

# As `docker run` and `timeout` do: the program was not run, through no fault of its own.
EXIT_NOT_RUN = 125


class Seconds(click.ParamType[float]):
    """A length of time on the command line: `90`, `20m`, `500ms`."""

    name = "time"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        try:
            return parse_time(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(
    "exec",
    short_help="Run Python code in a sealed box, with no model.",
    epilog="""\b
Examples:
  sanderling exec script.py
  sanderling exec -c 'import numpy; numpy.arange(6).reshape(2, 3)'
  echo 'print(6 * 7)' | sanderling exec -
  sanderling exec plot.py --file sales.csv --out charts
  sanderling exec map.py --environment geo
  sanderling exec -c 'while True: pass' --timeout 2s; echo $?

\b
Exit codes: 0 the code ended; 1 it raised an exception or its process died; 124 it ran longer than
--timeout; 137 it needed more memory than --memory-limit; 130 interrupted; 125 it could not be run;
2 the command line could not be understood.
""",
)
@click.argument("script", required=False, type=click.Path())
@click.option("-c", "code", metavar="CODE", help="Run this code instead of a file.")
@click.option(
    "--file",
    "files",
    metavar="PATH",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
    help="Put a file into /mnt/data, under its own name; may be given more than once.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("."),
    show_default="the current folder",
    help="Folder for the files and pictures the code makes; nothing is overwritten.",
)
@click.option("--timeout", type=Seconds(), metavar="TIME", help="Wall-clock limit.  [default: 60s]")
@click.option(
    "--memory-limit",
    type=click.Choice(list(MEMORY_TIER_BYTES)),
    default="1g",
    show_default=True,
    help="Memory the code may use.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object when it is over.")
@click.option(
    "--base-url",
    envvar="SANDERLING_BASE_URL",
    show_envvar=True,
    help="Run it in a container of this Sanderling server, not on this machine.",
)
@click.option(
    "--api-key", envvar="SANDERLING_API_KEY", show_envvar=True, help="Key for --base-url."
)
@takes_settings(
    "env", "environment", "environments", "preload", "box_disk_bytes", "logs_bytes_max", "isolation"
)
def exec_command(
    settings: Settings,
    script: str | None,
    code: str | None,
    files: tuple[Path, ...],
    out: Path,
    timeout: float | None,
    memory_limit: str,
    as_json: bool,
    base_url: str | None,
    api_key: str | None,
) -> int:
    """
    Run Python code in a sealed box: SCRIPT, -c CODE, or standard input (-).

    What it prints comes out as it prints it; the value of the last line is shown; files it makes
    in /mnt/data, its working folder, are saved.
    """
    source = _source(script, code)
    # Imported here, and below: the sandbox and the SDK each take time that the other case, and
    # --help, should not.
    from sanderling.cli import execution, report
    from sanderling.observe import logs

    logs.configure("error")  # whatever else is wrong is in the one sentence of the refusal
    job = execution.Job(
        code=source,
        files=files,
        timeout_s=settings.execution_timeout_s if timeout is None else timeout,
        memory_limit=memory_limit,
    )
    shown = report.Json() if as_json else report.Live()
    try:
        if base_url is not None:
            from sanderling.cli.remote_container import on_server

            place = on_server(base_url, api_key, memory_limit, settings.environment)
        else:
            from sanderling.cli.local_box import on_this_machine

            place = on_this_machine(settings)
        return asyncio.run(execution.perform(place, job, shown, out))
    except SanderlingError as error:
        click.echo(error.message, err=True)
        return EXIT_NOT_RUN


def _source(script: str | None, code: str | None) -> str:
    if (script is None) == (code is None):
        raise click.UsageError("Give the code one way: a script, -c CODE, or - for standard input.")
    if code is not None:
        return code
    assert script is not None
    try:
        text = sys.stdin.buffer.read() if script == "-" else Path(script).read_bytes()
    except OSError as error:
        raise click.UsageError(f"{script} cannot be read: {error.strerror}.") from error
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{script} is not UTF-8 text: {error}.") from error
