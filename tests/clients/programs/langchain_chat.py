"""langchain-openai over Responses and chat completions, with the code interpreter as a tool."""

from __future__ import annotations

from typing import Any

from checks import PLOT, check, code, main
from langchain_core.messages import AIMessage, HumanMessage
from langchain_openai import ChatOpenAI

TOOL: Any = {"type": "code_interpreter", "container": {"type": "auto"}}


def _model(**options: Any) -> Any:
    model = ChatOpenAI(model="sanderling", use_responses_api=True, **options)
    return model.bind_tools([TOOL])


def _calls(message: Any) -> list[Any]:
    return [b for b in message.content if b["type"] == "code_interpreter_call"]


@check
def invoke_answers_and_shows_its_code() -> None:
    answer = _model().invoke(code("print(6 * 7)"))

    assert isinstance(answer, AIMessage)
    assert "42" in answer.text, answer
    assert [call["code"].strip() for call in _calls(answer)] == ["print(6 * 7)"]
    assert answer.usage_metadata is not None


@check
def outputs_come_when_included() -> None:
    answer = _model(include=["code_interpreter_call.outputs"]).invoke(code(PLOT))
    [call] = _calls(answer)

    assert [output["type"] for output in call["outputs"]] == ["image"], call
    assert call["outputs"][0]["url"].startswith("data:image/png;base64,")


@check
def stream_adds_up() -> None:
    whole: Any = None
    pieces = 0
    for piece in _model().stream(code("print(6 * 7)")):
        whole = piece if whole is None else whole + piece
        pieces += 1

    assert pieces > 3
    assert "42" in whole.text
    assert [call["code"].strip() for call in _calls(whole)] == ["print(6 * 7)"]


@check
async def astream_events_end() -> None:
    names = {event["event"] async for event in _model().astream_events(code("print(1)"))}

    assert {"on_chat_model_start", "on_chat_model_stream", "on_chat_model_end"} <= names


@check
def a_conversation_goes_on_from_its_messages() -> None:
    model = _model()
    question = HumanMessage(code("x = 41"))
    answer = model.invoke([question])
    following = model.invoke([question, answer, HumanMessage(code("print(40 + 2)"))])

    assert "42" in following.text


@check
def a_conversation_goes_on_from_its_response_in_the_same_container() -> None:
    model = _model()
    answer = model.invoke(code("x = 41"))
    following = model.invoke(
        code("print(x + 1)"), previous_response_id=answer.response_metadata["id"]
    )

    assert "42" in following.text


@check
def tools_of_the_client_can_be_bound_beside() -> None:
    def weather(city: str) -> str:
        """Say the weather of a city."""
        return f"{city}: sun"

    model = ChatOpenAI(model="sanderling", use_responses_api=True).bind_tools([TOOL, weather])

    assert "42" in model.invoke(code("print(6 * 7)")).text


@check
def chat_completions_run_code_too() -> None:
    model = ChatOpenAI(model="sanderling", use_responses_api=False, stream_usage=True)
    answer = model.invoke(code("print(6 * 7)"), tools=[TOOL])
    whole: Any = None
    for piece in model.stream(code("print(6 * 7)"), tools=[TOOL]):
        whole = piece if whole is None else whole + piece

    assert "42" in answer.text
    assert whole.text == answer.text
    assert whole.usage_metadata == answer.usage_metadata


if __name__ == "__main__":
    main()
