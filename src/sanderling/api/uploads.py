"""
Multipart forms: small fields into memory, the file straight into the blob store.

The body is pushed through a parser chunk by chunk, so a 512 MB upload needs no more memory than a
small one and is written once. Fields may come before or after the file. Nothing is left behind
when the form turns out to be wrong: `received_form` hands the bytes over only to a block that ends
well.

Source: RFC 7578 (multipart/form-data).
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from sanderling.api.bodies import check_content_encoding
from sanderling.api.validation import json_name
from sanderling.errors import InvalidRequest, TooLarge
from sanderling.store.blobs import BlobWriter
from sanderling.store.store import Store

# It warns of each malformed body; the client is told, and nobody may fill the log by sending them.
logging.getLogger("python_multipart").setLevel(logging.ERROR)

FILE_FIELD = "file"
# Every field of the API is an id, a word or a number.
FIELD_BYTES_MAX = 64 << 10
FIELDS_MAX = 64
# What a part's bytes may say to be encoded as; none of them changes the bytes. RFC 7578 §4.7 has
# ended the others, and a file kept in base64 would not be the file.
_PLAIN_ENCODINGS = ("", "7bit", "8bit", "binary")
# After a refusal the rest of the body is read and dropped up to here, because a client that is
# still sending would see a broken connection instead of the answer.
_DRAIN_BYTES_MAX = 256 << 20
# What a form needs beside its file: boundaries, headers, fields.
_FORM_BYTES_EXTRA = 1 << 20


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A file that arrived; its name is as the client wrote it."""

    filename: str
    blob_id: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Form:
    """A form that arrived whole."""

    fields: dict[str, str]
    file: ReceivedFile | None


@asynccontextmanager
async def received_form(
    request: Request, store: Store, *, file_bytes_max: int, file_field: str = FILE_FIELD
) -> AsyncIterator[Form]:
    """
    Receive a multipart form; yield it; the blob is the block's to record, and let go if it raises.

    file_field: the one field that may be a file.

    Raises:
        InvalidRequest: not multipart, cut short, a field twice or too long.
        TooLarge: the file has more than `file_bytes_max` bytes.
    """
    form = await _receive(request, store, file_bytes_max, file_field)
    try:
        yield form
    except BaseException:
        if form.file is not None:
            await store.release_blob(form.file.blob_id)
        raise


async def _receive(request: Request, store: Store, file_bytes_max: int, file_field: str) -> Form:
    reader = _FormReader(_boundary(request), store, file_bytes_max, file_field)
    chunks = request.stream()
    try:
        _check_declared_size(request, file_bytes_max, file_field)
        async for chunk in chunks:
            await reader.feed(chunk)
        return await reader.finish()
    except (InvalidRequest, TooLarge):
        await reader.abandon()
        # Whoever asks first whether to send (`Expect: 100-continue`) has sent nothing yet.
        if "expect" not in request.headers:
            await _drain(chunks)
        raise
    except BaseException:
        await reader.abandon()
        raise


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    dropped = 0
    async for chunk in chunks:
        dropped += len(chunk)
        if dropped > _DRAIN_BYTES_MAX:
            return


def _boundary(request: Request) -> bytes:
    check_content_encoding(request)
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        shown = request.headers.get("content-type", "none")[:100]
        raise InvalidRequest(
            f"Unsupported content type: '{shown}'. This API method only accepts "
            "'multipart/form-data' requests.",
            code="unsupported_content_type",
        )
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:  # RFC 2046 §5.1.1
        raise _broken("the boundary is missing or too long")
    return boundary


def _check_declared_size(request: Request, file_bytes_max: int, file_field: str) -> None:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > file_bytes_max + _FORM_BYTES_EXTRA:
        raise too_large(file_bytes_max, file_field)


def too_large(file_bytes_max: int, param: str) -> TooLarge:
    """Return the error for a file above the limit."""
    return TooLarge(
        f"The file is larger than the maximum of {file_bytes_max} bytes.",
        param=param,
        code="file_too_large",
    )


def _broken(why: str) -> InvalidRequest:
    return InvalidRequest(
        f"We could not parse the multipart body of your request: {why}.", code="invalid_multipart"
    )


@dataclass(slots=True)
class _Part:
    """The part that is being received."""

    name: str
    filename: str
    is_file: bool
    encoding: str  # of its bytes, as its header says
    value: bytearray = field(default_factory=bytearray)


class _FormReader:
    """
    Turns chunks of a body into a form.

    The parser calls back synchronously and a blob is written asynchronously, so the callbacks only
    note what happened in one chunk; `feed` then acts on the notes in order.
    """

    def __init__(self, boundary: bytes, store: Store, file_bytes_max: int, file_field: str) -> None:
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )
        self._store = store
        self._file_bytes_max = file_bytes_max
        self._file_field = file_field
        self._notes: list[_Part | bytes | None] = []  # a part begins | its data | it ended
        self._header_name, self._header_value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._has_ended = False

        self._fields: dict[str, str] = {}
        self._file: ReceivedFile | None = None
        self._part: _Part | None = None
        self._writer: BlobWriter | None = None
        self._open = AsyncExitStack()

    # ---- what the parser says ------------------------------------------------------------------

    def _on_part_begin(self) -> None:
        self._headers = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[bytes(self._header_name).lower()] = bytes(self._header_value)
        self._header_name, self._header_value = bytearray(), bytearray()

    def _on_headers_finished(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"")
        _, options = parse_options_header(disposition)
        name = _text(options.get(b"name", b""))
        filename = options.get(b"filename")
        shown = _extended_name(disposition) if filename is None else _filename(filename)
        self._notes.append(
            _Part(
                name=name,
                filename=shown or "upload",
                is_file=shown is not None or name == self._file_field,
                encoding=_text(self._headers.get(b"content-transfer-encoding", b"")),
            )
        )

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._notes.append(data[start:end])

    def _on_part_end(self) -> None:
        self._notes.append(None)

    def _on_end(self) -> None:
        self._has_ended = True

    # ---- what is done about it -----------------------------------------------------------------

    async def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _broken(str(error)) from error
        notes, self._notes = self._notes, []
        for note in notes:
            match note:
                case _Part():
                    await self._begin(note)
                case bytes():
                    await self._add(note)
                case None:
                    await self._end()

    async def _begin(self, part: _Part) -> None:
        if not part.name:
            raise _broken("a part has no name")
        if part.name in self._fields or (part.name == self._file_field and self._file):
            raise InvalidRequest(
                f"Duplicate parameter: '{part.name}'.",
                param=part.name,
                code="duplicate_parameter",
            )
        if part.encoding.strip().lower() not in _PLAIN_ENCODINGS:
            raise _broken(
                f"the part '{part.name}' is encoded as '{part.encoding[:40]}'; send its bytes as "
                "they are"
            )
        if len(self._fields) >= FIELDS_MAX:
            raise _broken(f"it has more than {FIELDS_MAX} fields")
        if part.is_file and part.name != self._file_field:
            raise InvalidRequest(
                f"Invalid type for '{part.name}': expected {json_name('')}, but got a file "
                "instead.",
                param=part.name,
                code="invalid_type",
            )
        self._part = part
        if part.is_file:
            writer = self._store.blobs.writer(bytes_max=self._file_bytes_max)
            self._writer = await self._open.enter_async_context(writer)

    async def _add(self, data: bytes) -> None:
        part = self._part
        assert part is not None
        if self._writer is not None:
            try:
                await self._writer.write(data)
            except TooLarge as error:
                raise too_large(self._file_bytes_max, self._file_field) from error
            return
        part.value += data
        if len(part.value) > FIELD_BYTES_MAX:
            raise InvalidRequest(
                f"Invalid '{part.name}': string too long. Expected a string with maximum length "
                f"{FIELD_BYTES_MAX}.",
                param=part.name,
                code="string_above_max_length",
            )

    async def _end(self) -> None:
        part, self._part = self._part, None
        assert part is not None
        if self._writer is None:
            self._fields[part.name] = _text(bytes(part.value))
            return
        writer, self._writer = self._writer, None
        await self._open.aclose()
        self._file = ReceivedFile(part.filename, writer.blob_id, writer.bytes)

    async def finish(self) -> Form:
        """
        Return the form, whose body has ended.

        Raises:
            InvalidRequest: the body was cut short.
        """
        if not self._has_ended:
            raise _broken("it ends before its last boundary")
        return Form(self._fields, self._file)

    async def abandon(self) -> None:
        """Drop whatever was received."""
        refusal = InvalidRequest("The form was abandoned.")
        # Leaving the writer's block with an exception is how it learns to keep nothing.
        await self._open.__aexit__(type(refusal), refusal, None)
        if self._file is not None:
            await self._store.release_blob(self._file.blob_id)


def _text(value: bytes) -> str:
    """Decode as browsers and SDKs encode: UTF-8, else the Latin-1 of old clients."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


# A name that is not ASCII as older clients write it (urllib3 1, thus requests).
_EXTENDED_NAME = re.compile(rb"""filename\*\s*=\s*"?utf-8'[^']*'([^\s;"]*)""", re.IGNORECASE)


def _extended_name(disposition: bytes) -> str | None:
    """
    Return the name in `filename*=utf-8''…`, if there is one.

    Source: RFC 8187; RFC 7578 §4.2 forbids it in forms, and clients send it nevertheless.
    """
    match = _EXTENDED_NAME.search(disposition)
    return None if match is None else _text(unquote_to_bytes(match[1]))


# What a browser, and the SDKs as they do, write for the three characters that would end the header.
# Every other percent sign is one of the name: `100%.csv` is sent as it is.
_ESCAPED = {"%22": '"', "%0A": "\n", "%0D": "\r"}


def _filename(value: bytes) -> str:
    """
    Return the name of a file as its owner knows it.

    Source: WHATWG HTML, "Multipart form data", which escapes a name that way.
    """
    name = _text(value)
    for written, character in _ESCAPED.items():
        name = name.replace(written, character)
    return name
