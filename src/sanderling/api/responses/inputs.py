"""
The input of a response as records: files found or stored, references looked up.

Files that come inside the request are stored as files of the organization, so that from here on a
file is a file, however it came. They are taken back if the request turns out to be wrong.

A replayed code call needs no look-up, because clients replay calls of containers, and of servers,
that are long gone. Where the call is one of ours and the client was not shown its outputs, they
are taken from the store, so that the model reads what the code printed.
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import assert_never

from sanderling.api.files import find_file, keep_content
from sanderling.api.responses.parts import (
    CodeInterpreterCall,
    Compaction,
    FunctionCall,
    FunctionCallOutput,
    InputFile,
    InputImage,
    InputItem,
    InputText,
    ItemReference,
    LogsReplayed,
    Message,
    MessagePart,
    OutputReplayed,
    OutputText,
    Reasoning,
    Refusal,
)
from sanderling.api.responses.sealed import unseal
from sanderling.api.services import Services
from sanderling.api.validation import missing
from sanderling.errors import InvalidRequest
from sanderling.ids import new_id
from sanderling.records import (
    CodeCallItem,
    CompactionItem,
    FilePart,
    FunctionCallItem,
    FunctionOutputItem,
    ImageOutput,
    ImagePart,
    Item,
    LogsOutput,
    MessageItem,
    Output,
    Part,
    ReasoningItem,
    RefusalPart,
    StoredFile,
    TextPart,
)

_DATA_URL = re.compile(r"data:(?P<mime>[\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;,]*)*(?P<b64>;base64)?,")
_WEB_URL = re.compile(r"https?://", re.IGNORECASE)


@asynccontextmanager
async def input_items(
    given: str | Sequence[InputItem] | None,
    *,
    services: Services,
    organization_id: str,
    param: str = "input",
    inline: list[str] | None = None,
    places: Sequence[str] = (),
    is_sent_again: bool = False,
) -> AsyncIterator[tuple[Item, ...]]:
    """
    Yield the records of an input; files stored for it are deleted again if the block raises.

    param: where the input stands in the request.
    inline: gets the ids of those files.
    places: where each of its items does, if they come from elsewhere.
    is_sent_again: clients send all content with every request, so the same is the same file.

    Raises:
        InvalidRequest, NotFound: `param` names the place.
    """
    reader = _Reader(services, organization_id, is_sent_again=is_sent_again)
    try:
        items = await reader.read(given, param, places)
        if inline is not None:
            inline += reader.stored_ids
        yield items
    except BaseException:
        await reader.take_back()
        raise


class _Reader:
    """Reads one input; knows which files it has stored on the way."""

    def __init__(self, services: Services, organization_id: str, *, is_sent_again: bool) -> None:
        self._services = services
        self._is_sent_again = is_sent_again
        self._organization_id = organization_id
        self._stored: list[StoredFile] = []

    async def read(
        self, given: str | Sequence[InputItem] | None, param: str, places: Sequence[str] = ()
    ) -> tuple[Item, ...]:
        if given is None:
            return ()
        if isinstance(given, str):
            return (MessageItem(new_id("msg"), "user", (TextPart(given),)),)
        items: list[Item] = []
        attached: list[Part] = []  # files in outputs of functions, given on as the user's
        for index, each in enumerate(given):
            if attached and not isinstance(each, FunctionCallOutput):
                items.append(MessageItem(new_id("msg"), "user", tuple(attached)))
                attached = []
            place = places[index] if places else f"{param}[{index}]"
            items.append(await self._item(each, place, attached))
        if attached:
            items.append(MessageItem(new_id("msg"), "user", tuple(attached)))
        return tuple(items)

    @property
    def stored_ids(self) -> list[str]:
        """The files that were stored for this input."""
        return [file.id for file in self._stored]

    async def take_back(self) -> None:
        """Delete the files that were stored for this input."""
        for file in self._stored:
            await self._services.store.files.delete(self._organization_id, file.id)
            await self._services.store.release_blob(file.blob_id)

    # ---- items ---------------------------------------------------------------------------------

    async def _item(self, given: InputItem, param: str, attached: list[Part]) -> Item:
        match given:
            case Message():
                return await self._message(given, param)
            case FunctionCall():
                return FunctionCallItem(
                    id=given.id or new_id("fc"),
                    call_id=given.call_id,
                    name=given.name,
                    arguments=given.arguments,
                )
            case FunctionCallOutput():
                return await self._function_output(given, param, attached)
            case Reasoning():
                return ReasoningItem(
                    id=given.id or new_id("rs"),
                    text="\n".join(each.text for each in given.content or ()),
                    encrypted_content=given.encrypted_content,
                    summary=tuple(each.text for each in given.summary or ()),
                )
            case CodeInterpreterCall():
                return await self._code_call(given)
            case ItemReference(id=item_id):
                item = await self._known(item_id)
                if item is None:
                    raise InvalidRequest(
                        f"Item with id '{item_id}' not found.",
                        param=f"{param}.id",
                        code="item_not_found",
                    )
                return item
            case Compaction():
                return await self._compaction(given, param)
            case _:
                assert_never(given)

    async def _compaction(self, given: Compaction, param: str) -> CompactionItem:
        item = unseal(
            given.id or new_id("cmp"), given.encrypted_content, param=f"{param}.encrypted_content"
        )
        files = self._services.store.files
        # It may be given back long after; what was deleted since is not asked for.
        known = [i for i in item.file_ids if await files.get(self._organization_id, i)]
        return replace(item, file_ids=tuple(known))

    async def _message(self, given: Message, param: str) -> MessageItem:
        if isinstance(given.content, str):
            parts: tuple[Part, ...] = (TextPart(given.content),)
        else:
            parts = tuple(
                [
                    await self._part(part, f"{param}.content[{index}]")
                    for index, part in enumerate(given.content)
                ]
            )
        return MessageItem(given.id or new_id("msg"), given.role, parts)

    async def _function_output(
        self, given: FunctionCallOutput, param: str, attached: list[Part]
    ) -> FunctionOutputItem:
        if isinstance(given.output, str):
            text = given.output
        else:
            parts = [
                await self._part(part, f"{param}.output[{index}]")
                for index, part in enumerate(given.output)
            ]
            text = "\n".join(part.text for part in parts if isinstance(part, TextPart))
            attached.extend(part for part in parts if not isinstance(part, TextPart))
        return FunctionOutputItem(given.id or new_id("fco"), given.call_id, text)

    async def _code_call(self, given: CodeInterpreterCall) -> CodeCallItem:
        known = None
        if given.id is not None and given.outputs is None:
            known = await self._known(given.id)
        if isinstance(known, CodeCallItem) and known.code == (given.code or ""):
            return known
        item_id = given.id or new_id("ci")
        return CodeCallItem(
            id=item_id,
            call_id=new_id("call"),
            code=given.code or "",
            container_id=given.container_id or "",
            status="completed",
            outputs=tuple(_replayed(each) for each in given.outputs or ()),
            execution_status=None if given.outputs is None else "ok",
        )

    async def _known(self, item_id: str) -> Item | None:
        """Return the item of that id, from a stored response or from a conversation."""
        store = self._services.store
        return await store.runs.find_item(
            self._organization_id, item_id
        ) or await store.conversations.find_item(self._organization_id, item_id)

    # ---- parts ---------------------------------------------------------------------------------

    async def _part(self, given: MessagePart, param: str) -> Part:
        match given:
            case InputText(text=text) | OutputText(text=text):
                return TextPart(text)
            case Refusal(refusal=refusal):
                return RefusalPart(refusal)
            case InputImage():
                return await self._image(given, param)
            case InputFile():
                return await self._file(given, param)
            case _:
                assert_never(given)

    async def _image(self, given: InputImage, param: str) -> ImagePart:
        detail = given.detail or "auto"
        if given.file_id is not None:
            file = await self._find(given.file_id, param)
            return ImagePart(file_id=file.id, detail=detail)
        if given.image_url is None:
            raise missing(f"{param}.image_url")
        if _WEB_URL.match(given.image_url):
            return ImagePart(url=given.image_url, detail=detail)
        param = f"{param}.image_url"
        if not given.image_url.startswith("data:"):
            raise InvalidRequest(
                f"Invalid '{param}': expected a data URL with base64 or a web address.",
                param=param,
                code="invalid_value",
            )
        data, mime = _data(given.image_url, param)
        suffix = mimetypes.guess_extension(mime) or ".png"
        file = await self._store(data, f"image{suffix}", purpose="vision")
        return ImagePart(file_id=file.id, detail=detail)

    async def _file(self, given: InputFile, param: str) -> FilePart:
        if given.file_id is not None:
            file = await self._find(given.file_id, param)
            return FilePart(file.id, file.filename)
        if given.file_data is not None:
            data, mime = _data(given.file_data, f"{param}.file_data")
            name = given.filename or "file" + (mimetypes.guess_extension(mime) or "")
            file = await self._store(data, name, purpose="user_data")
            return FilePart(file.id, file.filename)
        if given.file_url is not None:
            raise InvalidRequest(
                "This server does not fetch files from addresses. Upload the file and give its "
                "'file_id', or give its content as 'file_data'.",
                param=f"{param}.file_url",
                code="unsupported_parameter",
            )
        raise missing(f"{param}.file_id")

    async def _find(self, file_id: str, param: str) -> StoredFile:
        return await find_file(
            self._services, self._organization_id, file_id, param=f"{param}.file_id"
        )

    async def _store(self, data: bytes, filename: str, *, purpose: str) -> StoredFile:
        file, is_new = await keep_content(
            self._services,
            self._organization_id,
            data,
            filename=filename,
            purpose=purpose,
            is_sent_again=self._is_sent_again,
        )
        if is_new:
            self._stored.append(file)
        return file


def _data(text: str, param: str) -> tuple[bytes, str]:
    """Return the bytes and the media type of a data URL, or of bare base64."""
    mime = "application/octet-stream"
    if text.startswith("data:"):
        match = _DATA_URL.match(text)
        if match is None or not match["b64"]:
            raise InvalidRequest(
                f"Invalid '{param}': the data URL is not of the form "
                "'data:<media type>;base64,<data>'.",
                param=param,
                code="invalid_value",
            )
        mime = match["mime"] or mime
        text = text[match.end() :]
    try:
        return base64.b64decode("".join(text.split()), validate=True), mime
    except (binascii.Error, ValueError) as error:  # ValueError: not ASCII
        raise InvalidRequest(
            f"Invalid '{param}': the data is not base64.", param=param, code="invalid_value"
        ) from error


def _replayed(given: OutputReplayed) -> Output:
    match given:
        case LogsReplayed(logs=text):
            return LogsOutput("stdout", text)
        case _:
            # Its container file is not known any more; the model is told that there was a picture.
            return ImageOutput(data_url=given.url, file_id="", path="")
