"""
The format of an answer, for servers that take `response_format` and for those that do not.

A server that refuses it is told the format in words, with the next weaker form of it beside them
if there is one: a schema becomes any JSON object, and that becomes nothing. What it refused is
remembered; a schema that it calls wrong only for that schema.
"""

from __future__ import annotations

import json
import re
from typing import Any

# What servers say about a format that they do not take.
_COMPLAINT = re.compile(
    r"response_format|json_schema|json_object|json mode|structured output|grammar", re.IGNORECASE
)
_WRONG_SCHEMA = re.compile(r"invalid (json )?schema|schema is not", re.IGNORECASE)
# Schemas that are remembered as refused; beyond that each of them costs one request again.
_REFUSED_MAX = 1000


class Formats:
    """What one model server was found to take."""

    def __init__(self) -> None:
        self._refused: set[str] = set()

    def adapt(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return `body` as this server takes it."""
        wanted = body.get("response_format")
        if wanted is None:
            return body
        kind = wanted["type"]
        if not self._refused.isdisjoint({kind, _key(wanted)}):
            rest = {key: value for key, value in body.items() if key != "response_format"}
            if kind == "json_schema" and "json_object" not in self._refused:
                rest["response_format"] = {"type": "json_object"}
            return _told(rest, _words(wanted))
        # OpenAI's own server wants the word to be there.
        if kind == "json_object" and "json" not in json.dumps(body["messages"]).lower():
            return _told(body, _words(wanted))
        return body

    def learn(self, complaint: str, sent: dict[str, Any]) -> bool:
        """Return whether a refusal is about the format, so that another try is worth it."""
        format_sent = sent.get("response_format")
        if format_sent is None or not _COMPLAINT.search(complaint):
            return False
        if len(self._refused) >= _REFUSED_MAX:
            self._refused.clear()
        is_of_schema = format_sent["type"] == "json_schema" and _WRONG_SCHEMA.search(complaint)
        self._refused.add(_key(format_sent) if is_of_schema else format_sent["type"])
        return True


def _key(response_format: dict[str, Any]) -> str:
    return json.dumps(response_format, sort_keys=True)


def _words(response_format: dict[str, Any]) -> str:
    if response_format["type"] == "json_object":
        return "Answer with one JSON object and nothing around it."
    described = response_format["json_schema"]
    schema = json.dumps(described.get("schema", {}), ensure_ascii=False)
    return f"Answer with JSON and nothing around it. It must satisfy this JSON Schema:\n{schema}"


def _told(body: dict[str, Any], words: str) -> dict[str, Any]:
    """Return `body` with `words` at the end of the system message."""
    messages = list(body["messages"])
    if messages and messages[0]["role"] == "system":
        messages[0] = {**messages[0], "content": f"{messages[0]['content']}\n\n{words}"}
    else:
        messages.insert(0, {"role": "system", "content": words})
    return {**body, "messages": messages}
