"""pydantic-ai with its native code execution tool, over Responses."""

from __future__ import annotations

from typing import Any

from checks import PLOT, check, code, main
from pydantic_ai import Agent, BinaryImage, NativeToolCallPart, NativeToolReturnPart
from pydantic_ai.capabilities import NativeTool
from pydantic_ai.models.openai import OpenAIResponsesModel, OpenAIResponsesModelSettings
from pydantic_ai.native_tools import CodeExecutionTool

SETTINGS = OpenAIResponsesModelSettings(openai_include_code_execution_outputs=True)


def _agent(**options: Any) -> Any:
    model = OpenAIResponsesModel("gpt-5")  # it has to know that this one can show pictures
    tool = NativeTool(CodeExecutionTool())
    return Agent(model, model_settings=SETTINGS, capabilities=[tool], **options)


def _parts(result: Any, kind: type) -> list[Any]:
    messages = result.all_messages()
    return [part for message in messages for part in message.parts if isinstance(part, kind)]


@check
async def run_answers_and_shows_code_and_outputs() -> None:
    result = await _agent().run(code("print(6 * 7)"))
    [call] = _parts(result, NativeToolCallPart)
    [answer] = _parts(result, NativeToolReturnPart)

    assert "42" in result.output, result.output
    assert call.args_as_dict()["code"].strip() == "print(6 * 7)"
    assert answer.content["logs"] == ["42\n"], answer.content


@check
async def a_picture_can_be_the_output() -> None:
    result = await _agent(output_type=BinaryImage).run(code(PLOT))

    assert result.output.media_type == "image/png"
    assert result.output.data.startswith(b"\x89PNG")


@check
async def a_stream_adds_up() -> None:
    async with _agent().run_stream(code("print(6 * 7)")) as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]

    assert "42" in "".join(pieces)
    assert len(_parts(result, NativeToolCallPart)) == 1


@check
async def a_conversation_goes_on_from_its_messages() -> None:
    first = await _agent().run(code("x = 41"))
    second = await _agent().run(code("print(40 + 2)"), message_history=first.all_messages())

    assert "42" in second.output


@check
async def usage_is_counted() -> None:
    usage = (await _agent().run(code("print(1)"))).usage

    assert usage.input_tokens > 0
    assert usage.output_tokens > 0


if __name__ == "__main__":
    main()
