"""Responses through the official SDK: plain, as raw events, and with its stream helper."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.contract.conftest import Play
from tests.doubles.model_server import Turn

CI: Any = {"type": "code_interpreter", "container": {"type": "auto"}}
LOOK_UP: Any = {
    "type": "function",
    "name": "look_up",
    "description": "Looks a word up.",
    "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
    "strict": False,
}
OUTPUTS: Any = ["code_interpreter_call.outputs"]
WRITE = "import pathlib\n_ = pathlib.Path('/mnt/data/out.csv').write_text('a,b')"


def test_plain_answer(client: OpenAI, play: Play):
    play(Turn(text="Hello."))

    response = client.responses.create(model="gpt-4.1", input="Hi", instructions="Be brief.")

    assert (response.status, response.output_text) == ("completed", "Hello.")
    assert (response.model, response.instructions) == ("gpt-4.1", "Be brief.")
    assert response.usage is not None
    assert response.usage.total_tokens == (
        response.usage.input_tokens + response.usage.output_tokens
    )
    assert client.responses.retrieve(response.id) == response
    assert response._request_id is not None


def test_code_is_run_and_its_files_are_cited_and_downloaded(client: OpenAI, play: Play):
    play(
        Turn(code="print(6 * 7)\n" + WRITE),
        Turn(text="42, see [out](sandbox:/mnt/data/out.csv)."),
    )

    response = client.responses.create(model="m", input="6 * 7?", tools=[CI], include=OUTPUTS)

    call, message = response.output
    assert call.type == "code_interpreter_call"
    assert call.code == "print(6 * 7)\n" + WRITE
    assert [output.to_dict() for output in call.outputs or ()] == [{"type": "logs", "logs": "42\n"}]
    assert message.type == "message"
    assert message.content[0].type == "output_text"
    (citation,) = message.content[0].annotations
    assert citation.type == "container_file_citation"
    assert (citation.filename, citation.container_id) == ("out.csv", call.container_id)
    content = client.containers.files.content.retrieve(
        citation.file_id, container_id=citation.container_id
    )
    assert content.read() == b"a,b"


def test_uncited_file_is_cited_all_the_same(client: OpenAI, play: Play):
    play(Turn(code=WRITE), Turn(text="Done."))

    response = client.responses.create(model="m", input="Write.", tools=[CI])

    message = response.output[-1]
    assert message.type == "message"
    assert message.content[0].type == "output_text"
    (citation,) = message.content[0].annotations
    assert citation.type == "container_file_citation"
    assert (citation.start_index, citation.end_index) == (0, 0)


def test_failing_code_shows_its_traceback_to_model_and_client(client: OpenAI, play: Play):
    model = play(Turn(code="1/0"), Turn(code="print('better')"), Turn(text="Better."))

    response = client.responses.create(model="m", input="x", tools=[CI], include=OUTPUTS)

    first, second, _ = response.output
    assert first.type == second.type == "code_interpreter_call"
    assert (first.status, second.status) == ("completed", "completed")
    assert first.outputs is not None
    assert first.outputs[0].type == "logs"
    assert "ZeroDivisionError: division by zero" in first.outputs[0].logs
    assert "ZeroDivisionError" in json.dumps(model.requests[1]["messages"])


def test_stream_has_every_event_valid_and_in_order(client: OpenAI, play: Play):
    play(Turn(code="print(1)", reasoning="Hm.", text="Let me see."), Turn(text="One."))

    events = list(client.responses.create(model="m", input="x", tools=[CI], stream=True))

    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    code = "".join(
        event.delta for event in events if event.type == "response.code_interpreter_call_code.delta"
    )
    assert code == "print(1)"
    interpreting = kinds.index("response.code_interpreter_call.interpreting")
    assert kinds[interpreting - 1] == "response.code_interpreter_call_code.done"
    assert kinds[interpreting + 1] == "response.code_interpreter_call.completed"
    last = events[-1]
    assert last.type == "response.completed"
    assert client.responses.retrieve(last.response.id) == last.response


def test_stored_response_is_streamed_again_from_any_event_on(client: OpenAI, play: Play):
    play(Turn(text="One two three."))
    events = list(client.responses.create(model="m", input="x", stream=True))
    last = events[-1]
    assert last.type == "response.completed"

    again = list(client.responses.retrieve(last.response.id, stream=True, starting_after=3))

    assert again == events[4:]


def test_stream_helper_of_the_sdk_understands_us(client: OpenAI, play: Play):
    play(Turn(code="print(1)"), Turn(text="One."))

    with client.responses.stream(model="m", input="x", tools=[CI]) as stream:
        kinds = {event.type for event in stream}
        response = stream.get_final_response()

    assert "response.output_text.delta" in kinds
    assert response.output_text == "One."


def test_live_output_is_an_event_for_those_who_ask(live_server: str, play: Play):
    play(Turn(code="print('tick')"), Turn(text="Done."))
    with OpenAI(base_url=live_server, api_key="x") as lenient:
        events = list(
            lenient.responses.create(
                model="m",
                input="x",
                tools=[CI],
                stream=True,
                extra_body={"stream_options": {"include_output_deltas": True}},
            )
        )

    deltas = [
        event.to_dict()
        for event in events
        if event.type == "response.code_interpreter_call_output.delta"  # type: ignore[comparison-overlap]
    ]
    assert "".join(delta["output"]["logs"] for delta in deltas) == "tick\n"  # type: ignore[index,call-overload]


def test_conversation_goes_on_by_previous_response(client: OpenAI, play: Play):
    model = play(
        Turn(code="x = 41"), Turn(text="Set."), Turn(code="print(x + 1)"), Turn(text="42.")
    )
    first = client.responses.create(model="m", input="x = 41", tools=[CI])
    second = client.responses.create(
        model="m", input="And one more?", tools=[CI], previous_response_id=first.id
    )

    assert first.output[0].type == second.output[0].type == "code_interpreter_call"
    assert first.output[0].container_id == second.output[0].container_id
    assert second.output_text == "42."
    assert "x = 41" in json.dumps(model.requests[-1]["messages"])


def test_whole_output_is_sent_back_as_input(client: OpenAI, play: Play):
    play(Turn(code="print(7)", reasoning="Hm."), Turn(text="Seven."), Turn(text="Sure."))
    first = client.responses.create(model="m", input="x", tools=[CI], store=False)
    history: Any = [item.to_dict() for item in first.output]

    second = client.responses.create(
        model="m", input=[*history, {"role": "user", "content": "Sure?"}], tools=[CI]
    )

    assert second.output_text == "Sure."


def test_function_is_called_and_answered(client: OpenAI, play: Play):
    arguments = {"word": "sanderling"}
    play(Turn(calls=({"name": "look_up", "arguments": arguments},)), Turn(text="A wader."))
    first = client.responses.create(model="m", input="x", tools=[LOOK_UP])
    (call,) = first.output
    assert call.type == "function_call"
    assert json.loads(call.arguments) == arguments

    second = client.responses.create(
        model="m",
        previous_response_id=first.id,
        tools=[LOOK_UP],
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "a wader"}],
    )

    assert second.output_text == "A wader."


def test_file_of_the_input_is_read_by_the_code(client: OpenAI, play: Play):
    read = "import pathlib\nprint(pathlib.Path('/mnt/data/sales.csv').read_text())"
    play(Turn(code=read), Turn(text="Read."))
    uploaded = client.files.create(file=("sales.csv", b"a,b"), purpose="user_data")

    response = client.responses.create(
        model="m",
        tools=[CI],
        include=OUTPUTS,
        input=[
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Read it."},
                    {"type": "input_file", "file_id": uploaded.id},
                ],
            }
        ],
    )

    call = response.output[0]
    assert call.type == "code_interpreter_call"
    assert [output.to_dict() for output in call.outputs or ()] == [
        {"type": "logs", "logs": "a,b\n"}
    ]
    items = client.responses.input_items.list(response.id).data
    assert items[0].type == "message"


def test_explicit_container_and_forced_tool(client: OpenAI, play: Play):
    model = play(Turn(code="print(4 * 3.82)"), Turn(text="15.28"))
    container = client.containers.create(name="explicit")

    response = client.responses.create(
        model="m",
        input="4 * 3.82?",
        tools=[{"type": "code_interpreter", "container": container.id}],
        tool_choice={"type": "code_interpreter"},
    )

    assert response.output[0].type == "code_interpreter_call"
    assert response.output[0].container_id == container.id
    assert model.requests[0]["tool_choice"] == {
        "type": "function",
        "function": {"name": "python"},
    }


def test_input_items_are_listed_over_several_pages(client: OpenAI, play: Play):
    play(Turn(text="Hi."))
    response = client.responses.create(
        model="m", input=[{"role": "user", "content": str(n)} for n in range(3)]
    )

    items = list(client.responses.input_items.list(response.id, limit=1, order="asc"))

    assert [item.content[0].text for item in items] == ["0", "1", "2"]  # type: ignore[union-attr]


def test_deleted_response_is_gone(client: OpenAI, play: Play):
    play(Turn(text="Hi."))
    response = client.responses.create(model="m", input="x")
    client.responses.delete(response.id)

    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_model_that_fails_makes_a_failed_response(client: OpenAI, play: Play):
    play(Turn(status=400, error="I do not like this prompt."))

    response = client.responses.create(model="m", input="x")

    assert response.status == "failed"
    assert response.error is not None
    assert "I do not like this prompt." in response.error.message


def test_mid_stream_failure_ends_with_failed(client: OpenAI, play: Play):
    play(Turn(text="Half of", faults=("dropped",), always=True), *[Turn(status=500)] * 5)

    events = list(client.responses.create(model="m", input="x", stream=True))

    assert events[-1].type == "response.failed"
    assert events[0].type == "response.created"


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"max_output_tokens": "many"}, "max_output_tokens", "invalid_type"),
        ({"max_output_tokens": 8}, "max_output_tokens", "integer_below_min_value"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "invalid_value"),
        (
            {
                "tools": [
                    {
                        "type": "code_interpreter",
                        "container": {"type": "auto", "memory_limit": "2g"},
                    }
                ]
            },
            "tools[0].container.memory_limit",
            "invalid_value",
        ),
        ({"previous_response_id": "resp_x"}, "previous_response_id", "previous_response_not_found"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt", "unsupported_parameter"),
    ],
)
def test_wrong_request_raises_bad_request(client: OpenAI, body, param, code):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="m", input="x", extra_body=body)

    assert (caught.value.param, caught.value.code) == (param, code)
    assert caught.value.type == "invalid_request_error"


def test_unknown_file_and_container_raise_not_found(client: OpenAI):
    with pytest.raises(openai.NotFoundError):
        client.responses.create(
            model="m", input="x", tools=[{"type": "code_interpreter", "container": "cntr_x"}]
        )
    with pytest.raises(openai.NotFoundError):
        client.responses.create(
            model="m",
            input=[{"role": "user", "content": [{"type": "input_file", "file_id": "file-x"}]}],
        )


def test_models_are_listed_and_retrieved(client: OpenAI):
    assert [model.id for model in client.models.list()] == ["scripted-model"]
    assert client.models.retrieve("scripted-model").object == "model"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-9")
    assert caught.value.code == "model_not_found"


def test_server_goes_on_after_anything_code_does(client: OpenAI, play: Play):
    play(Turn(code="def f():\n    return f()\nf()"), Turn(text="Over."))
    response = client.responses.create(model="m", input="x", tools=[CI])
    play(Turn(text="Still here."))

    assert response.status == "completed"
    assert client.responses.create(model="m", input="x").output_text == "Still here."


class Sum(BaseModel):
    total: int
    words: list[str]


def test_answer_is_parsed_by_the_sdk_also_where_the_server_knows_no_schemas(
    client: OpenAI, play: Play
):
    model = play(
        Turn(code="print(5)", text="Let me see.", faults=("no_schemas", "no_formats")),
        Turn(text='```json\n{"total": "five"}\n```', faults=("no_schemas", "no_formats")),
        Turn(text='```json\n{"total": 5, "words": []}\n```'),
    )

    response = client.responses.parse(model="m", input="x", tools=[CI], text_format=Sum)

    assert response.output_parsed == Sum(total=5, words=[])
    assert response.text is not None
    assert response.text.format is not None
    assert response.text.format.type == "json_schema"
    assert '"total"' in model.requests[-1]["messages"][0]["content"]
    assert "$.words is missing" in str(model.requests[-1]["messages"])


def test_answer_is_parsed_by_the_sdks_stream_helper(client: OpenAI, play: Play):
    play(Turn(text='{"total": "five"}'), Turn(text='{"total": 5, "words": ["a"]}'))

    with client.responses.stream(model="m", input="x", text_format=Sum) as stream:
        written = "".join(e.delta for e in stream if e.type == "response.output_text.delta")
        final = stream.get_final_response()

    assert written == final.output_text == '{"total": 5, "words": ["a"]}'
    assert final.output_parsed == Sum(total=5, words=["a"])


def test_conversation_is_counted_and_compacted_and_goes_on(client: OpenAI, play: Play):
    model = play(Turn(text="Four."), Turn(text="The user added two and two."), Turn(text="Yes."))
    first = client.responses.create(model="m", input="2 + 2?")

    counted = client.responses.input_tokens.count(model="m", previous_response_id=first.id)
    compacted = client.responses.compact(model="m", previous_response_id=first.id)
    given: Any = [*compacted.output, {"role": "user", "content": "Sure?"}]
    second = client.responses.create(model="m", input=given)

    assert counted.input_tokens > 10
    assert compacted.usage.total_tokens > 0
    assert second.output_text == "Yes."
    assert "The user added two and two." in str(model.requests[-1]["messages"])
