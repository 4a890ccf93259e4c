"""
A long conversation made short: what the user said, and a summary that the model writes of the rest.

What comes out is one item that stands for everything before it. It also knows the container in
which the conversation's code ran, and the user's files, so that a conversation that goes on from it
finds its variables where they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sanderling.containers.streams import closing
from sanderling.errors import ModelProtocol, PromptTooLong
from sanderling.ids import new_id
from sanderling.models.base import Model, TextDelta, TurnFinished, TurnRequest
from sanderling.records import (
    CodeCallItem,
    CompactionItem,
    Item,
    MessageItem,
    RunRequest,
    TextPart,
    Usage,
)
from sanderling.runs import prompts
from sanderling.runs.mounts import input_file_ids
from sanderling.runs.transcript import Conversation, Entry, Note

# What is kept word for word of what the user said, the latest first.
SAID_CHARS_MAX = 20_000
# Of a summary that does not end; a page is 3,000.
SUMMARY_CHARS_MAX = 50_000


@dataclass(frozen=True, slots=True)
class Compacted:
    """The item that stands for the conversation, and what the model used to write it."""

    item: CompactionItem
    usage: Usage


async def compact(request: RunRequest, conversation: Conversation, model: Model) -> Compacted:
    """
    Return the conversation as one item.

    Raises:
        ModelError: the model server failed, or wrote nothing.
    """
    while True:
        try:
            summary, usage = await _summary(request, conversation, model)
            break
        except PromptTooLong:
            shorter = conversation.shortened()
            if shorter is None:
                raise
            conversation = shorter
    items = [entry for entry in conversation.entries if not isinstance(entry, Note)]
    return Compacted(_item(items, summary), usage)


async def _summary(
    request: RunRequest, conversation: Conversation, model: Model
) -> tuple[str, Usage]:
    turn = TurnRequest(
        model=request.model, messages=conversation.messages([Note(prompts.SUMMARIZE)])
    )
    words: list[str] = []
    usage = Usage()
    async with closing(model.stream(turn)) as events:
        async for event in events:
            match event:
                case TextDelta(text=text):
                    words.append(text)
                case TurnFinished(usage=used):
                    usage = used
                case _:
                    continue  # thoughts, and calls of tools that were not offered
    summary = "".join(words).strip()[:SUMMARY_CHARS_MAX]
    if not summary:
        raise ModelProtocol("The model wrote no summary of the conversation.")
    return summary, usage


def _item(items: Sequence[Entry], summary: str) -> CompactionItem:
    known = [item for item in items if isinstance(item, Item)]
    containers = [
        item.container_id
        for item in known
        if isinstance(item, CodeCallItem | CompactionItem) and item.container_id
    ]
    return CompactionItem(
        id=new_id("cmp"),
        summary=summary,
        said=tuple(_said(known)),
        container_id=containers[-1] if containers else None,
        file_ids=tuple(dict.fromkeys(input_file_ids(known))),
    )


def _said(items: Iterable[Item]) -> list[str]:
    """Return what the user said, oldest first, as much of the end of it as is kept."""
    said: list[str] = []
    for item in items:
        if isinstance(item, CompactionItem):
            said += item.said
        elif isinstance(item, MessageItem) and item.role == "user":
            said += [part.text for part in item.parts if isinstance(part, TextPart)]
    room = SAID_CHARS_MAX
    kept: list[str] = []
    for words in reversed(said):
        if len(words) > room:
            break
        room -= len(words)
        kept.insert(0, words)
    return kept
