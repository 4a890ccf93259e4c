"""Containers and their files through the official SDK."""

from __future__ import annotations

import openai
import pytest
from openai import OpenAI


def test_container_lives_its_whole_life(client: OpenAI):
    container = client.containers.create(
        name="analysis", expires_after={"anchor": "last_active_at", "minutes": 10}
    )

    assert (container.status, container.memory_limit) == ("running", "1g")
    assert container.expires_after is not None
    assert container.expires_after.minutes == 10
    assert client.containers.retrieve(container.id).name == "analysis"
    client.containers.delete(container.id)
    with pytest.raises(openai.NotFoundError) as caught:
        client.containers.retrieve(container.id)
    assert caught.value.body["message"] == f"Container with id '{container.id}' not found."  # type: ignore[index]


def test_containers_are_listed_over_several_pages_and_by_name(client: OpenAI):
    ids = [client.containers.create(name="paged").id for _ in range(3)]

    listed = [container.id for container in client.containers.list(name="paged", limit=1)]

    assert [i for i in listed if i in ids] == ids[::-1]


def test_container_file_lives_its_whole_life(client: OpenAI):
    container = client.containers.create(name="files")
    files = client.containers.files

    file = files.create(container.id, file=("sales.csv", b"a,b\n"))

    assert (file.path, file.bytes, file.source) == ("/mnt/data/sales.csv", 4, "user")
    assert files.retrieve(file.id, container_id=container.id).to_dict() == file.to_dict()
    assert files.content.retrieve(file.id, container_id=container.id).read() == b"a,b\n"
    assert [f.id for f in files.list(container.id)] == [file.id]
    files.delete(file.id, container_id=container.id)
    assert list(files.list(container.id)) == []
    with pytest.raises(openai.NotFoundError):
        files.retrieve(file.id, container_id=container.id)


def test_stored_file_is_put_into_a_container(client: OpenAI):
    stored = client.files.create(file=("a.txt", b"abc"), purpose="user_data")
    container = client.containers.create(name="stored", file_ids=[stored.id])

    again = client.containers.files.create(container.id, file_id=stored.id)

    paths = {file.path for file in client.containers.files.list(container.id)}
    assert paths == {"/mnt/data/a.txt", again.path}


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "name", "missing_required_parameter"),
        ({"name": 5}, "name", "invalid_type"),
        ({"name": "x", "memory_limit": "2g"}, "memory_limit", "invalid_value"),
        ({"name": "x", "expires_after": {}}, "expires_after.anchor", "missing_required_parameter"),
    ],
)
def test_wrong_container_raises_bad_request(client: OpenAI, body, param, code):
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/containers", body=body, cast_to=object)

    assert (caught.value.param, caught.value.code) == (param, code)
