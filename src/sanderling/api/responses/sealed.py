"""
The content of a compaction item as clients carry it about: to JSON and back. Pure.

The item is whole in itself: a client may give it back after a restart, or to another server.
`encrypted_content` is OpenAI's name for something that is not for reading; ours is no secret, as it
holds what the client said itself, and is not trusted, as it comes back as a client's input.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal

import orjson
from pydantic import Field, ValidationError

from sanderling.api.validation import RequestModel
from sanderling.errors import InvalidRequest
from sanderling.records import CompactionItem

_FILES_MAX = 1000
_SHOWN_CHARS_MAX = 12


class _Sealed(RequestModel):
    version: Literal[1]
    summary: str
    said: list[str]
    container_id: str | None
    file_ids: Annotated[list[str], Field(max_length=_FILES_MAX)]


def seal(item: CompactionItem) -> str:
    """Return the item's content as one word."""
    content = {
        "version": 1,
        "summary": item.summary,
        "said": item.said,
        "container_id": item.container_id,
        "file_ids": item.file_ids[:_FILES_MAX],
    }
    return base64.urlsafe_b64encode(orjson.dumps(content)).decode("ascii")


def unseal(item_id: str, content: str, *, param: str) -> CompactionItem:
    """
    Return the item that `seal` was given.

    Raises:
        InvalidRequest: it is not one of ours, or was changed.
    """
    try:
        data = base64.b64decode(content, altchars=b"-_", validate=True)
        sealed = _Sealed.model_validate(orjson.loads(data))
    except (binascii.Error, ValueError, ValidationError) as error:
        shown = content[:_SHOWN_CHARS_MAX]
        raise InvalidRequest(
            f"The encrypted content {shown}... could not be verified. Give back a compaction item "
            "of this server's POST /v1/responses/compact, as it came.",
            param=param,
            code="invalid_encrypted_content",
        ) from error
    return CompactionItem(
        id=item_id,
        summary=sealed.summary,
        said=tuple(sealed.said),
        container_id=sealed.container_id,
        file_ids=tuple(sealed.file_ids),
    )
