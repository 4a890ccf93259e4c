from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import click
import pytest

from sanderling.cli.main import group
from tests.cli.live import clean_environ, sanderling


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path]
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            found += _commands(child, (*path, name))
    return found


@pytest.mark.parametrize("path", _commands(group), ids=lambda path: " ".join(path) or "sanderling")
def test_every_command_has_help(path: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        group(args=[*path, "--help"])

    assert ended.value.code == 0


@pytest.mark.parametrize("name", sorted(group.commands))
def test_every_commands_help_has_examples(name: str) -> None:
    assert "Examples:\n" in (group.commands[name].epilog or "")


def test_the_version_is_the_packages() -> None:
    result = sanderling("--version")

    assert (result.returncode, result.stdout) == (
        0,
        f"sanderling {metadata.version('sanderling')}\n",
    )


def test_an_unknown_command_is_a_usage_error() -> None:
    result = sanderling("dance")

    assert result.returncode == 2
    assert result.stdout == ""
    assert "dance" in result.stderr


def test_a_reader_that_leaves_is_no_traceback() -> None:
    command = f"{sys.executable} -m sanderling settings | head -1"
    result = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, env=clean_environ(), check=False
    )

    assert result.stdout == "# Address to listen on.\n"
    assert result.stderr == ""


def test_a_full_disk_below_standard_output_is_one_sentence() -> None:
    command = f"{sys.executable} -m sanderling settings > /dev/full"
    result = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, env=clean_environ(), check=False
    )

    assert result.returncode == 1
    assert result.stderr == "The output cannot be written: No space left on device.\n"
