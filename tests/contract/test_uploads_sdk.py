"""Uploads in parts through the official SDK."""

from __future__ import annotations

import hashlib

import openai
import pytest
from openai import OpenAI

CONTENT = bytes(range(256)) * 10_000


@pytest.mark.parametrize("part_size", [1 << 20, 64 << 20])
def test_file_on_the_disk_is_sent_in_chunks(client: OpenAI, tmp_path, part_size: int):
    path = tmp_path / "large file.bin"
    path.write_bytes(CONTENT)

    upload = client.uploads.upload_file_chunked(
        file=path,
        mime_type="application/octet-stream",
        purpose="user_data",
        part_size=part_size,
        md5=hashlib.md5(CONTENT).hexdigest(),
    )

    assert upload.status == "completed"
    assert upload.file is not None
    assert (upload.file.filename, upload.file.bytes) == ("large file.bin", len(CONTENT))
    assert client.files.content(upload.file.id).read() == CONTENT


def test_file_in_memory_is_put_into_a_container(client: OpenAI):
    upload = client.uploads.upload_file_chunked(
        file=CONTENT,
        filename="a.bin",
        bytes=len(CONTENT),
        mime_type="application/octet-stream",
        purpose="assistants",
        part_size=1_000_000,
    )
    assert upload.file is not None

    container = client.containers.create(name="parts", file_ids=[upload.file.id])

    (file,) = client.containers.files.list(container.id)
    content = client.containers.files.content.retrieve(file.id, container_id=container.id)
    assert (file.path, content.read()) == ("/mnt/data/a.bin", CONTENT)


def test_cancelled_upload_takes_no_parts(client: OpenAI):
    upload = client.uploads.create(bytes=3, filename="a", mime_type="text/plain", purpose="vision")
    part = client.uploads.parts.create(upload.id, data=b"123")
    assert part.upload_id == upload.id

    assert client.uploads.cancel(upload.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError, match="was cancelled"):
        client.uploads.parts.create(upload.id, data=b"123")
    with pytest.raises(openai.BadRequestError, match="was cancelled"):
        client.uploads.complete(upload.id, part_ids=[part.id])


def test_upload_above_the_limit_is_refused_before_any_part(client: OpenAI):
    with pytest.raises(openai.APIStatusError) as caught:
        client.uploads.create(
            bytes=(8 << 30) + 1, filename="a", mime_type="text/plain", purpose="vision"
        )

    assert (caught.value.status_code, caught.value.param) == (413, "bytes")
