"""
Conversations for models without tool calling: calls and their outputs as plain text.

Used when the operator turned text calls on and the server refused `tools`. What the model reads
then is what it is asked to write: a fenced block is a call, and the next message is its output.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from sanderling.models.base import CODE_TOOL_NAME

_TOOL_KEYS = ("tools", "tool_choice", "parallel_tool_calls")
_HOW_TO_CALL = """\
You can run Python. To do so, end your message with one fenced block:
```python
print("hello")
```
It is run at once, and the next message tells you what it showed. Variables stay. When you have \
all you need, answer without a block at the end.\
"""
_FUNCTIONS = """\
You can also call these functions, one at a time, by ending your message with \
<tool_call>{"name": "…", "arguments": {…}}</tool_call>:
"""


def as_text(body: dict[str, Any]) -> dict[str, Any]:
    """Return a chat-completion request that says without tools what `body` says with them."""
    described = _described(body.get("tools", ()))
    messages = list(_plain(body["messages"]))
    if described and messages and messages[0]["role"] == "system":
        messages[0] = {"role": "system", "content": f"{messages[0]['content']}\n\n{described}"}
    elif described:
        messages.insert(0, {"role": "system", "content": described})
    rest = {key: value for key, value in body.items() if key not in _TOOL_KEYS}
    return rest | {"messages": messages}


def _described(tools: Iterable[dict[str, Any]]) -> str:
    parts = []
    functions = []
    for tool in tools:
        if tool["function"]["name"] == CODE_TOOL_NAME:
            parts.append(_HOW_TO_CALL)
        else:
            functions.append(json.dumps(tool["function"], ensure_ascii=False))
    if functions:
        parts.append(_FUNCTIONS + "\n".join(functions))
    return "\n\n".join(parts)


def _plain(messages: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for message in messages:
        if message["role"] == "tool":
            yield {"role": "user", "content": f"[What it showed:]\n{message['content']}"}
        elif "tool_calls" in message:
            calls = [_written(call["function"]) for call in message["tool_calls"]]
            said = [message["content"]] if message.get("content") else []
            yield {"role": "assistant", "content": "\n".join([*said, *calls])}
        else:
            yield message


def _written(function: dict[str, Any]) -> str:
    arguments = json.loads(function["arguments"])
    if function["name"] == CODE_TOOL_NAME and "code" in arguments:
        return f"```python\n{arguments['code']}\n```"
    call = json.dumps({"name": function["name"], "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>{call}</tool_call>"
