"""Code without a model, through the official SDK's open methods."""

from __future__ import annotations

import threading
from typing import Any

import openai
import pytest
from openai import OpenAI

in_a_real_kernel = pytest.mark.parametrize(
    "live_server", [pytest.param("real", marks=pytest.mark.sandbox)], indirect=True
)


@pytest.fixture
def container_id(client: OpenAI) -> str:
    return client.containers.create(name="code").id


def run(client: OpenAI, container_id: str, code: str, **body: Any) -> Any:
    path = f"/containers/{container_id}/executions"
    return client.post(path, body={"code": code, **body}, cast_to=object)


def stream(client: OpenAI, container_id: str, code: str) -> Any:
    return client.post(
        f"/containers/{container_id}/executions",
        body={"code": code, "stream": True},
        cast_to=object,
        stream=True,
        stream_cls=openai.Stream[object],
    )


def test_code_runs_and_its_variables_stay(client: OpenAI, container_id: str):
    run(client, container_id, "x = 20")
    execution = run(client, container_id, "print('hi')\nx + 1")

    assert execution["object"] == "container.execution"
    assert (execution["container_id"], execution["status"]) == (container_id, "ok")
    assert execution["outputs"] == [
        {"type": "logs", "stream": "stdout", "logs": "hi\n"},
        {"type": "result", "text": "21"},
    ]


def test_outputs_come_in_their_order(client: OpenAI, container_id: str):
    execution = run(
        client,
        container_id,
        "import sys\nprint('a')\nprint('b', file=sys.stderr)\nraise ValueError('c')",
    )

    assert execution["status"] == "error"
    assert [o.get("logs") or o.get("name") for o in execution["outputs"]] == [
        "a\n",
        "b\n",
        "ValueError",
    ]


def test_files_that_code_made_can_be_downloaded(client: OpenAI, container_id: str):
    write = "import pathlib\n_ = pathlib.Path('/mnt/data/out.txt').write_text('made')"
    (file,) = run(client, container_id, write)["files"]

    assert (file["path"], file["source"], file["bytes"]) == ("/mnt/data/out.txt", "assistant", 4)
    content = client.containers.files.content.retrieve(file["id"], container_id=container_id)
    assert content.read() == b"made"


def test_uploaded_file_is_there_for_code(client: OpenAI, container_id: str):
    run(client, container_id, "1")  # the box stands before the file comes
    client.containers.files.create(container_id, file=("a.txt", b"abc"))

    execution = run(
        client, container_id, "import pathlib\npathlib.Path('/mnt/data/a.txt').read_text()"
    )

    assert execution["outputs"] == [{"type": "result", "text": "'abc'"}]


def test_stream_tells_the_same_as_it_happens(client: OpenAI, container_id: str):
    events = list(stream(client, container_id, "print('a')\n1 + 1"))

    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[0]["type"] == "container.execution.started"
    assert {event["type"] for event in events[1:-1]} == {"container.execution.output"}
    assert events[-1]["type"] == "container.execution.completed"
    assert events[-1]["execution"]["outputs"] == [
        {"type": "logs", "stream": "stdout", "logs": "a\n"},
        {"type": "result", "text": "2"},
    ]


def test_running_code_is_cancelled(client: OpenAI, container_id: str):
    path = f"/containers/{container_id}/executions"
    waiting = "import asyncio\nprint('in', flush=True)\nawait asyncio.Event().wait()"
    events = iter(stream(client, container_id, waiting))
    execution_id = next(events)["execution"]["id"]
    assert next(events)["type"] == "container.execution.output"

    cancelled: Any = client.post(f"{path}/{execution_id}/cancel", cast_to=object)

    assert cancelled["status"] == "interrupted"
    assert list(events)[-1]["execution"] == cancelled


def test_leaving_the_stream_does_not_stop_the_code(client: OpenAI, container_id: str):
    go_on = "import pathlib, asyncio\nprint('in', flush=True)\n"
    go_on += "while not pathlib.Path('/mnt/data/go').exists():\n    await asyncio.sleep(0.01)\n"
    go_on += "x = 'went on'"
    events = stream(client, container_id, go_on)
    kinds = iter(events)
    next(kinds)
    next(kinds)
    events.close()
    client.containers.files.create(container_id, file=("go", b"x"))

    assert run(client, container_id, "x")["outputs"] == [{"type": "result", "text": "'went on'"}]


def test_executions_of_one_container_run_one_after_the_other(client: OpenAI, container_id: str):
    run(client, container_id, "order = []")
    results: list[Any] = []
    threads = [
        threading.Thread(
            target=lambda n=n: results.append(run(client, container_id, f"order.append({n})"))
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {result["status"] for result in results} == {"ok"}
    assert run(client, container_id, "sorted(order)")["outputs"][0]["text"] == "[0, 1, 2, 3]"


def test_timeout_is_an_execution_that_says_so(client: OpenAI, container_id: str):
    execution = run(
        client, container_id, "import asyncio\nawait asyncio.Event().wait()", timeout_seconds=0.5
    )

    assert execution["status"] == "timed_out"
    assert "0.5 s" in execution["outputs"][-1]["logs"]
    assert run(client, container_id, "1 + 1")["status"] == "ok"


def test_expired_or_unknown_container_raises_the_typed_error(client: OpenAI):
    with pytest.raises(openai.NotFoundError):
        run(client, "cntr_nope", "1")


def test_wrong_body_raises_bad_request(client: OpenAI, container_id: str):
    with pytest.raises(openai.BadRequestError) as caught:
        client.post(f"/containers/{container_id}/executions", body={}, cast_to=object)

    assert (caught.value.param, caught.value.code) == ("code", "missing_required_parameter")


@in_a_real_kernel
def test_people_are_shown_more_than_text(client: OpenAI, container_id: str):
    code = (
        "from IPython.display import HTML\nimport matplotlib.pyplot as plt\n"
        "plt.bar(['a', 'b'], [1, 2]); plt.title('Bars')\nplt.show()\nHTML('<b>x</b>')"
    )
    image, result = run(client, container_id, code)["outputs"]

    assert image["chart"]["axes"][0]["title"] == "Bars"
    assert image["chart"]["axes"][0]["series"] == [
        {"kind": "bar", "label": "", "x": ["a", "b"], "y": [1, 2]}
    ]
    assert result == {
        "type": "result",
        "text": "<IPython.core.display.HTML object>",
        "data": {"text/html": "<b>x</b>"},
    }


@in_a_real_kernel
def test_outputs_that_were_replaced_or_cleared_are_gone(client: OpenAI, container_id: str):
    code = (
        "from IPython.display import clear_output\nimport matplotlib.pyplot as plt\n"
        "for epoch in range(3):\n"
        "    clear_output(wait=True)\n    print('epoch', epoch)\n"
        "    plt.plot([epoch]); plt.title('Loss'); plt.show()\n"
        "handle = display(1, display_id='n'); handle.update(2)\n"
        "print('10%', end='\\r'); print('100%')"
    )
    execution = run(client, container_id, code)

    assert [o.get("logs") or o.get("text") or o["type"] for o in execution["outputs"]] == [
        "epoch 2\n",
        "image",
        "2",
        "100%\n",
    ]
    assert [file["path"] for file in execution["files"]] == ["/mnt/data/loss.png"]


@in_a_real_kernel
def test_a_stream_says_what_was_cleared(client: OpenAI, container_id: str):
    code = "from IPython.display import clear_output\nprint('a'); clear_output(); print('b')"
    events: list[Any] = list(stream(client, container_id, code))

    outputs = []
    for event in events:
        if event["type"] == "container.execution.cleared":
            outputs = []
        elif event["type"] == "container.execution.output":
            outputs[event["index"] :] = [event["output"]]
    assert outputs == [{"type": "logs", "stream": "stdout", "logs": "b\n"}]
    assert events[-1]["execution"]["outputs"] == outputs


@in_a_real_kernel
def test_a_file_that_the_code_saved_over_a_shown_picture_outlives_it(
    client: OpenAI, container_id: str
):
    code = (
        "from IPython.display import clear_output\nimport matplotlib.pyplot as plt, time\n"
        "plt.plot([1]); plt.title('T'); plt.show()\n"
        "import os\n"
        "while not os.path.exists('t.png'): time.sleep(0.01)\n"
        "open('t.png', 'w').write('mine'); clear_output(); print('end')"
    )
    execution = run(client, container_id, code)

    assert execution["outputs"] == [{"type": "logs", "stream": "stdout", "logs": "end\n"}]
    assert [(f["path"], f["bytes"]) for f in execution["files"]] == [("/mnt/data/t.png", 4)]


@in_a_real_kernel
def test_a_picture_that_text_has_replaced_is_no_file(client: OpenAI, container_id: str):
    code = (
        "import matplotlib.pyplot as plt, os, time\n"
        "from IPython.display import update_display\n"
        "figure = plt.figure(); plt.title('T')\n"
        "display(figure, display_id='one'); plt.close()\n"
        "while not os.path.exists('t.png'): time.sleep(0.01)\n"
        "update_display('gone', display_id='one')"
    )
    execution = run(client, container_id, code)

    assert [output["text"] for output in execution["outputs"]] == ["'gone'"]
    assert execution["files"] == []
