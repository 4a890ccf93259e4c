"""Documents lead where they say, and commands in them are taken."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sanderling.cli import ask, serve
from sanderling.settings import Settings

TOP = Path(__file__).parents[1]
PAGES = sorted([*TOP.glob("*.md"), *TOP.glob("docs/**/*.md"), TOP / "examples" / "README.md"])
MODEL_SERVERS = (TOP / "docs" / "model-servers.md").read_text()
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_VARIABLES = re.compile(r"^(?:[A-Z_]+=\S+ )*")


def anchors(page: Path) -> set[str]:
    """Return what the headings of a page are linked by."""
    titles = re.findall(r"^#+ (.+)$", _BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_links_lead_somewhere(page: Path) -> None:
    text = _BLOCK.sub("", page.read_text())
    broken = []
    for link in _LINK.findall(text):
        path, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


def commands(name: str) -> list[list[str]]:
    """Return the arguments of each command of ours in the page about model servers."""
    lines = MODEL_SERVERS.replace("\\\n", " ").splitlines()
    told = [_VARIABLES.sub("", line) for line in lines]
    return [shlex.split(line)[2:] for line in told if line.startswith(f"sanderling {name} ")]


@pytest.mark.parametrize("arguments", commands("serve"), ids=" ".join)
def test_command_that_starts_a_server_is_taken(arguments: list[str]) -> None:
    result = CliRunner().invoke(serve.serve, [*arguments, "--print-settings"])

    assert result.exit_code == 0, result.output
    assert f'model_url = "{arguments[1]}"' in result.output


def test_page_about_model_servers_names_flags_that_there_are() -> None:
    options = {
        option
        for command in (serve.serve, ask.ask)
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    section = MODEL_SERVERS.partition("## The settings that matter")[2].partition("\n## ")[0]
    flags = set(re.findall(r"--[a-z][\w-]+", section)) - {"--config"}

    assert len(flags) > 7
    assert flags - options == set()
    assert len(commands("serve")) > 7


@pytest.mark.parametrize(
    "told",
    [
        f"which is {Settings.model_timeout_s:.0f} s",
        f"{Settings.max_turns} calls of the model in one run",
        f"up to {Settings.model_logs_chars_max:,} characters",
    ],
)
def test_page_about_model_servers_has_each_default_as_it_is(told: str) -> None:
    assert told in MODEL_SERVERS.replace("\n", " ")
