"""How long a conversation is, and making it shorter: nothing of it is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from openai.types.responses import CompactedResponse
from openai.types.responses.input_token_count_response import InputTokenCountResponse

from sanderling.errors import ModelRefused, PromptTooLong
from sanderling.models.scripted import ScriptedModel, code, error, text
from tests.api.making import Api, memory_api

CI = {"type": "code_interpreter", "container": {"type": "auto"}}
LOOK_UP = {"type": "function", "name": "look_up", "parameters": {"type": "object"}}
INLINE = {"type": "input_file", "file_data": "YSxi", "filename": "a.csv"}
COUNT, COMPACT = "/v1/responses/input_tokens", "/v1/responses/compact"


async def count(api: Api, **body: Any) -> int:
    reply = await api.json("POST", COUNT, body)
    return InputTokenCountResponse.model_validate(reply, strict=True).input_tokens


async def compact(api: Api, **body: Any) -> Any:
    reply = await api.json("POST", COMPACT, {"model": "m", **body})
    CompactedResponse.model_validate(reply, strict=False)
    [item] = reply["output"]
    assert item["type"] == "compaction"
    return reply


def asked(api: Api) -> Any:
    model = api.services.model
    assert isinstance(model, ScriptedModel)
    return model.requests[-1]


# ---- counting ----------------------------------------------------------------------------------


async def test_everything_that_the_model_would_read_is_counted(tmp_path: Path):
    async with memory_api(tmp_path, text("A rather long answer.")) as api:
        hello = await count(api, model="m", input="Hello, world!")

        assert hello == 4 + 4  # four tokens, and the message around them
        assert await count(api) == 0
        assert await count(api, input="Hello, world!", instructions="Be brief.") == hello + 4 + 3
        assert await count(api, input="Hello, world!", tools=[LOOK_UP]) > hello
        assert await count(api, input="Hello, world!", tools=[CI]) > hello + 100
        picture = {"type": "input_image", "image_url": "https://site.example/a.png"}
        seen = await count(api, input=[{"role": "user", "content": [picture]}])
        assert seen > 700
        first = await api.json("POST", "/v1/responses", {"input": "Hi"})
        assert await count(api, input="Hello, world!", previous_response_id=first["id"]) > hello + 8


async def test_counting_and_compacting_leave_nothing_behind(tmp_path: Path):
    async with memory_api(tmp_path, text("A summary.")) as api:
        given = [{"role": "user", "content": [INLINE]}]
        await count(api, input=given, tools=[CI])
        await compact(api, input=given)

        assert (await api.json("GET", "/v1/files"))["data"] == []
        assert (await api.json("GET", "/v1/containers"))["data"] == []
        assert list((tmp_path / "blobs").rglob("*.*")) == []


# ---- compacting --------------------------------------------------------------------------------


async def test_compacted_conversation_goes_on_where_it_was(tmp_path: Path):
    turns = (code("x = 41"), text("Set."), text("x is 41."), code("print(x + 1)"), text("42."))
    async with memory_api(tmp_path, *turns) as api:
        file = await api.upload(b"a,b", "sales.csv")
        part = {"type": "input_file", "file_id": file["id"]}
        words = {"type": "input_text", "text": "Keep 41 in x, please."}
        first = await api.json(
            "POST",
            "/v1/responses",
            {"input": [{"role": "user", "content": [words, part]}], "tools": [CI]},
        )

        compacted = await compact(api, previous_response_id=first["id"], instructions="Be kind.")

        assert compacted["object"] == "response.compaction"
        assert compacted["usage"]["total_tokens"] == 15
        read = asked(api)
        assert (read.offers_code, read.functions) == (False, ())
        assert read.messages[0] == {"role": "system", "content": "Be kind."}
        assert "x = 41" in str(read.messages)
        second = await api.json(
            "POST",
            "/v1/responses",
            {
                "input": [*compacted["output"], {"role": "user", "content": "Add one."}],
                "tools": [CI],
                "include": ["code_interpreter_call.outputs"],
            },
        )
        assert second["output"][0]["container_id"] == first["output"][0]["container_id"]
        assert second["output"][0]["outputs"] == [{"type": "logs", "logs": "42\n"}]
        [_, replaced, _, _, _] = asked(api).messages
        for piece in ("Keep 41 in x, please.", "x is 41.", "[files in /mnt/data: sales.csv]"):
            assert piece in replaced["content"]
        listing = await api.json("GET", f"/v1/responses/{second['id']}/input_items?order=asc")
        assert listing["data"][0] == compacted["output"][0]
        again = await count(api, input=compacted["output"])
        assert again > 10


async def test_compaction_outlives_the_files_and_the_container_of_its_conversation(tmp_path: Path):
    turns = (code("1"), text("Hi."), text("A summary."), code("print(2)"), text("Two."))
    async with memory_api(tmp_path, *turns) as api:
        file = await api.upload(b"a,b", "sales.csv")
        given = [{"role": "user", "content": [{"type": "input_file", "file_id": file["id"]}]}]
        first = await api.json("POST", "/v1/responses", {"input": given, "tools": [CI]})
        compacted = await compact(api, previous_response_id=first["id"])
        await api.json("DELETE", f"/v1/files/{file['id']}")
        await api.json("DELETE", f"/v1/containers/{first['output'][0]['container_id']}")
        await api.json("DELETE", f"/v1/responses/{first['id']}")

        body = {"input": [*compacted["output"], {"role": "user", "content": "2?"}], "tools": [CI]}
        second = await api.json("POST", "/v1/responses", body)

        assert second["status"] == "completed"
        assert second["output"][0]["container_id"] != first["output"][0]["container_id"]


async def test_conversation_too_long_for_the_model_is_compacted_from_its_newer_half(tmp_path: Path):
    too_long = error(PromptTooLong("Too long.", status=400))
    async with memory_api(tmp_path, too_long, text("A summary.")) as api:
        given = [{"role": "user", "content": str(n)} for n in range(4)]
        await compact(api, input=given)

        assert [m["content"] for m in asked(api).messages[:-1]] == ["2", "3"]


@pytest.mark.parametrize(
    ("turn", "status", "code"),
    [
        (error(ModelRefused("Broken.", status=500)), 502, "model_refused"),
        (error(PromptTooLong("Too long.", status=400)), 400, "context_length_exceeded"),
        (text(" "), 502, "model_protocol"),
    ],
)
async def test_model_that_writes_no_summary_is_an_error(
    tmp_path: Path, turn: Any, status: int, code: str
):
    async with memory_api(tmp_path, model=ScriptedModel([turn], repeats=True)) as api:
        found, wrong = await api.error("POST", COMPACT, {"model": "m", "input": "x"})

        assert (found, wrong["code"]) == (status, code)


@pytest.mark.parametrize("path", [COUNT, COMPACT])
@pytest.mark.parametrize(
    ("body", "status", "param", "code"),
    [
        ({"input": 5}, 400, "input", "invalid_type"),
        ({"previous_response_id": "resp_x"}, 400, "previous_response_id", "previous_response_not_"),
        ({"input": [{"type": "compaction"}]}, 400, "input[0].encrypted_content", "missing_requir"),
        (
            {"input": [{"type": "compaction", "encrypted_content": "gAAAAABo"}]},
            400,
            "input[0].encrypted_content",
            "invalid_encrypted_content",
        ),
        (
            {"input": [{"type": "compaction", "encrypted_content": "bnVsbA=="}]},
            400,
            "input[0].encrypted_content",
            "invalid_encrypted_content",
        ),
        (
            {"input": [{"type": "compaction", "encrypted_content": "é"}]},
            400,
            "input[0].encrypted_content",
            "invalid_encrypted_content",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-x"}]}]},
            404,
            "input[0].content[0].file_id",
            "",
        ),
        ({"model": ""}, 400, "model", "string_below_min_length"),
    ],
)
async def test_wrong_request_is_told(
    api: Api, path: str, body: Any, status: int, param: str, code: str
):
    found, wrong = await api.error("POST", path, {"model": "m", **body})

    assert (found, wrong["param"]) == (status, param)
    assert (wrong["code"] or "").startswith(code)


async def test_compacting_needs_a_model(api: Api):
    _, wrong = await api.error("POST", COMPACT, {"input": "x"})

    assert wrong["message"] == "Missing required parameter: 'model'."
