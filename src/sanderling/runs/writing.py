"""
The model's words as items: which item a piece belongs to, when one ends, and what it cites.

Pieces come in any order; items do not interleave. So text after reasoning closes the reasoning, a
refusal after text closes the text, and blank lines that lead to nothing but a call are no message.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from sanderling.errors import ModelProtocol
from sanderling.ids import new_id
from sanderling.records import (
    Artifact,
    CodeCallItem,
    Item,
    MessageItem,
    ReasoningItem,
    RefusalPart,
    TextPart,
)
from sanderling.runs.citations import annotate, mentions_files, note_artifacts
from sanderling.runs.events import (
    Event,
    MessageFinished,
    MessageStarted,
    ReasoningAdded,
    ReasoningFinished,
    ReasoningStarted,
    RefusalAdded,
    TextAdded,
)
from sanderling.runs.open_item import OpenItem
from sanderling.runs.transcript import Entry
from sanderling.runs.workspace import Workspace

Tell = Callable[[Event], Awaitable[None]]


class Writer:
    """
    Writes the items of one run.

    Attributes:
        open: the item that has begun and not ended.
        entries: what the run has added to the conversation; the loop adds its own to it.
    """

    def __init__(self, workspace: Workspace, tell: Tell, *, uncited: Iterable[Artifact]) -> None:
        self.open = OpenItem()
        self.entries: list[Entry] = []
        self._workspace = workspace
        self._tell = tell
        self._uncited = {artifact.file_id: artifact for artifact in uncited}
        self._shown: set[str] = set()
        self._blank = ""  # white space that begins a message if words follow

    async def tell(self, event: Event) -> None:
        """Tell the run's next event."""
        self.open.add(event)
        await self._tell(event)

    async def finish(self, item: Item, event: Event) -> None:
        """Tell `event`, which closes `item`."""
        self.entries.append(item)
        if isinstance(item, CodeCallItem):
            note_artifacts(item, self._uncited, self._shown)
        await self.tell(event)

    async def text(self, text: str) -> bool:
        """Write words; return whether they are any, white space being kept until there are."""
        if self.open.kind != "message" or self.open.is_refusal:
            text, self._blank = self._blank + text, ""
            if not text.strip():
                self._blank = text
                return False
        await self._ensure_message(refusal=False)
        await self.tell(TextAdded(self.open.item_id, text))
        return True

    async def refusal(self, text: str) -> None:
        """Write words of refusal."""
        await self._ensure_message(refusal=True)
        await self.tell(RefusalAdded(self.open.item_id, text))

    async def reasoning(self, text: str) -> None:
        """Write reasoning."""
        if self.open.kind != "reasoning":
            await self.close()
            await self.tell(ReasoningStarted(new_id("rs")))
        await self.tell(ReasoningAdded(self.open.item_id, text))

    async def _ensure_message(self, *, refusal: bool) -> None:
        if self.open.kind == "message" and self.open.is_refusal == refusal:
            return
        await self.close()
        await self.tell(MessageStarted(new_id("msg")))

    async def close(self, *, is_final: bool = False, is_cut: bool = False) -> None:
        """
        Finish the open message or reasoning, if one is open.

        Args:
            is_final: nothing follows, so artifacts that nobody linked are cited here.
            is_cut: the model was stopped in the middle of it.

        Raises:
            ModelProtocol: a call is open; the model server mixed it with something else.
        """
        self._blank = ""
        match self.open.kind:
            case "message":
                part = (
                    RefusalPart(self.open.text)
                    if self.open.is_refusal
                    else await self._text_part(self.open.text, is_final=is_final)
                )
                message = MessageItem(
                    self.open.item_id,
                    "assistant",
                    (part,),
                    status="incomplete" if is_cut else "completed",
                )
                await self.finish(message, MessageFinished(message))
            case "reasoning":
                reasoning = ReasoningItem(self.open.item_id, self.open.text)
                await self.finish(reasoning, ReasoningFinished(reasoning))
            case "code" | "function":
                raise ModelProtocol("The model server mixed a call with what follows it.")
            case None:
                return

    async def conclude(self, *, has_spoken: bool) -> None:
        """
        Finish the last message of the run. Make an empty one if the model had nothing to say, or
        if files are left that no message cites: a client must always get them.
        """
        await self.close(is_final=True)
        if has_spoken and not await self._has_uncited():
            return
        await self.tell(MessageStarted(new_id("msg")))
        await self.close(is_final=True)

    async def _has_uncited(self) -> bool:
        if not self._uncited:
            return False
        existing = {file.id for file in await self._workspace.files()}
        return not existing.isdisjoint(self._uncited)

    async def _text_part(self, text: str, *, is_final: bool) -> TextPart:
        uncited = tuple(self._uncited.values()) if is_final else ()
        if not uncited and not mentions_files(text):
            return TextPart(text)
        files = await self._workspace.files()
        citations = annotate(text, files, uncited=uncited, shown=self._shown)
        for citation in citations:
            self._uncited.pop(citation.file_id, None)
        return TextPart(text, citations)
