"""Keys through the official SDK."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from websockets.exceptions import InvalidStatus

from sanderling.api.services import Services
from sanderling.store.keys import new_key
from tests.contract.servers import LoopThread, PlayedModel, memory_server

KEYS = {org: new_key("test", org, now=0.0) for org in ("org_a", "org_b")}


@pytest.fixture(scope="module")
def locked_server(
    tmp_path_factory: pytest.TempPathFactory, loop_thread: LoopThread, model_server: PlayedModel
) -> Iterator[str]:
    async def add_keys(services: Services) -> None:
        for _, record in KEYS.values():
            await services.store.keys.insert(record)

    root = tmp_path_factory.mktemp("locked_server")
    with memory_server(loop_thread, root, model_server.base_url, add_keys) as base_url:
        yield base_url


def connect(base_url: str, key: str) -> OpenAI:
    return OpenAI(base_url=base_url, api_key=key, max_retries=0, _strict_response_validation=True)


def test_wrong_key_raises_authentication_error(locked_server: str):
    with (
        connect(locked_server, "sk-not-a-key-of-ours") as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.models.list()

    assert caught.value.body == {
        "message": "Incorrect API key provided: sk-***ours.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }


def test_right_key_sees_its_own_and_nothing_else(locked_server: str):
    (key_a, _), (key_b, _) = KEYS["org_a"], KEYS["org_b"]
    with connect(locked_server, key_a) as mine, connect(locked_server, key_b) as theirs:
        file = mine.files.create(file=b"x", purpose="user_data")

        assert mine.files.retrieve(file.id) == file
        with pytest.raises(openai.NotFoundError):
            theirs.files.retrieve(file.id)
        assert theirs.files.list().data == []


def test_socket_needs_a_key_also_for_what_is_asked_later(
    loop_thread: LoopThread, model_server: PlayedModel, tmp_path: Path
):
    kept, revoked = new_key("kept", "org_a", now=0.0), new_key("revoked", "org_a", now=0.0)
    parts: list[Services] = []

    async def add_keys(services: Services) -> None:
        parts.append(services)
        for _, record in (kept, revoked):
            await services.store.keys.insert(record)

    def ask(connection: Any) -> Any:
        connection.response.create(model="m", input="Hi", generate=False)
        return next(e for e in connection if e.type in ("response.completed", "error"))

    with memory_server(loop_thread, tmp_path, model_server.base_url, add_keys) as base_url:
        with connect(base_url, "sk-wrong") as client, pytest.raises(InvalidStatus) as refused:
            client.responses.connect().enter()
        with connect(base_url, revoked[0]) as client, client.responses.connect() as connection:
            assert ask(connection).type == "response.completed"
            loop_thread.run(parts[0].store.keys.revoke(revoked[1].id))
            error = ask(connection)

    assert refused.value.response.status_code == 401
    assert (error.status, error.error.code) == (401, "invalid_api_key")
