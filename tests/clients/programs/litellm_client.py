"""litellm: containers, responses and chat completions of a server that speaks OpenAI's wire."""

from __future__ import annotations

import os
from typing import Any

import litellm
from checks import check, code, main

SERVER: Any = {
    "api_base": os.environ["OPENAI_BASE_URL"],
    "api_key": os.environ["OPENAI_API_KEY"],
}
OPENAI: Any = {**SERVER, "custom_llm_provider": "openai"}
TOOL: Any = {"type": "code_interpreter", "container": {"type": "auto"}}


@check
def containers_live_their_whole_life() -> None:
    made = litellm.create_container(name="ours", **OPENAI)
    assert (made.name, made.status) == ("ours", "running")
    assert litellm.retrieve_container(made.id, **OPENAI).id == made.id
    assert made.id in [c.id for c in litellm.list_containers(**OPENAI).data]
    assert litellm.delete_container(made.id, **OPENAI).deleted is True
    assert made.id not in [c.id for c in litellm.list_containers(**OPENAI).data]


@check
def a_response_runs_code() -> None:
    response = litellm.responses(
        model="openai/sanderling", input=code("print(6 * 7)"), tools=[TOOL], **SERVER
    )

    assert [item.type for item in response.output] == ["code_interpreter_call", "message"]
    assert "42" in response.output[-1].content[0].text


@check
def a_stream_ends_with_the_response() -> None:
    events = list(
        litellm.responses(
            model="openai/sanderling",
            input=code("print(6 * 7)"),
            tools=[TOOL],
            stream=True,
            **SERVER,
        )
    )

    assert events[-1].type == "response.completed"
    assert "42" in events[-1].response.output[-1].content[0].text


@check
async def a_response_is_retrieved_and_deleted() -> None:
    made = await litellm.aresponses(model="openai/sanderling", input="Hello", **SERVER)
    found = await litellm.aget_responses(response_id=made.id, **SERVER)

    assert found.output[0].content[0].text == made.output[0].content[0].text
    assert (await litellm.adelete_responses(response_id=made.id, **SERVER)).deleted is True


@check
def a_chat_completion_runs_code() -> None:
    asked: Any = {
        "model": "openai/sanderling",
        "messages": [{"role": "user", "content": code("print(6 * 7)")}],
        "tools": [TOOL],
    }
    completion = litellm.completion(**asked, **SERVER)
    chunks = list(litellm.completion(**asked, stream=True, **SERVER))

    message = completion.choices[0].message
    assert "42" in message.content
    [call] = message.provider_specific_fields["code_interpreter"]["calls"]
    assert call["outputs"] == [{"type": "logs", "logs": "42\n"}]
    spoken = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert spoken == message.content


if __name__ == "__main__":
    main()
