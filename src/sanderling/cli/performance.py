"""
Plays the demo's scenes against a server, with the official SDK, and prints all there is to see.

Each scene is checked: the numbers it expects must be there and the file it asks for must arrive.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI
from rich.console import Console

from sanderling.cli import answering, terminal
from sanderling.cli.saving import SavedFile
from sanderling.cli.scenes import SCENES, Scene


async def perform(base_url: str, out: Path) -> int:
    """Play every scene; return 0, or 1 if one of them went wrong."""
    console = terminal.console(sys.stdout)
    console.print(f"The server is at {base_url}; the client is the unmodified openai SDK.")
    failed = 0
    async with AsyncOpenAI(base_url=base_url, api_key="none") as client:
        for number, scene in enumerate(SCENES, 1):
            console.print(f"\n[{number}/{len(SCENES)}] {scene.title}", style="bold")
            with answering.sdk_errors_as_ours(base_url):
                missing = await _play(client, scene, console, out)
            for what in missing:
                console.print(f"  MISSING: {what}", style="bold red")
            failed += bool(missing)
    right = len(SCENES) - failed
    console.print(f"\n{right} of {len(SCENES)} questions were answered rightly.", style="bold")
    return 1 if failed else 0


async def _play(client: AsyncOpenAI, scene: Scene, console: Console, out: Path) -> list[str]:
    """Ask the scene's question, print what came; return what should have come and did not."""
    _print_block(console, "question", scene.question, "")
    started = time.perf_counter()
    response = await _ask(client, scene)
    seconds = time.perf_counter() - started
    seen = response.output_text
    for item in response.output:
        if item.type == "code_interpreter_call":
            _print_block(console, "code", item.code or "", "cyan")
            logs = "".join(o.logs for o in item.outputs or [] if o.type == "logs")
            _print_block(console, "output", logs, "dim")
            seen += logs
    _print_block(console, "answer", response.output_text, "green")
    saved = await answering.save_cited(client, response, out)
    for file in saved:
        console.print(f"  {'file':>8} | {file.saved_to} ({file.bytes:,} bytes)")
    console.print(f"  {'time':>8} | {seconds * 1000:.0f} ms")
    return _missing(scene, response, seen, saved)


async def _ask(client: AsyncOpenAI, scene: Scene) -> Any:
    content: list[Any] = [{"type": "input_text", "text": scene.question}]
    if scene.attach is not None:
        attachment = scene.attach()
        uploaded = await client.files.create(
            file=(attachment.filename, attachment.content), purpose="user_data"
        )
        kind = "input_image" if attachment.as_image else "input_file"
        content.append({"type": kind, "file_id": uploaded.id})
    container: Any = {"type": "auto"}
    if scene.is_explicit:
        container = (await client.containers.create(name="demo", memory_limit="1g")).id
    return await client.responses.create(
        model="offline",
        instructions=scene.instructions,
        input=[{"role": "user", "content": content}],
        tools=[{"type": "code_interpreter", "container": container}],
        tool_choice="required" if scene.is_explicit else "auto",
        include=["code_interpreter_call.outputs"],
    )


def _missing(scene: Scene, response: Any, seen: str, saved: list[SavedFile]) -> list[str]:
    missing = [] if response.status == "completed" else [f"an answer; it is {response.status}"]
    if not any(item.type == "code_interpreter_call" for item in response.output):
        missing.append("code that ran")
    # Digits are compared: whether thousands are grouped is a matter of taste.
    plain = seen.replace(",", "")
    missing += [text for text in scene.expects if text.replace(",", "") not in plain]
    if scene.makes and not any(file.path.endswith(scene.makes) for file in saved):
        missing.append(f"a {scene.makes} file")
    return missing


def _print_block(console: Console, label: str, text: str, style: str) -> None:
    for line in terminal.harmless(text).rstrip("\n").split("\n"):
        console.print(f"  {label:>8} | ", end="", style="dim")
        console.print(line, style=style)
        label = ""
