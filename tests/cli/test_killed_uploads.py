"""A server that is killed while bytes come in leaves none that nobody can ask for."""

from __future__ import annotations

import http.client
from pathlib import Path
from urllib.parse import urlsplit

import openai
import pytest
from openai import OpenAI

from tests.cli.live import serving

# The boundary and the part's header, then bytes that never end.
_BEGUN = b'--B\r\nContent-Disposition: form-data; name="data"; filename="upload"\r\n\r\n' + b"x" * (
    4 << 20
)


def blobs(data: Path) -> list[Path]:
    return [path for path in (data / "blobs").rglob("blob_*") if path.is_file()]


@pytest.mark.sandbox
def test_bytes_that_a_killed_server_was_receiving_are_gone_when_it_is_back(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data, "--pool-size", "0") as server:
        client = OpenAI(base_url=server.url, api_key="sk-any", max_retries=0)
        upload = client.uploads.create(
            filename="a", purpose="user_data", bytes=5, mime_type="text/plain"
        )
        part = client.uploads.parts.create(upload.id, data=b"12345")
        address = urlsplit(server.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port)
        connection.putrequest("POST", f"{address.path}/uploads/{upload.id}/parts")
        connection.putheader("content-type", "multipart/form-data; boundary=B")
        connection.putheader("content-length", str(60 << 20))
        connection.endheaders(_BEGUN)
        # Another request's answer: what came before it on its way is being written by now, or will
        # never be.
        client.files.list()
        server.process.kill()
        server.process.wait()
        connection.close()
    # A whole blob that no row came to name, as if killed a moment later.
    (folder,) = {path.parent for path in blobs(data) if path.parent.name != "tmp"}
    orphan = folder / f"blob_{folder.name}{'0' * 30}"
    orphan.write_bytes(b"nobody's")

    with serving(data, "--pool-size", "0") as server:
        client = OpenAI(base_url=server.url, api_key="sk-any", max_retries=0)
        completed = client.uploads.complete(upload.id, part_ids=[part.id])
        assert completed.file is not None
        assert client.files.content(completed.file.id).read() == b"12345"
        with pytest.raises(openai.BadRequestError, match="is completed already"):
            client.uploads.cancel(upload.id)
        assert server.stop()[0] == 0

    assert len(blobs(data)) == 1
