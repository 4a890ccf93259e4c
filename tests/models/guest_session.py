"""
A conversation with the offline model whose code really runs, in the guest's Python.

No box: one interpreter process for all, and a temporary folder in the place of /mnt/data. What
the model is shown is written the way the transcript writes it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

from sanderling.models.base import CallFinished, ModelEvent, TextDelta, TurnFinished, TurnRequest
from sanderling.models.offline import OfflineModel

_TURNS_MAX = 6
_LOOP = """
import ast, contextlib, io, json, sys, traceback
for line in sys.stdin:
    code = json.loads(line)
    if code is None:
        names = {"__name__": "__main__"}
        continue
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        try:
            tree = ast.parse(code)
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, "<cell>", "exec"), names)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
                if value is not None:
                    print(repr(value))
        except Exception:
            traceback.print_exc(file=shown)
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")
    sys.stdout.write(json.dumps(shown.getvalue()) + "\\n")
    sys.stdout.flush()
"""


class Interpreter:
    """The guest's Python, started once because its libraries take long to import."""

    def __init__(self, python: Path, home: Path) -> None:
        self._process = subprocess.Popen(
            [str(python), "-W", "ignore", "-c", _LOOP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"MPLBACKEND": "Agg", "MPLCONFIGDIR": str(home), "HOME": str(home)},
        )

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()

    def forget(self) -> None:
        """Drop all variables; what was imported stays loaded."""
        self._send(None)

    def run(self, code: str) -> str:
        """Return what `code` printed, its last value, and its traceback."""
        self._send(code)
        assert self._process.stdout is not None
        return str(json.loads(self._process.stdout.readline()))

    def _send(self, code: str | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()


class GuestSession:
    """
    Attributes:
        folder: stands for /mnt/data.
        codes, outputs: every cell that was run, and what it showed.
        messages: the conversation so far.
        events: the events of all turns.
    """

    def __init__(self, interpreter: Interpreter, folder: Path) -> None:
        self.folder = folder
        self.codes: list[str] = []
        self.outputs: list[str] = []
        self.events: list[ModelEvent] = []
        instructions = "You are a personal math tutor. Save files in /mnt/data/name."
        self.messages: list[dict[str, Any]] = [{"role": "system", "content": instructions}]
        self._model = OfflineModel()
        self._interpreter = interpreter
        interpreter.forget()

    def ask(self, question: str, files: dict[str, bytes] | None = None, **request: Any) -> str:
        """Return the answer to `question`, after all the code calls it takes."""
        for name, content in (files or {}).items():
            (self.folder / name).write_bytes(content)
        line = f"\n[files in /mnt/data: {', '.join(files)}]" if files else ""
        self.messages.append({"role": "user", "content": question + line})
        for _ in range(_TURNS_MAX):
            text, call = asyncio.run(self._turn(request))
            request.pop("tool_choice", None)
            message: dict[str, Any] = {"role": "assistant", "content": text or None}
            self.messages.append(message)
            if call is None:
                return text
            function = {"name": "python", "arguments": json.dumps({"code": call.text})}
            message["tool_calls"] = [{"id": call.call_id, "type": "function", "function": function}]
            output = self._run(call.text)
            self.messages.append({"role": "tool", "tool_call_id": call.call_id, "content": output})
        raise AssertionError(f"no answer after {_TURNS_MAX} turns:\n{self.codes}\n{self.outputs}")

    async def _turn(self, given: dict[str, Any]) -> tuple[str, CallFinished | None]:
        request = TurnRequest(
            model="any", messages=tuple(self.messages), **{"offers_code": True, **given}
        )
        events = [event async for event in self._model.stream(request)]
        assert isinstance(events[-1], TurnFinished)
        self.events += events
        calls = [event for event in events if isinstance(event, CallFinished)]
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        return text, calls[0] if calls else None

    def _run(self, code: str) -> str:
        self.codes.append(code)
        before = {path: path.stat().st_mtime_ns for path in self.folder.iterdir()}
        shown = self._interpreter.run(code.replace("/mnt/data", str(self.folder)))
        output = shown.replace(str(self.folder), "/mnt/data").rstrip("\n")
        made = [
            f"/mnt/data/{path.name}"
            for path in sorted(self.folder.iterdir())
            if before.get(path) != path.stat().st_mtime_ns
        ]
        if made:
            output += f"\n[files created: {', '.join(made)}]"
        self.outputs.append(output)
        return output or "[no output]"
