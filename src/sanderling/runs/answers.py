"""
Answers that have to be JSON: what the model wrote, and whether it is what was asked for. Pure.

Checked are `json_object` and a `json_schema` that is strict; of any other format a model's word is
taken as it comes. Models wrap JSON in fences and greetings; what stands inside is the answer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sanderling.records import TextFormat
from sanderling.runs.json_schema import mismatch


@dataclass(frozen=True, slots=True)
class Checked:
    """The answer without what stood around it; `problem`: why it is not one, if it is not."""

    text: str
    problem: str | None = None


def is_checked(text_format: TextFormat) -> bool:
    """Return whether an answer in this format is held until it is known to be right."""
    return text_format.type == "json_object" or (
        text_format.type == "json_schema" and bool(text_format.strict)
    )


def check(text: str, text_format: TextFormat) -> Checked:
    """Return what `text` answers."""
    problem = "it is not JSON"
    for candidate in _candidates(text):
        try:
            value = json.loads(candidate, parse_constant=_refuse)
        except (ValueError, RecursionError):
            continue
        found = _problem(value, text_format)
        if found is None:
            return Checked(candidate)
        problem = found
        break
    return Checked(text, problem)


def _candidates(text: str) -> list[str]:
    """Return what may be the JSON in `text`: all of it, what is fenced, what is in braces."""
    _, _, fenced = text.partition("```")
    fenced = fenced.partition("```")[0].removeprefix("json")
    start, end = text.find("{"), text.rfind("}")
    return [text.strip(), fenced.strip(), text[start : end + 1] if 0 <= start < end else ""]


def _refuse(constant: str) -> Any:
    raise ValueError(constant)  # NaN and Infinity, which are no JSON


def _problem(value: Any, text_format: TextFormat) -> str | None:
    if text_format.schema is not None and text_format.type == "json_schema":
        return mismatch(value, text_format.schema)
    return None if isinstance(value, dict) else "it is not a JSON object"
