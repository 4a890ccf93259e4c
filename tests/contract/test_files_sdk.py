"""Files through the official SDK."""

from __future__ import annotations

import io

import openai
import pytest
from openai import OpenAI


def test_file_lives_its_whole_life(client: OpenAI):
    file = client.files.create(file=("sales.csv", b"a,b\n1,2\n"), purpose="user_data")

    assert (file.filename, file.bytes, file.purpose) == ("sales.csv", 8, "user_data")
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).read() == b"a,b\n1,2\n"
    assert client.files.wait_for_processing(file.id).status == "processed"
    assert client.files.delete(file.id).deleted is True
    with pytest.raises(openai.NotFoundError) as caught:
        client.files.retrieve(file.id)
    assert caught.value.body == {
        "message": f"No such File object: {file.id}",
        "type": "invalid_request_error",
        "param": "id",
        "code": None,
    }
    assert caught.value.request_id is not None


def test_files_are_listed_over_several_pages(client: OpenAI):
    ids = {client.files.create(file=b"x", purpose="vision").id for _ in range(5)}

    listed = [file.id for file in client.files.list(purpose="vision", limit=2)]

    assert ids <= set(listed)
    assert len(listed) == len(set(listed))


def test_file_that_expires_says_when(client: OpenAI):
    file = client.files.create(
        file=("a.csv", b"a"),
        purpose="user_data",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )

    assert file.expires_at == file.created_at + 3600


def test_file_object_path_and_bytes_are_all_taken(client: OpenAI, tmp_path):
    path = tmp_path / "on disk.txt"
    path.write_bytes(b"abc")

    by_path = client.files.create(file=path, purpose="assistants")
    by_object = client.files.create(file=io.BytesIO(b"abcd"), purpose="assistants")

    assert (by_path.filename, by_path.bytes, by_object.bytes) == ("on disk.txt", 3, 4)


def test_megabytes_come_back_as_they_went(client: OpenAI):
    content = bytes(range(256)) * 20_000
    file = client.files.create(file=("big.bin", content), purpose="user_data")

    assert client.files.content(file.id).read() == content


def test_file_above_the_limit_is_refused_with_an_answer(client: OpenAI):
    with pytest.raises(openai.APIStatusError) as caught:
        client.files.create(file=("big.bin", b"x" * (9 << 20)), purpose="user_data")

    assert caught.value.status_code == 413
    assert caught.value.code == "file_too_large"


def test_wrong_purpose_raises_bad_request(client: OpenAI):
    with pytest.raises(openai.BadRequestError) as caught:
        client.files.create(file=b"x", purpose="fun")  # type: ignore[arg-type]

    assert (caught.value.param, caught.value.code) == ("purpose", "invalid_value")
