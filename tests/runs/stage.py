"""
The stage on which playbooks are played: real store, feed, containers and runner; a scripted model.

`play` runs one request to its end and returns its events. `readable` writes events as short lines
with ids replaced by the order in which they appear, so that a playbook reads like the conversation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from sanderling.containers.registry import Containers
from sanderling.models.base import Model
from sanderling.models.scripted import ScriptedModel, Turn
from sanderling.records import (
    AutoContainer,
    CodeTool,
    Item,
    LogsOutput,
    MessageItem,
    Output,
    Part,
    RefusalPart,
    Run,
    RunRequest,
    TextPart,
)
from sanderling.runs import events as e
from sanderling.runs.feed import Feed
from sanderling.runs.runner import Runner
from sanderling.store.store import Store
from tests.containers.makers import ORG
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_sandbox import MemorySandbox

AUTO = CodeTool(AutoContainer())


def user(*parts: Part | str, id: str = "msg_user") -> MessageItem:
    return MessageItem(id, "user", tuple(TextPart(p) if isinstance(p, str) else p for p in parts))


def request(*parts: Part | str, **values: Any) -> RunRequest:
    given: dict[str, Any] = {
        "organization_id": ORG,
        "dialect": "responses",
        "model": "gpt-4.1",
        "input": (user(*parts),) if parts else (),
        "tools": (AUTO,),
    }
    return RunRequest(**(given | values))


class Stage:
    """One server's worth of parts, and how to play on them."""

    def __init__(
        self,
        store: Store,
        sandbox: MemorySandbox,
        containers: Containers,
        feed: Feed,
        clock: FakeClock,
    ) -> None:
        self.store = store
        self.sandbox = sandbox
        self.containers = containers
        self.feed = feed
        self.clock = clock
        self.model = ScriptedModel([])
        self._runners: list[Runner] = []

    def runner(self, turns: Iterable[Turn] | Model, **values: Any) -> Runner:
        """Return a runner whose model says `turns`."""
        model = turns if hasattr(turns, "stream") else ScriptedModel(turns)
        if isinstance(model, ScriptedModel):
            self.model = model
        runner = Runner(
            store=self.store,
            model=model,  # type: ignore[arg-type]
            containers=self.containers,
            feed=self.feed,
            clock=self.clock,
            **values,
        )
        self._runners.append(runner)
        return runner

    async def play(
        self, turns: Iterable[Turn] | Model, request: RunRequest, **values: Any
    ) -> list[e.Event]:
        """Run `request` to its end with a model that says `turns`."""
        _, told = await self.run(turns, request, **values)
        return told

    async def run(
        self, turns: Iterable[Turn] | Model, request: RunRequest, **values: Any
    ) -> tuple[Run, list[e.Event]]:
        """As `play`, with the run as it is recorded at its end."""
        runner = self.runner(turns, **values)
        run = await runner.start(request)
        told = [event async for _, event in runner.follow(run.id)]
        run, _, _ = await runner.get(ORG, run.id, include_unstored=True)
        return run, told

    async def close(self) -> None:
        for runner in self._runners:
            await runner.close()


def items(told: Sequence[e.Event]) -> list[Item]:
    """Return the items that the events of a run finished."""
    finished = (
        e.MessageFinished,
        e.ReasoningFinished,
        e.CodeCallFinished,
        e.FunctionCallFinished,
    )
    return [event.item for event in told if isinstance(event, finished)]


def answer(told: Sequence[e.Event]) -> MessageItem:
    """Return the last message of a run."""
    messages = [item for item in items(told) if isinstance(item, MessageItem)]
    return messages[-1]


def answer_text(told: Sequence[e.Event]) -> str:
    [part] = answer(told).parts
    assert isinstance(part, TextPart)
    return part.text


def readable(told: Sequence[e.Event]) -> list[str]:
    """Return the events as lines; adjacent deltas of one item are one line."""
    lines: list[str] = []
    for event in told:
        line = _line(event)
        head = line.split("|")[0]
        if head.endswith("+ ") and lines and lines[-1].startswith(head):
            lines[-1] += line.split("|", 1)[1]
        else:
            lines.append(line)
    return _renamed(lines)


def _line(event: e.Event) -> str:
    match event:
        case e.RunChanged():
            why = event.incomplete_reason or (event.error.code if event.error else "")
            return f"run {event.status} {why}".strip()
        case e.ReasoningStarted() | e.MessageStarted():
            return f"{event.item_id} begins"
        case e.ReasoningAdded() | e.TextAdded() | e.CodeAdded() | e.ArgumentsAdded():
            return f"{event.item_id} + |{event.delta}"
        case e.RefusalAdded():
            return f"{event.item_id} refuses + |{event.delta}"
        case e.CodeCallStarted():
            return f"{event.item_id} begins {event.call_id} in {event.container_id}"
        case e.FunctionCallStarted():
            return f"{event.item_id} begins {event.call_id} {event.name}"
        case e.CodeWritten():
            return f"{event.item_id} written {event.code}"
        case e.OutputAdded():
            return f"{event.item_id} [{event.index}] {_output(event.output)}"
        case e.MessageFinished(item=item):
            [part] = item.parts
            text = part.refusal if isinstance(part, RefusalPart) else part.text  # type: ignore[union-attr]
            return f"{item.id} ends {item.status} {text}"
        case e.ReasoningFinished(item=item):
            return f"{item.id} ends {item.text}"
        case e.CodeCallFinished(item=item):
            outputs = " ".join(_output(output) for output in item.outputs)
            return f"{item.id} ends {item.status} {item.execution_status} {outputs}".strip()
        case e.FunctionCallFinished(item=item):
            return f"{item.id} ends {item.status} {item.name}({item.arguments})"


def _output(output: Output) -> str:
    if isinstance(output, LogsOutput):
        return f"{output.stream}:{output.logs.rstrip()}"
    return f"{output.type}:{getattr(output, 'text', getattr(output, 'name', ''))}"


def _renamed(lines: list[str]) -> list[str]:
    names: dict[str, str] = {}
    counts: dict[str, int] = {}

    def name(match: re.Match[str]) -> str:
        if match[0] not in names:
            counts[match[1]] = counts.get(match[1], 0) + 1
            names[match[0]] = f"{match[1]}{counts[match[1]]}"
        return names[match[0]]

    return [re.sub(r"\b(msg|rs|ci|fc|cntr)_[0-9a-f]{32,}", name, line) for line in lines]
