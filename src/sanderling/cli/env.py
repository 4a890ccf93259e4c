"""`sanderling env`: named guest environments, each with packages of its own."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sanderling.cli.options import takes_settings
from sanderling.cli.terminal import counted
from sanderling.settings import Settings

if TYPE_CHECKING:
    from sanderling.environments.catalog import Named

_MIB = 1 << 20


@click.group(
    epilog="""\b
Examples:
  sanderling env create geo -r requirements.txt
  sanderling env create old --bare -r old.txt --python /usr/bin/python3.11
  sanderling env create text -r text.txt --preload "nltk, spacy"
  sanderling env list
  sanderling env measure geo
  sanderling env remove geo

\b
A container is given one when it is made: "environment": "geo" in POST /v1/containers, or in the
container of the code_interpreter tool; `exec` and `ask` take --environment.
"""
)
def env() -> None:
    """Make, list, show and remove environments: packages of your own for the model's code."""


@env.command("create", short_help="Build an environment from a requirements file.")
@click.argument("name")
@click.option(
    "-r",
    "--requirements",
    "path",
    metavar="PATH",
    required=True,
    type=click.Path(path_type=Path),
    help="Packages to install, one a line, as for pip.",
)
@click.option(
    "--python",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Python to build it on.  [default: the one that runs Sanderling]",
)
@click.option(
    "--preload",
    "modules",
    metavar="MODULES",
    help="Modules to load once, before any box is made: names with commas between, or none.  "
    "[default: those of the usual list that are there]",
)
@click.option("--bare", "is_bare", is_flag=True, help="Leave the default packages out.")
@click.option("--replace", "may_replace", is_flag=True, help="Replace an environment of that name.")
@click.option("--upgrade", "is_upgrade", is_flag=True, help="With --replace: take newer versions.")
@click.option("--force", "is_forced", is_flag=True, help="With --replace: even if boxes use it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@takes_settings("environments")
def create(
    settings: Settings,
    name: str,
    path: Path,
    python: Path | None,
    modules: str | None,
    is_bare: bool,
    may_replace: bool,
    is_upgrade: bool,
    is_forced: bool,
    as_json: bool,
) -> None:
    """
    Build the environment NAME: the default packages, and those of the requirements file.

    Versions are resolved once and kept with hashes, so that the same can be built again; only
    ready-made packages (wheels) are installed. An interrupted build is taken up by the same
    command.
    """
    from sanderling.environments import making, requirements
    from sanderling.environments.catalog import Catalog, check_name

    check_name(name)
    there = Catalog(settings.environments_folder)
    if (is_upgrade or is_forced) and not may_replace and there.has(name):
        flag = "--upgrade" if is_upgrade else "--force"
        raise click.UsageError(
            f"There is an environment {name!r} already, and {flag} alone does not replace it; "
            f"say --replace {flag}."
        )
    wish = making.Wish(
        name=name,
        requirements=requirements.read(path),
        python=python,
        preload=modules,
        is_bare=is_bare,
        is_upgrade=is_upgrade,
    )
    made = making.make(
        wish,
        there,
        lambda line: click.echo(line, err=True),
        may_replace=may_replace,
        is_forced=is_forced,
    )
    if as_json:
        click.echo(json.dumps(_as_dict(made)))
    else:
        click.echo(_summary(made))


@env.command("list", short_help="List the environments.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@takes_settings("env", "environments", "preload")
def list_environments(settings: Settings, as_json: bool) -> None:
    """
    List the environments: name, Python, packages, size, and when each was built.

    The default one comes first.
    """
    from sanderling.environments.catalog import DEFAULT, Catalog
    from sanderling.errors import SetupError

    found = Catalog(settings.environments_folder).all()
    try:
        found.insert(0, _default(settings))
    except SetupError as error:
        click.echo(f"{DEFAULT}  {error.message}", err=True)
    if as_json:
        click.echo(json.dumps([_as_dict(named) for named in found]))
        return
    for named in found:
        click.echo(_summary(named))


@env.command("show", short_help="Say what an environment holds and how it was built.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@takes_settings("env", "environments", "preload")
def show(settings: Settings, name: str, as_json: bool) -> None:
    """
    Say what the environment NAME holds: packages with versions, preload, requirements.

    NAME may be default.
    """
    from sanderling.environments.catalog import DEFAULT, Catalog

    is_default = name == DEFAULT
    named = _default(settings) if is_default else Catalog(settings.environments_folder).get(name)
    if as_json:
        click.echo(json.dumps({**_as_dict(named), **_contents(named)}))
        return
    click.echo(_summary(named))
    contents = _contents(named)
    click.echo(f"\nfolder    {contents['path']}")
    click.echo(f"preload   {contents['preload'] or 'the usual list'}")
    if not is_default:
        built_on = "the requirements alone" if named.record.is_bare else "the defaults"
        click.echo(f"built on  {built_on}")
    click.echo("\nrequirements")
    for line in named.record.requirements.splitlines():
        click.echo(f"  {line}")
    click.echo("\npackages")
    for package, version in contents["packages"].items():
        click.echo(f"  {package} {version}")


@env.command("remove", short_help="Remove an environment that no box uses.")
@click.argument("name")
@click.option("--force", "is_forced", is_flag=True, help="Remove it even if boxes use it.")
@takes_settings("environments")
def remove(settings: Settings, name: str, is_forced: bool) -> None:
    """Remove the environment NAME; containers that were made with it cannot run code any more."""
    from sanderling.environments.catalog import Catalog

    Catalog(settings.environments_folder).remove(
        name, is_forced=is_forced, progress=lambda line: click.echo(line, err=True)
    )
    click.echo(f"Removed {name}.", err=True)


@env.command("measure", short_help="Load what is preloaded, and say what it costs.")
@click.argument("name", default="default")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@takes_settings("env", "environments", "preload")
def measure(settings: Settings, name: str, as_json: bool) -> None:
    """
    Load what is preloaded in the environment NAME, and say what it costs in time and memory.

    The modules are loaded once for each environment in use, and shared by its boxes; what a box
    has for itself is in the last line.
    """
    import asyncio

    from sanderling.cli import measuring
    from sanderling.observe import logs

    logs.configure("error")  # whatever else is wrong is in the one sentence of the refusal
    measured = asyncio.run(measuring.measure(settings, name))
    if as_json:
        click.echo(json.dumps(measured.as_dict()))
    else:
        measuring.show(measured, sys.stdout)


def _default(settings: Settings) -> Named:
    """
    Return the default environment, in the words of a named one.

    Raises:
        SetupError: there is none; says what to run.
    """
    from sanderling.environments import environment, locate, lock, making, preloads
    from sanderling.environments.catalog import DEFAULT, Named, Record

    found = locate.find(settings.env)
    profile = environment.profile_in(found.path)
    is_ours = profile in lock.PROFILES
    stamp = found.path / environment.STAMP_NAME
    record = Record(
        name=DEFAULT,
        requirements=lock.requirements_of(profile).read_text() if profile and is_ours else "",
        is_bare=False,
        preload=None if settings.preload == preloads.DEFAULT else settings.preload,
        digest=found.lock_digest or "",
        built_at=(stamp if is_ours else found.path).stat().st_mtime,
        bytes=making.size_of(found.path),
    )
    return Named(record, found)


def _summary(named: Named) -> str:
    built = datetime.fromtimestamp(named.record.built_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    size = f"{named.record.bytes / _MIB:,.0f} MiB"
    if named.environment is None:
        return f"{named.record.name}  its Python is gone; build it anew with --replace  {built}"
    packages = counted(len(named.environment.packages), "package")
    python = named.environment.python_version
    return f"{named.record.name}  Python {python}  {packages}  {size}  {built}"


def _as_dict(named: Named) -> dict[str, Any]:
    found = named.environment
    return {
        "name": named.record.name,
        "python": None if found is None else found.python_version,
        "packages": 0 if found is None else len(found.packages),
        "bytes": named.record.bytes,
        "built_at": named.record.built_at,
        "bare": named.record.is_bare,
        "preload": named.record.preload,
    }


def _contents(named: Named) -> dict[str, Any]:
    found = named.environment
    return {
        "path": None if found is None else str(found.path),
        "packages": {} if found is None else dict(sorted(found.packages.items())),
        "preload": named.record.preload,
        "requirements": named.record.requirements,
    }
