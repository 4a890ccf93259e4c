"""A server that is killed in the middle of its work, and started again on the same data."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from openai.types.responses import Response

from tests.cli.live import serving

pytestmark = pytest.mark.sandbox

CI: Any = {"type": "code_interpreter", "container": {"type": "auto"}}
SLEEPER = "Run this:\n```python\nimport time\nprint('begun', flush=True)\ntime.sleep(600)\n```"
STOPPED = "The server stopped while the run was in progress."


def strict(url: str) -> OpenAI:
    return OpenAI(
        base_url=url, api_key="none", max_retries=0, timeout=60, _strict_response_validation=True
    )


def poll(client: OpenAI, response_id: str, is_there: Callable[[Response], bool]) -> Response:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        response = client.responses.retrieve(response_id)
        if is_there(response):
            return response
        time.sleep(0.02)
    raise AssertionError("it did not come to that within a minute")


def test_what_a_killed_server_had_is_there_again_and_what_it_lost_says_so(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as live, strict(live.url) as client:
        whole = list(client.responses.create(input="What is 2 + 3?", tools=[CI], stream=True))
        begun: Any = client.responses.create(
            input=SLEEPER, tools=[CI], background=True, stream=True
        )
        seen = []
        for event in begun:
            seen.append(event)
            if event.type == "response.code_interpreter_call.interpreting":
                break
        lost_id = seen[0].response.id
        polled = client.responses.create(input=SLEEPER, tools=[CI], background=True)
        assert polled.status == "queued"
        poll(client, polled.id, lambda response: response.status == "in_progress")
        live.process.send_signal(signal.SIGKILL)
        live.process.wait()

    with serving(tmp_path / "data") as live, strict(live.url) as client:
        last = whole[-1]
        assert last.type == "response.completed"
        kept = client.responses.retrieve(last.response.id, stream=True, starting_after=2)
        assert list(kept) == whole[3:]
        for response_id in (lost_id, polled.id):
            lost = client.responses.retrieve(response_id)
            assert lost.status == "failed"
            assert lost.error is not None
            assert (lost.error.code, lost.error.message) == ("server_error", STOPPED)
            assert client.responses.cancel(response_id) == lost
        resumed: Any = client.responses.retrieve(
            lost_id, stream=True, starting_after=seen[-1].sequence_number
        )
        rest = list(resumed)
        numbers = [event.sequence_number for event in [*seen, *rest]]
        assert numbers == list(range(len(numbers)))
        assert [event.type for event in rest] == ["response.output_item.done", "response.failed"]
        assert rest[0].item.status == "failed"
        # And it works: the box of what was lost is in nobody's way.
        again = client.responses.create(input="What is 2 + 3?", tools=[CI])
        assert again.status == "completed"
