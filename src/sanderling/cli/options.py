"""
Command-line flags made from the settings table, and the settings they add up to.

Every field of `settings.Settings` becomes one flag with the same name, help and reading, so a
setting never has to be written twice. Values stay text until `settings.load` reads them: a flag,
a variable and a line in the file are refused with the same sentence.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from sanderling import settings as settings_module
from sanderling.settings import Settings

FIELDS = {field.name: field for field in dataclasses.fields(Settings)}


def takes_settings(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """
    Give a command the flags of the named settings (all when none is named) and `--config`.

    The command receives one argument for them all: `settings`, with flags, environment, file and
    defaults already put together.
    """
    chosen = names or tuple(FIELDS)

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_settings(**given: Any) -> Any:
            flags = {name: given.pop(name) for name in chosen}
            config = given.pop("config")
            return command(settings=settings_module.load(flags, config=config), **given)

        wrapped: Callable[..., Any] = click.option(
            "--config",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Settings file (TOML); `sanderling settings` prints one.",
        )(with_settings)
        for name in reversed(chosen):
            wrapped = _flag(FIELDS[name])(wrapped)
        return wrapped

    return decorate


def _flag(field: dataclasses.Field[Any]) -> Callable[..., Any]:
    name = "--" + field.name.replace("_", "-")
    kind: str = field.metadata["kind"]
    help = f"{field.metadata['help']}  [{_default_note(field)}]"
    if kind == "bool":
        return click.option(f"{name}/--no-{name[2:]}", default=None, help=help)
    if kind.startswith("choice:"):
        choices = click.Choice(kind.removeprefix("choice:").split("|"))
        return click.option(name, type=choices, default=None, help=help)
    metavar = {"path": "PATH", "size": "SIZE", "time": "TIME"}.get(kind, "N")
    return click.option(
        name, metavar="TEXT" if kind == "text" else metavar, default=None, help=help
    )


def _default_note(field: dataclasses.Field[Any]) -> str:
    default = default_of(field)
    variable = settings_module.environment_name(field.name)
    return variable if default is None else f"{variable}; default: {shown(field, default)}"


def default_of(field: dataclasses.Field[Any]) -> Any:
    """Return what the setting is when nobody says otherwise."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def shown(field: dataclasses.Field[Any], value: Any) -> str:
    """Return `value` the way a person would type it: `1m`, `60s`, `true`."""
    match field.metadata["kind"]:
        case "size":
            return _with_unit(int(value), (("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10)))
        case "time":
            seconds = float(value)
            whole = seconds == int(seconds)
            return f"{int(seconds)}s" if whole else f"{int(seconds * 1000)}ms"
        case "bool":
            return "true" if value else "false"
    return str(value)


def _with_unit(value: int, units: tuple[tuple[str, int], ...]) -> str:
    for unit, factor in units:
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return str(value)


def as_toml(settings: Settings) -> str:
    """Return the settings as a file that `--config` takes, each with its help and its reason."""
    lines: list[str] = []
    for field in FIELDS.values():
        value = getattr(settings, field.name)
        lines += [f"# {field.metadata['help']}", f"# Why: {field.metadata['why']}"]
        match value:
            case None:
                lines.append(f"# {field.name} = ")
            case bool():
                lines.append(f"{field.name} = {str(value).lower()}")
            case _ if field.metadata["kind"] == "int":
                lines.append(f"{field.name} = {value}")
            case _:
                lines.append(f"{field.name} = {_toml_string(shown(field, value))}")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _toml_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c >= " " else f"\\u{ord(c):04x}" for c in escaped) + '"'
