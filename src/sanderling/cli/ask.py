"""`sanderling ask`: one question to the model, answered with code, in the terminal."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import click

from sanderling.cli.exec import Seconds
from sanderling.cli.options import takes_settings
from sanderling.records import MEMORY_TIER_BYTES
from sanderling.settings import Settings


@click.command(
    short_help="Ask one question; see the code, its output and the answer.",
    epilog="""\b
Examples:
  sanderling ask "Solve 3x + 11 = 14"
  sanderling ask "Plot revenue by region" --file sales.csv
  sanderling ask "Describe this table" --file sales.csv --json
  sanderling ask "Rotate it by 90 degrees" --file photo.jpg --out results
  sanderling ask "Where is the centre of these points?" --file towns.csv --environment geo
  sanderling ask - < question.txt
  sanderling ask "What is 17!?" --model-url http://127.0.0.1:8080/v1 --model qwen3

\b
Exit codes: 0 answered; 1 the answer failed or the server could not be used; 124 it took longer
than --timeout; 130 interrupted.
""",
)
@click.argument("prompt")
@click.option(
    "--file",
    "files",
    metavar="PATH",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
    help="Give the model's code a file in /mnt/data; may be given more than once.",
)
@click.option("--model", help="Model to ask.  [default: the first that the server offers]")
@click.option("--instructions", help="What the model should know before the question.")
@click.option(
    "--memory-limit",
    type=click.Choice(list(MEMORY_TIER_BYTES)),
    default="1g",
    show_default=True,
    help="Memory of the container.",
)
@click.option(
    "--timeout",
    type=Seconds(),
    metavar="TIME",
    help="Longest time for the whole answer.  [default: no limit]",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("."),
    show_default="the current folder",
    help="Folder for the files that are made; nothing is overwritten.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object when it is over.")
@click.option(
    "--base-url",
    envvar="SANDERLING_BASE_URL",
    show_envvar=True,
    help="Ask this server.  [default: one of our own, for as long as it takes]",
)
@click.option(
    "--api-key", envvar="SANDERLING_API_KEY", show_envvar=True, help="Key for --base-url."
)
@takes_settings("model_url", "env", "environment", "environments")
def ask(
    settings: Settings,
    prompt: str,
    files: tuple[Path, ...],
    model: str | None,
    instructions: str | None,
    memory_limit: str,
    timeout: float | None,
    out: Path,
    as_json: bool,
    base_url: str | None,
    api_key: str | None,
) -> int:
    """
    Ask PROMPT and watch the answer: the code as it is written, its output, the text.

    PROMPT may be - for standard input. Files that the code makes are saved.
    """
    # Imported here: the SDK takes half a second that --help should not.
    from sanderling.cli import answering, embedded, saving

    saving.prepare_folder(out)
    question = answering.Question(
        prompt=_standard_input() if prompt == "-" else prompt,
        files=files,
        model=model,
        instructions=instructions,
        memory_limit=memory_limit,
        environment=settings.environment,
    )
    shown = answering.JsonAnswer() if as_json else answering.LiveAnswer()
    with ExitStack() as stack:
        if base_url is None:
            base_url = stack.enter_context(embedded.own_server(_serve_arguments(settings)))
        asking = answering.ask(base_url, api_key, question, shown, out, timeout_s=timeout)
        return asyncio.run(asking)


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"The question is not UTF-8 text: {error}.") from error


def _serve_arguments(settings: Settings) -> list[str]:
    arguments: list[str] = []
    if settings.model_url is not None:
        arguments += ["--model-url", settings.model_url]
    if settings.env is not None:
        arguments += ["--env", os.fspath(settings.env)]
    return [*arguments, "--environments", os.fspath(settings.environments_folder)]
