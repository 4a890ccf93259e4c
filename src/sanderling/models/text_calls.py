"""
Calls and reasoning that a model wrote into its text instead of into the fields made for them.

`ThinkSplitter` takes the `<think>…</think>` at the beginning of a message apart as it arrives.
`TextCallSplitter` is for models without tool calling, and only where the operator asked for it: a
fenced Python block or a tagged call is a call when nothing follows it, and prose when something
does. So from the first mark on it holds the text back until the message shows which it was.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_THINK_OPEN, _THINK_CLOSE = "<think>", "</think>"
# What may begin a call; a fence and a bare object count only at the beginning of a line.
_MARKS = re.compile(r"<tool_call>|<\|python_tag\|>|(?m:^)```(?:python|py|tool_code)\b")
_LONGEST_MARK = len("```tool_code") + 2
_TAGGED = re.compile(r"\s*<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_FENCED = re.compile(r"\s*```(?:python|py|tool_code)[^\n]*\n(.*?)(?:\n```|\Z)\s*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class WrittenCall:
    """A call found in text. `arguments` is as it was written; `name` None means the code tool."""

    name: str | None
    arguments: str


class ThinkSplitter:
    """Splits streamed text into reasoning and the rest."""

    def __init__(self) -> None:
        self._state = "beginning"
        self._held = ""

    def feed(self, text: str) -> tuple[str, str]:
        """Return the reasoning and the text that became certain with `text`."""
        self._held += text
        if self._state == "beginning":
            start = self._held.lstrip()
            if _THINK_OPEN.startswith(start[: len(_THINK_OPEN)]) and len(start) < len(_THINK_OPEN):
                return "", ""
            self._state = "text"
            if start.startswith(_THINK_OPEN):
                self._state = "thinking"
                self._held = start.removeprefix(_THINK_OPEN)
        if self._state == "text":
            return "", self._take(len(self._held))
        if (end := self._held.find(_THINK_CLOSE)) >= 0:
            thought = self._take(end)
            self._held = self._held.removeprefix(_THINK_CLOSE)
            self._state = "text"
            return thought, self._take(len(self._held))
        return self._take(len(self._held) - _partial_suffix(self._held, _THINK_CLOSE)), ""

    def finish(self) -> tuple[str, str]:
        """Return what was still held back."""
        held = self._take(len(self._held))
        return (held, "") if self._state == "thinking" else ("", held)

    def _take(self, length: int) -> str:
        taken, self._held = self._held[:length], self._held[length:]
        return taken


class TextCallSplitter:
    """Splits streamed text into prose and the calls written at its end."""

    def __init__(self) -> None:
        self._prose = ""  # passed on already; only its end matters, to know a line's beginning
        self._held = ""

    def feed(self, text: str) -> str:
        """Return the prose that became certain with `text`."""
        self._held += text
        if not self._prose.strip() and self._held.lstrip().startswith("{"):
            return ""  # a message that is one object may be a call without any tag
        window = self._last_line() + self._held
        offset = len(window) - len(self._held)
        match = _MARKS.search(window)
        if match is not None:
            return self._take(max(match.start() - offset, 0))
        # Keep back what may be the beginning of a mark.
        keep = next((n for n in range(_LONGEST_MARK, 0, -1) if _may_begin_mark(window[-n:])), 0)
        return self._take(max(len(self._held) - keep, 0))

    def finish(self, *, are_calls_possible: bool) -> tuple[str, list[WrittenCall]]:
        """Return the prose that was held back, and the calls that its end turned out to be."""
        held, self._held = self._held, ""
        starts = [0, *(match.start() for match in _MARKS.finditer(held))]
        for start in starts if are_calls_possible else ():
            if calls := _calls_in(held[start:]):
                return held[:start], calls
        return held, []

    def _last_line(self) -> str:
        return self._prose.rsplit("\n", 1)[-1]

    def _take(self, length: int) -> str:
        taken, self._held = self._held[:length], self._held[length:]
        self._prose = (self._prose + taken)[-200:]
        return taken


def _calls_in(text: str) -> list[WrittenCall]:
    """Return the calls that `text` wholly consists of; [] if it is prose."""
    text = text.strip()
    if text.startswith("<|python_tag|>"):
        body = text.removeprefix("<|python_tag|>").removesuffix("<|eom_id|>").strip()
        return [_named_call(body) or WrittenCall(None, body)]
    if (match := _FENCED.match(text)) is not None and "\n```" not in match[1]:
        return [WrittenCall(None, json.dumps({"code": match[1]}))]
    if text.startswith("{"):
        call = _named_call(text)
        return [call] if call is not None else []
    calls: list[WrittenCall] = []
    position = 0
    while (match := _TAGGED.match(text, position)) is not None:
        body = match[1].strip()
        calls.append(_named_call(body) or WrittenCall(None, body))
        position = match.end()
    return calls if position == len(text) else []


def _named_call(body: str) -> WrittenCall | None:
    try:
        value = json.loads(body, strict=False)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(name := value.get("name"), str):
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    return WrittenCall(name, arguments if isinstance(arguments, str) else json.dumps(arguments))


def _partial_suffix(text: str, mark: str) -> int:
    """Return how many characters at the end of `text` may be the beginning of `mark`."""
    return next((n for n in range(len(mark) - 1, 0, -1) if text.endswith(mark[:n])), 0)


def _may_begin_mark(tail: str) -> bool:
    fences = ("```python", "```py", "```tool_code")
    if any(mark.startswith(tail) for mark in ("<tool_call>", "<|python_tag|>")):
        return True
    return tail.startswith("`") and any(fence.startswith(tail) for fence in fences)
