"""What a rule needs to know of a conversation: the question, the files, what was tried."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sanderling.models.base import CODE_TOOL_NAME
from sanderling.models.offline.plan import Shown

# The line the transcript adds to a message with attachments.
_FILES_LINE = re.compile(r"^\[files in /mnt/data: (.*)\]$", re.MULTILINE)
_BRACKET_LINE = re.compile(r"^\[files attached but not readable here: .*\]$", re.MULTILINE)
_PATH = re.compile(r"/mnt/data/([\w\-.]+\.\w+)")
_LISTED = re.compile(r"^files: (.*)$", re.MULTILINE)
# A note of the run loop among the user's messages: one bracketed sentence.
_NOTE = re.compile(r"\[[A-Z][^\[\]]*\.\]")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A cell that was run for the present question, and what came of it."""

    code: str
    shown: Shown


@dataclass(frozen=True, slots=True)
class Conversation:
    """
    question: the user's latest words.
    earlier: the user's words before them, latest first.
    files: names below /mnt/data, the user's latest first, then those that code made.
    attempts, answers: code calls, and client functions (name, output), since the question.
    is_new: nothing was said by the assistant yet.
    must_answer: the loop said that no more calls are possible.
    """

    question: str
    earlier: tuple[str, ...]
    files: tuple[str, ...]
    attempts: tuple[Attempt, ...]
    answers: tuple[tuple[str, str], ...]
    is_new: bool
    must_answer: bool


def read(messages: Sequence[Mapping[str, Any]]) -> Conversation:
    """Return what `messages`, in chat-completion form, say."""
    questions: list[str] = []
    given: list[str] = []
    made: list[str] = []
    made_now: list[str] = []
    attempts: list[Attempt] = []
    answers: list[tuple[str, str]] = []
    calls: dict[str, tuple[str, str]] = {}
    is_new, must_answer = True, False
    for message in messages:
        text = _text(message.get("content"))
        match message.get("role"):
            case "user" if _NOTE.fullmatch(text.strip()):
                must_answer = True
            case "user":
                given += _named_files(text)
                questions.append(_BRACKET_LINE.sub("", _FILES_LINE.sub("", text)).strip())
                # What the present question makes is no input to it, or its rule would change.
                made += made_now
                made_now, attempts, answers, must_answer = [], [], [], False
            case "system" | "developer":
                given += [name for line in _FILES_LINE.findall(text) for name in _split(line)]
            case "assistant":
                is_new = is_new and not text.strip()
                calls |= _calls(message)
            case "tool":
                name, arguments = calls.get(str(message.get("tool_call_id")), ("", ""))
                if name == CODE_TOOL_NAME:
                    shown = Shown(text)
                    attempts.append(Attempt(arguments, shown))
                    made_now += [path.rsplit("/", 1)[-1] for path in shown.files]
                    given += [name for line in _LISTED.findall(text) for name in _split(line)]
                else:
                    answers.append((name, text))
            case _:
                continue
    return Conversation(
        question=questions[-1] if questions else "",
        earlier=tuple(reversed(questions[:-1])),
        files=tuple(dict.fromkeys([*reversed(given), *reversed(made)])),
        attempts=tuple(attempts),
        answers=tuple(answers),
        is_new=is_new,
        must_answer=must_answer,
    )


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(p["text"]) for p in parts if isinstance(p, Mapping) and "text" in p)


def _named_files(text: str) -> list[str]:
    listed = [name for line in _FILES_LINE.findall(text) for name in _split(line)]
    return [*_PATH.findall(text), *listed]


def _split(line: str) -> list[str]:
    return [name.strip() for name in line.split(", ") if name.strip()]


def _calls(message: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return call id -> (name, code or arguments)."""
    found: dict[str, tuple[str, str]] = {}
    for call in message.get("tool_calls") or ():
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        if name == CODE_TOOL_NAME:
            arguments = json.loads(arguments).get("code", "")
        found[call["id"]] = (name, arguments)
    return found
