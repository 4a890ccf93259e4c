"""Keys through the official SDK."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI

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
