"""`sanderling doctor`: whether this machine can host boxes, and how to fix what it cannot."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sanderling.cli.options import takes_settings
from sanderling.settings import Settings

if TYPE_CHECKING:
    from sanderling.sandbox.doctor import Finding

_WORDS = {True: ("ok", "green"), None: ("weaker", "yellow"), False: ("missing", "bold red")}


@click.command(
    short_help="Say what this machine can do, and how to fix what it cannot.",
    epilog="""\b
Examples:
  sanderling doctor
  sanderling doctor --json
  sanderling doctor --env /opt/sanderling-env
""",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@takes_settings("env", "egress_domains", "preload")
def doctor(settings: Settings, as_json: bool) -> int:
    """
    Say what this machine can do for the sandbox, and how to fix what it cannot.

    The last line is the verdict: a real box is built and runs a cell. Exits with 1 if it cannot.
    """
    # Imported here: only this command needs the sandbox's parts.
    from sanderling.sandbox.doctor import examine

    findings = asyncio.run(
        examine(settings.env, egress_domains=settings.egress_domains, preload=settings.preload)
    )
    is_fit = all(finding.ok is not False for finding in findings)
    if as_json:
        listed = [
            {
                "name": finding.name,
                "status": _WORDS[finding.ok][0],
                "detail": finding.detail,
                "remedy": finding.remedy,
            }
            for finding in findings
        ]
        click.echo(json.dumps({"is_fit": is_fit, "findings": listed}))
    else:
        _print(findings, is_fit)
    return 0 if is_fit else 1


def _print(findings: list[Finding], is_fit: bool) -> None:
    from sanderling.cli import terminal

    console = terminal.console(sys.stdout)
    for finding in findings:
        word, style = _WORDS[finding.ok]
        console.print(f"{word:8}", style=style, end="")
        console.print(f"{finding.name}: {finding.detail}")
        if finding.remedy is not None:
            console.print(f"        {finding.remedy}")
    verdict = "can" if is_fit else "cannot"
    console.print(f"This machine {verdict} run code in sealed boxes.", style="bold")


def what_is_missing(env: Path | None) -> str:
    """Return a line for each thing this machine lacks, with its remedy; for a refusal to start."""
    from sanderling.sandbox.doctor import examine

    lacking = [finding for finding in asyncio.run(examine(env)) if finding.ok is False]
    return "\n".join(f"- {f.name}: {f.detail}\n  {f.remedy}" for f in lacking)
