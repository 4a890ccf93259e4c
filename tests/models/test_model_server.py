"""The double itself, as a process of its own: how tests of a separately started server use it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from sanderling.models.base import CallFinished, TextDelta, TurnRequest
from sanderling.models.chat import ChatModel
from tests.doubles.model_server import Turn

ROOT = Path(__file__).parents[2]


async def test_a_script_is_served_by_a_process_of_its_own(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps([{"code": "1 + 1", "faults": ["missing_index"]}, {"text": "2"}]))
    command = [sys.executable, "-m", "tests.doubles.model_server", "--port", "0", "--repeat"]
    served = await asyncio.create_subprocess_exec(
        *command, str(script), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert served.stdout is not None
        model = ChatModel((await served.stdout.readline()).decode().strip())
        for _ in range(2):
            first = TurnRequest("m", ({"role": "user", "content": "a"},), offers_code=True)
            calls = [e async for e in model.stream(first) if isinstance(e, CallFinished)]
            assert [call.text for call in calls] == ["1 + 1"]
            second = TurnRequest("m", ({"role": "user", "content": "b"},))
            texts = [e.text async for e in model.stream(second) if isinstance(e, TextDelta)]
            assert texts == ["2"]
        await model.aclose()
    finally:
        served.terminate()
        await served.wait()


def test_a_misspelt_fault_or_key_is_refused() -> None:
    with pytest.raises(AssertionError):
        Turn(text="a", faults=("missing_indx",))
    with pytest.raises(AssertionError):
        Turn.of({"txt": "a"})
