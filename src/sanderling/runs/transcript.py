"""
From records to what the model reads: chat-completion messages. Pure.

The whole conversation is rendered anew for every turn from the same items that clients see, so what
the model reads in a later run is what it read in the run itself. Arguments of calls are always
encoded afresh as clean JSON, because servers refuse to replay what models really wrote.

Chat completions want every tool call answered right after the message that holds it. Items come in
another order (a client's function answers in its next request), so answers are looked up by call.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

from sanderling.models.base import CODE_TOOL_NAME
from sanderling.records import (
    Artifact,
    CodeCallItem,
    CompactionItem,
    ErrorOutput,
    FileChange,
    FilePart,
    FunctionCallItem,
    FunctionOutputItem,
    ImageOutput,
    ImagePart,
    Item,
    LogsOutput,
    MessageItem,
    ReasoningItem,
    RefusalPart,
    ResultOutput,
    TextPart,
)
from sanderling.runs.prompts import files_line

# Names of files told to the model per call and kind of change; more would crowd out the output.
FILES_NAMED_MAX = 50
# What is left of a call's output in a conversation that is too long: enough for an error.
LOGS_CHARS_LEAST = 500
_CHANGES: tuple[FileChange, ...] = ("created", "changed", "renamed", "deleted")

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class HiddenCall:
    """A call that could not be carried out and its answer; for the model's eyes only."""

    call_id: str
    name: str
    arguments: str  # JSON text
    answer: str


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence of ours to the model in the middle of a run; for the model's eyes only."""

    text: str


Entry = Item | HiddenCall | Note


@dataclass(frozen=True, slots=True)
class Conversation:
    """
    All that a run's turns have in common.

    system: the system message, or None.
    entries: everything said before the run, then its input.
    mounted: file id -> name below /mnt/data; files that are not in it cannot be read.
    images: file id -> data URL of the pictures the model may see.
    logs_chars_max: most characters of one call's output shown to the model.
    """

    system: str | None
    entries: tuple[Entry, ...]
    mounted: Mapping[str, str]
    images: Mapping[str, str]
    logs_chars_max: int

    def shortened(self) -> Conversation | None:
        """
        Return the conversation without the older half of its entries; when only the last is left,
        with less of each call's output; None when nothing more can be left out.
        """
        if len(self.entries) > 1:
            return replace(self, entries=self.entries[(len(self.entries) + 1) // 2 :])
        if self.logs_chars_max > LOGS_CHARS_LEAST:
            return replace(self, logs_chars_max=max(LOGS_CHARS_LEAST, self.logs_chars_max // 4))
        return None

    def messages(self, added: Iterable[Entry] = ()) -> tuple[Message, ...]:
        """Return the messages of the conversation with what the run has added so far."""
        entries = (*self.entries, *added)
        writer = _Writer(self, entries)
        return tuple(writer.write())


def unpaired(items: Iterable[Item]) -> tuple[list[str], list[str]]:
    """Return the call ids of functions without an output, and of outputs without a call before."""
    waiting: dict[str, int] = defaultdict(int)
    orphans = []
    for item in items:
        if isinstance(item, FunctionCallItem) and item.status == "completed":
            waiting[item.call_id] += 1
        elif isinstance(item, FunctionOutputItem):
            if waiting[item.call_id]:
                waiting[item.call_id] -= 1
            else:
                orphans.append(item.call_id)
    return [call_id for call_id, count in waiting.items() if count], orphans


def code_output(item: CodeCallItem, *, chars_max: int) -> str:
    """Return what the model is told of a code call: what it printed, then what it left."""
    body = ""
    shown = set()
    lines = []
    for output in item.outputs:
        match output:
            case LogsOutput(logs=text) | ResultOutput(text=text):
                body = _joined(body, text)
            case ErrorOutput(name=name, message=message, traceback=traceback):
                body = _joined(body, traceback.strip() or f"{name}: {message}")
            case ImageOutput(path=path):
                shown.add(path)
                lines.append(f"[image shown to the user, saved as {path}]")
            case _:
                assert_never(output)
    told = [*_file_lines([a for a in item.artifacts if a.path not in shown]), *lines]
    text = _joined(middle_out(body.rstrip("\n"), chars_max), "\n".join(told))
    return text or _silence(item)


def _file_lines(artifacts: Sequence[Artifact]) -> Iterator[str]:
    """Yield a line for each kind of change that the call made to files."""
    for change in _CHANGES:
        paths = [
            a.path if a.previous_path is None else f"{a.previous_path} -> {a.path}"
            for a in artifacts
            if a.change == change
        ]
        more = len(paths) - FILES_NAMED_MAX
        if paths:
            named = ", ".join(paths[:FILES_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
            yield f"[files {change}: {named}]"


def middle_out(text: str, chars_max: int) -> str:
    """Return `text` with its middle left out if it is longer than `chars_max` characters."""
    if len(text) <= chars_max:
        return text
    head = chars_max // 2
    tail = chars_max - head
    left_out = len(text) - head - tail
    return f"{text[:head]}\n… [{left_out} characters left out] …\n{text[len(text) - tail :]}"


def _joined(before: str, text: str) -> str:
    between = "\n" if before and text and not before.endswith("\n") else ""
    return before + between + text


def _silence(item: CodeCallItem) -> str:
    if item.execution_status is not None:
        return "[no output]"
    if item.status == "completed":  # replayed by a client, which is not told outputs unasked
        return "[the output of this call is not known any more]"
    return "[this call was not run to its end]"


class _Writer:
    """Writes one conversation; knows which outputs belong to which function calls."""

    def __init__(self, conversation: Conversation, entries: Sequence[Entry]) -> None:
        self._conversation = conversation
        self._entries = entries
        self._answers: dict[str, deque[str]] = defaultdict(deque)
        for entry in entries:
            if isinstance(entry, FunctionOutputItem):
                self._answers[entry.call_id].append(entry.output)
        self._messages: list[Message] = []

    def write(self) -> list[Message]:
        if self._conversation.system:
            self._messages.append({"role": "system", "content": self._conversation.system})
        functions: list[FunctionCallItem] = []
        for entry in self._entries:
            if isinstance(entry, FunctionCallItem):
                functions.append(entry)
                continue
            self._functions(functions)
            functions = []
            self._entry(entry)
        self._functions(functions)
        return self._messages

    def _entry(self, entry: Entry) -> None:
        match entry:
            case MessageItem(role="assistant"):
                text = "".join(_plain(entry))
                if text:
                    self._messages.append({"role": "assistant", "content": text})
            case MessageItem(role="user"):
                self._messages.append({"role": "user", "content": self._user_content(entry)})
            case MessageItem():
                # Not every server knows `developer`; every one knows `system`.
                text = "\n".join(_plain(entry))
                self._messages.append({"role": "system", "content": text})
            case CodeCallItem():
                arguments = json.dumps({"code": entry.code}, ensure_ascii=False)
                answer = code_output(entry, chars_max=self._conversation.logs_chars_max)
                call_id = entry.call_id or entry.id
                self._calls([(call_id, CODE_TOOL_NAME, arguments, answer)])
            case CompactionItem():
                self._messages.append({"role": "user", "content": self._compaction(entry)})
            case HiddenCall():
                self._calls([(entry.call_id, entry.name, entry.arguments, entry.answer)])
            case Note(text=text):
                # From the user, because many templates take a system message only at the start.
                self._messages.append({"role": "user", "content": text})
            case ReasoningItem() | FunctionOutputItem() | FunctionCallItem():
                return  # never replayed; written with its call; collected by `write`
            case _:
                assert_never(entry)

    def _functions(self, items: Sequence[FunctionCallItem]) -> None:
        answered = [item for item in items if self._answers[item.call_id]]
        self._calls(
            [
                (item.call_id, item.name, item.arguments, self._answers[item.call_id].popleft())
                for item in answered
            ]
        )

    def _calls(self, calls: Sequence[tuple[str, str, str, str]]) -> None:
        """Write calls and their answers; text said just before them belongs to their message."""
        if not calls:
            return
        last = self._messages[-1] if self._messages else {}
        if last.get("role") != "assistant" or "tool_calls" in last:
            last = {"role": "assistant", "content": None}
            self._messages.append(last)
        last["tool_calls"] = [
            {"id": i, "type": "function", "function": {"name": name, "arguments": arguments}}
            for i, name, arguments, _ in calls
        ]
        for call_id, _, _, answer in calls:
            self._messages.append({"role": "tool", "tool_call_id": call_id, "content": answer})

    def _user_content(self, item: MessageItem) -> str | list[Message]:
        text = "\n".join((*_plain(item), *self._file_lines(item)))
        images = [
            {"type": "image_url", "image_url": _image_url(url, part.detail)}
            for part in item.parts
            if isinstance(part, ImagePart) and (url := self._url(part)) is not None
        ]
        if not images:
            return text
        return [{"type": "text", "text": text}, *images] if text else images

    def _compaction(self, item: CompactionItem) -> str:
        said = "\n".join(f"- {words}" for words in item.said)
        names = [self._conversation.mounted.get(file_id) for file_id in item.file_ids]
        mounted = [name for name in names if name is not None]
        parts = [
            f"[What I said before:\n{said}]" if said else "",
            f"[Your summary of our conversation so far:\n{item.summary}]",
            files_line(mounted) if mounted else "",
        ]
        return "\n\n".join(filter(None, parts))

    def _url(self, part: ImagePart) -> str | None:
        if part.file_id is not None:
            return self._conversation.images.get(part.file_id)
        return part.url

    def _file_lines(self, item: MessageItem) -> Iterator[str]:
        mounted = self._conversation.mounted
        readable, unreadable = [], []
        for part in item.parts:
            match part:
                case FilePart(file_id=str(file_id)) | ImagePart(file_id=str(file_id)):
                    if file_id in mounted:
                        readable.append(mounted[file_id])
                    elif isinstance(part, FilePart):
                        unreadable.append(part.filename)
                case _:
                    continue
        if readable:
            yield files_line(readable)
        if unreadable:
            yield f"[files attached but not readable here: {', '.join(unreadable)}]"


def _plain(item: MessageItem) -> Iterator[str]:
    for part in item.parts:
        match part:
            case TextPart(text=text) | RefusalPart(refusal=text):
                yield text
            case _:
                continue


def _image_url(url: str, detail: str) -> dict[str, str]:
    # `auto` is what servers assume, and some know no `detail` at all.
    return {"url": url} if detail == "auto" else {"url": url, "detail": detail}
