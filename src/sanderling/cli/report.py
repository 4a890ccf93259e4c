"""The two ways `sanderling exec` shows a job: as it happens, or as one JSON object at the end."""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

import click

from sanderling.cli import terminal
from sanderling.cli.saving import SavedFile
from sanderling.containers import parts
from sanderling.containers.screen import settled
from sanderling.sandbox.base import Cleared, Ended, Error, Happening, Image, Logs, Result


class Live:
    """stdout to stdout and stderr to stderr, as it comes; everything of ours goes to stderr."""

    def __init__(self) -> None:
        self._ends_line = {"stdout": True, "stderr": True}

    def show(self, happening: Happening) -> None:
        match happening:
            case Logs(stream=stream, text=text):
                self._write(stream, text)
            case Result(text=text):
                self._write_line("stdout", text)
            case Error(name="SystemExit"):
                pass  # sys.exit() is how a program ends, not a failure to explain
            case Error(traceback=traceback):
                self._write_line("stderr", traceback)
            case Image() | Cleared() | Ended():
                pass  # a picture is a saved file; what was written stays; `finish` tells the end

    def finish(self, ended: Ended, saved: list[SavedFile]) -> None:
        if ended.notice is not None:
            self._write_line("stderr", ended.notice)
        for file in saved:
            self._write_line("stderr", f"Saved {file.saved_to}")

    def _write_line(self, stream: str, text: str) -> None:
        if not self._ends_line[stream]:
            self._write(stream, "\n")
        self._write(stream, text if text.endswith("\n") else text + "\n")

    def _write(self, stream: str, text: str) -> None:
        if text:
            terminal.write(sys.stdout if stream == "stdout" else sys.stderr, text)
            self._ends_line[stream] = text.endswith("\n")


class Json:
    """One object in the shape of the server's `container.execution`, with `saved_to` in files."""

    def __init__(self) -> None:
        self._outputs: list[dict[str, Any]] = []
        self._places: dict[str, int] = {}  # by display id

    def show(self, happening: Happening) -> None:
        match happening:
            case Logs(stream=stream, text=text):
                last = self._outputs[-1] if self._outputs else {}
                if last.get("stream") == stream:
                    last["logs"] += text
                else:
                    self._outputs.append({"type": "logs", "stream": stream, "logs": text})
            case Result(text=text):
                self._put(happening, {"type": "result", "text": text})
            case Error(name=name, message=message, traceback=traceback):
                self._outputs.append(
                    {"type": "error", "name": name, "message": message, "traceback": traceback}
                )
            case Image(mime=mime, data=data):
                url = f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
                self._put(happening, {"type": "image", "url": url})
            case Cleared():
                self._outputs.clear()
                self._places.clear()
            case Ended():
                pass

    def _put(self, shown: Result | Image, output: dict[str, Any]) -> None:
        """Add a value, or put it in the place of the one it takes."""
        if shown.parts and (data := parts.data_of(shown.parts)):
            output["data"] = data
        if isinstance(shown, Image) and (chart := parts.chart_of(shown.parts)) is not None:
            output["chart"] = chart
        place = self._places.get(shown.display_id or "") if shown.is_update else None
        if place is not None:
            self._outputs[place] = output
            return
        if shown.display_id is not None:
            self._places[shown.display_id] = len(self._outputs)
        self._outputs.append(output)

    def finish(self, ended: Ended, saved: list[SavedFile]) -> None:
        execution = {
            "object": "container.execution",
            "status": ended.status,
            "notice": ended.notice,
            "outputs": [
                {**o, "logs": settled(o["logs"])} if o["type"] == "logs" else o
                for o in self._outputs
            ],
            "files": [
                {"path": file.path, "bytes": file.bytes, "saved_to": str(file.saved_to)}
                for file in saved
            ],
            "duration_ms": ended.duration_ms,
        }
        click.echo(json.dumps(execution, ensure_ascii=False))
