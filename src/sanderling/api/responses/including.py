"""What clients may ask to be shown of input items: pictures as data URLs, from stored files."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace

from sanderling.api.services import Services
from sanderling.records import ImagePart, Item, MessageItem, Part
from sanderling.runs.briefing import IMAGES_BYTES_MAX, image_mime

IMAGE_URLS = "message.input_image.image_url"


async def with_image_urls(
    items: Sequence[Item], services: Services, organization_id: str
) -> list[Item]:
    """
    Return the items with the bytes of their pictures in them, as data URLs.

    The first are taken first, up to IMAGES_BYTES_MAX in all; the rest keep their file's id alone,
    and so do pictures whose file is gone or is none that a browser shows.
    """
    room = IMAGES_BYTES_MAX
    shown: list[Item] = []
    for item in items:
        if not isinstance(item, MessageItem):
            shown.append(item)
            continue
        parts: list[Part] = []
        for part in item.parts:
            if isinstance(part, ImagePart) and part.file_id is not None:
                url, size = await _data_url(part.file_id, room, services, organization_id)
                room -= size
                parts.append(replace(part, url=url))
            else:
                parts.append(part)
        shown.append(replace(item, parts=tuple(parts)))
    return shown


async def _data_url(
    file_id: str, room: int, services: Services, organization_id: str
) -> tuple[str | None, int]:
    """Return a picture as a data URL and how many bytes it has; (None, 0) if there is none."""
    file = await services.store.files.get(organization_id, file_id)
    if file is None or file.bytes > room:
        return None, 0
    data = b"".join([chunk async for chunk in services.store.blobs.read(file.blob_id)])
    mime = image_mime(data)
    if mime is None:
        return None, 0
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}", file.bytes
