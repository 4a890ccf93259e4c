"""Fills a JSON schema from a sentence: arguments of a client's function, or an answer as JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sanderling.models.offline.language import literal_list, numbers

_NESTING_MAX = 8  # schemas may refer to themselves


def mentioned(question: str, functions: tuple[Mapping[str, Any], ...]) -> Mapping[str, Any] | None:
    """Return the function whose name the question says, as it is or as words."""
    text = re.sub(r"[\W_]+", " ", question.lower())
    for tool in functions:
        name = str(tool["function"]["name"])
        words = re.sub(r"[\W_]+|(?<=[a-z])(?=[A-Z])", " ", name).lower().strip()
        if name in question or (len(words) > 3 and re.search(rf"\b{re.escape(words)}\b", text)):
            return tool
    return None


def fill(schema: Mapping[str, Any], text: str, facts: Mapping[str, str], depth: int = 0) -> Any:
    """
    Return a value that fits `schema`, taken from `facts` by name, else found in `text`.

    The same words may end up in several places: rules read no meaning.
    """
    if not isinstance(schema, Mapping):  # `true`: whatever there is
        return text
    kind = schema.get("type")
    kind = next((k for k in kind if k != "null"), "null") if isinstance(kind, list) else kind
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if options := schema.get("enum"):
        said = [option for option in options if str(option).lower() in text.lower()]
        return (said or options)[0]
    if alternatives := schema.get("anyOf") or schema.get("oneOf"):
        return fill(alternatives[0], text, facts, depth + 1)
    found = numbers(text)
    match kind:
        case "object" if depth < _NESTING_MAX:
            return {
                name: _named(name, part, text, facts, depth)
                for name, part in schema.get("properties", {}).items()
            }
        case "array" if depth < _NESTING_MAX:
            items = schema.get("items", {})
            return literal_list(text) or [fill(items, text, facts, depth + 1)]
        case "integer":
            return int(found[0]) if found else 0
        case "number":
            return found[0] if found else 0
        case "boolean":
            return re.search(r"\b(?:no|not|false|without)\b", text.lower()) is None
        case "null" | "object" | "array":
            return None
        case _:
            return _words(text)


def _named(
    name: str, schema: Mapping[str, Any], text: str, facts: Mapping[str, str], depth: int
) -> Any:
    for fact, value in facts.items():
        if fact.lower().replace(" ", "_") == name.lower():
            return fill(schema, value, {}, depth + 1)
    # `city: Oslo`, `days = 3`: what the user gave a name to.
    given = re.search(
        rf"\b{re.escape(name.replace('_', ' '))}\s*(?:is|=|:)\s*([^,;.\n]+)", text, re.IGNORECASE
    )
    return fill(schema, given[1].strip() if given else text, facts, depth + 1)


def _words(text: str) -> str:
    """Return the words of `text` that look most like a value."""
    if (quoted := re.search(r"[\"“'`]([^\"”'`]+)[\"”'`]", text)) is not None:
        return quoted[1]
    place = re.search(r"\b(?:in|for|of|at|to|from|about)\s+((?:[A-Z][\w-]*\s?)+)", text)
    return place[1].strip() if place is not None else text.strip()
