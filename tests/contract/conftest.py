"""The official SDK, unmodified and strict, against both servers over a real socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from openai import OpenAI

from sanderling.environments.environment import Environment
from tests.contract.servers import (
    LoopThread,
    PlayedModel,
    memory_server,
    played_model,
    real_server,
)
from tests.doubles.model_server import Turn

Play = Callable[..., PlayedModel]


@pytest.fixture(scope="session")
def loop_thread() -> Iterator[LoopThread]:
    loop = LoopThread()
    yield loop
    loop.close()


@pytest.fixture(scope="session")
def model_server(loop_thread: LoopThread) -> Iterator[PlayedModel]:
    with played_model(loop_thread) as model:
        yield model


@pytest.fixture
def play(model_server: PlayedModel) -> Play:
    """Tell the model what to say: `play(Turn(code="1 + 1"), Turn(text="Two."))`."""

    def play(*turns: Turn) -> PlayedModel:
        model_server.play(*turns)
        return model_server

    return play


@pytest.fixture(scope="session", params=["memory", pytest.param("real", marks=pytest.mark.sandbox)])
def live_server(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    loop_thread: LoopThread,
    model_server: PlayedModel,
) -> Iterator[str]:
    """The base URL of a server; every test runs against both."""
    root = tmp_path_factory.mktemp(f"{request.param}_server")
    if request.param == "memory":
        with memory_server(loop_thread, root, model_server.base_url) as base_url:
            yield base_url
    else:
        env: Environment = request.getfixturevalue("guest_env")
        arguments = ("--file-bytes-max", "8m")
        with real_server(root, env.path, model_server.base_url, *arguments) as base_url:
            yield base_url


@pytest.fixture
def client(live_server: str) -> Iterator[OpenAI]:
    with OpenAI(
        base_url=live_server,
        api_key="sk-any",
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client
