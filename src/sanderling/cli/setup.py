"""`sanderling setup`: builds the guest environment, the packages the model's code may import."""

from __future__ import annotations

from pathlib import Path

import click

from sanderling.cli.terminal import counted
from sanderling.environments import lock


@click.command(
    short_help="Build the guest environment: numpy, pandas and the rest.",
    epilog="""\b
Examples:
  sanderling setup
  sanderling setup --env /opt/sanderling-env && sanderling serve --env /opt/sanderling-env
  sanderling setup --python /usr/bin/python3.12
  sanderling setup --profile full
""",
)
@click.option(
    "--python",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Python to build it on.  [default: the one that runs Sanderling]",
)
@click.option(
    "--env",
    envvar="SANDERLING_ENV",
    show_envvar=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to build it in.  [default: where `serve` looks for it]",
)
@click.option(
    "--profile",
    type=click.Choice(lock.PROFILES),
    help="Which packages: the usual, all, or those of 2025.  [default: as it is, else default]",
)
def setup(python: Path | None, env: Path | None, profile: str | None) -> None:
    """
    Build the guest environment: numpy, pandas, matplotlib and the rest, pinned and hashed.

    Takes one or two minutes and 2.5 GB the first time; the second time it says so and is done.
    `--profile full` adds what is large or rare; `classic` is pandas 1.5 and its time.
    """
    # Imported here: only this command needs the builder.
    from sanderling.environments import builder, locate

    target = locate.default_env_dir() if env is None else env
    built = builder.build(target, python, lambda line: click.echo(line, err=True), profile=profile)
    packages = counted(len(built.packages), "package")
    click.echo(f"{built.path} (Python {built.python_version}, {packages})")
