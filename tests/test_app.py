from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from sanderling.app import MODEL_KEY_VARIABLES, open_services
from sanderling.errors import SetupError
from sanderling.models.chat import ChatModel
from sanderling.models.offline import OfflineModel
from sanderling.records import Execution, ResultOutput
from sanderling.settings import Settings
from sanderling.store.keys import new_key
from sanderling.store.store import Store
from tests.cli.live import guest_env


def settings(tmp_path: Path, **more: object) -> Settings:
    values = {"data": tmp_path / "data", "env": guest_env(), "pool_size": 1, **more}
    return Settings(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.com"])
async def test_others_are_refused_while_there_are_no_keys(tmp_path: Path, host: str) -> None:
    with pytest.raises(SetupError, match="sanderling keys create NAME"):
        async with open_services(settings(tmp_path, host=host)):
            pass


async def test_a_revoked_key_opens_nothing(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "data")
    _, key = new_key("old", "org_default", now=0.0)
    await store.keys.insert(key)
    await store.keys.revoke(key.id)
    await store.close()

    with pytest.raises(SetupError, match="there are no API keys"):
        async with open_services(settings(tmp_path, host="0.0.0.0")):
            pass


async def test_a_refused_start_leaves_the_data_folder_free(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(SetupError, match="not a Python environment"):
            async with open_services(settings(tmp_path, env=tmp_path / "none")):
                pass


@pytest.mark.sandbox
async def test_the_parts_work_together_and_leave_no_process(tmp_path: Path) -> None:
    async with open_services(settings(tmp_path), environ={}) as services:
        assert isinstance(services.model, OfflineModel)
        host = (await services.sandbox.status()).pid
        container = await services.containers.create("org_default", name="test")
        happenings = [
            happening
            async for happening in services.containers.execute(
                container, "6 * 7", execution_id="exec_1", timeout_s=30.0
            )
        ]

    last = happenings[-1]
    assert isinstance(last, Execution)
    assert (last.status, last.outputs) == ("ok", (ResultOutput("42"),))
    assert not Path(f"/proc/{host}").exists()


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("environ", "sent"),
    [
        ({"SANDERLING_MODEL_KEY": "ours", "OPENAI_API_KEY": "theirs"}, "Bearer ours"),
        ({"OPENAI_API_KEY": "theirs"}, "Bearer theirs"),
        ({}, "Bearer none"),
    ],
)
async def test_the_model_servers_key_comes_from_the_environment(
    tmp_path: Path, environ: dict[str, str], sent: str
) -> None:
    heads: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        body = json.dumps({"object": "list", "data": []}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n")
        writer.write(b"content-length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    asked = settings(tmp_path, model_url=url)
    async with server, open_services(asked, environ=environ) as services:
        assert isinstance(services.model, ChatModel)
        await services.model.names()

    lines = [line for line in heads[0].split("\r\n") if line.lower().startswith("authorization")]
    assert [line.lower() for line in lines] == [f"authorization: {sent}".lower()]
    assert MODEL_KEY_VARIABLES == ("SANDERLING_MODEL_KEY", "OPENAI_API_KEY")
