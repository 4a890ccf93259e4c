"""Reads the parts of a chat completion, or of one chunk of it, that servers write differently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sanderling.records import Usage


def first_choice(chunk: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the choice with index 0; None in a chunk without one (usage, keep-alive)."""
    choices = chunk.get("choices")
    if not isinstance(choices, list):
        return None
    mappings = [choice for choice in choices if isinstance(choice, Mapping)]
    return next((choice for choice in mappings if not choice.get("index")), None)


def content(value: object) -> tuple[str, str]:
    """Return the reasoning and the text of a message's content: a string, or a list of parts."""
    if isinstance(value, str):
        return "", value
    thought = text = ""
    for part in value if isinstance(value, list) else ():
        if not isinstance(part, Mapping):
            continue
        if isinstance(words := part.get("text"), str):
            text += words
        elif part.get("type") == "thinking":
            inner = part.get("thinking")
            thought += inner if isinstance(inner, str) else content(inner)[1]
    return thought, text


def fragments(delta: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the pieces of tool calls in a message or delta, the old `function_call` included."""
    calls = delta.get("tool_calls")
    if isinstance(calls, Mapping):
        calls = [calls]
    found = [c for c in calls if isinstance(c, Mapping)] if isinstance(calls, list) else []
    if isinstance(legacy := delta.get("function_call"), Mapping):
        found.append({"index": 0, "function": legacy})
    return found


def usage(counts: Mapping[str, Any]) -> Usage:
    """Return the tokens a `usage` object tells of; what it does not tell is 0."""

    def count(holder: object, key: str) -> int:
        value = holder.get(key) if isinstance(holder, Mapping) else None
        return value if isinstance(value, int) else 0

    return Usage(
        input_tokens=count(counts, "prompt_tokens"),
        output_tokens=count(counts, "completion_tokens"),
        cached_tokens=count(counts.get("prompt_tokens_details"), "cached_tokens"),
        reasoning_tokens=count(counts.get("completion_tokens_details"), "reasoning_tokens"),
    )
