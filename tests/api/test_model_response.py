"""`POST /v1/model/response` where the sandbox cannot keep code from writing."""

from __future__ import annotations

from pathlib import Path

from sanderling.models.scripted import code, text
from tests.api.making import memory_api, runs_recorded

PATH = "/v1/model/response"
INPUTS = [{"role": "user", "content": "Hi"}]


async def test_without_read_only_boxes_no_code_is_run(tmp_path: Path):
    async with memory_api(tmp_path, code("1"), text("One.")) as api:
        api.sandbox.read_only = False
        body = {"inputs": INPUTS, "tools": [{"type": "code_interpreter"}]}
        reply = await api.http.post(PATH, json=body)
        runs = await runs_recorded(api)

    assert reply.status_code == 503
    assert reply.json()["error"]["code"] == "MACHINE_UNFIT"
    assert "can write no file" in reply.json()["error"]["message"]
    assert reply.headers["x-should-retry"] == "false"
    assert runs == 0


async def test_its_containers_are_read_only_and_short_lived(tmp_path: Path):
    async with memory_api(tmp_path, code("1"), text("One.")) as api:
        body = {"inputs": INPUTS, "tools": [{"type": "code_interpreter"}]}
        await api.json("POST", PATH, body)
        calls = [name for name, *_ in api.sandbox.calls if name in ("create", "close")]

    assert calls == ["create", "close"]
