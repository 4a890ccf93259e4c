"""OpenAI's Agents SDK with its CodeInterpreterTool, as its users write it."""

from __future__ import annotations

from agents import Agent, CodeInterpreterTool, Runner, set_tracing_disabled
from checks import WRITE, check, code, main

set_tracing_disabled(disabled=True)

TOOL = CodeInterpreterTool(tool_config={"type": "code_interpreter", "container": {"type": "auto"}})
AGENT = Agent(name="Analyst", model="sanderling", tools=[TOOL])


def _codes(result: object) -> list[str]:
    items = result.new_items  # type: ignore[attr-defined]
    return [
        item.raw_item.code.strip()
        for item in items
        if getattr(item.raw_item, "type", None) == "code_interpreter_call"
    ]


@check
async def run_answers_and_shows_its_code() -> None:
    result = await Runner.run(AGENT, code("print(6 * 7)"))

    assert "42" in result.final_output, result.final_output
    assert _codes(result) == ["print(6 * 7)"]


@check
async def run_cites_the_file() -> None:
    result = await Runner.run(AGENT, code(WRITE))
    [message] = [i.raw_item for i in result.new_items if i.type == "message_output_item"]
    annotations = message.content[0].annotations

    assert [a.type for a in annotations] == ["container_file_citation"], message
    assert annotations[0].filename == "total.csv"


@check
async def run_streamed_tells_code_and_text() -> None:
    result = Runner.run_streamed(AGENT, code("print(6 * 7)"))
    written, spoken = "", ""
    async for event in result.stream_events():
        if event.type != "raw_response_event":
            continue
        if event.data.type == "response.code_interpreter_call_code.delta":
            written += event.data.delta
        elif event.data.type == "response.output_text.delta":
            spoken += event.data.delta

    assert written.strip() == "print(6 * 7)"
    assert spoken == result.final_output
    assert "42" in spoken


@check
async def a_conversation_goes_on_from_its_items() -> None:
    first = await Runner.run(AGENT, code("x = 41"))
    following = [*first.to_input_list(), {"role": "user", "content": code("print(40 + 2)")}]
    second = await Runner.run(AGENT, following)

    assert "42" in second.final_output


@check
async def a_conversation_goes_on_from_its_response_in_the_same_container() -> None:
    first = await Runner.run(AGENT, code("x = 41"))
    second = await Runner.run(
        AGENT, code("print(x + 1)"), previous_response_id=first.last_response_id
    )

    assert "42" in second.final_output


@check
async def usage_is_counted() -> None:
    result = await Runner.run(AGENT, code("print(1)"))
    usage = result.context_wrapper.usage

    assert usage.requests == 1
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens


if __name__ == "__main__":
    main()
