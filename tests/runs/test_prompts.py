from __future__ import annotations

from sanderling.runs.prompts import system_text, unknown_tool


def test_model_is_told_of_the_tool_and_then_what_the_client_says() -> None:
    told = system_text(instructions="Be brief.", offers_code=True, execution_timeout_s=60.0)

    assert told is not None
    assert "`python`" in told
    assert "at most 60 seconds" in told
    assert "sandbox:/mnt/data/name" in told
    assert told.endswith("\n\nBe brief.")


def test_model_without_the_tool_is_told_what_the_client_says() -> None:
    assert system_text(instructions="Be brief.", offers_code=False, execution_timeout_s=60) == (
        "Be brief."
    )
    assert system_text(instructions=None, offers_code=False, execution_timeout_s=60) is None


def test_unknown_tool_is_answered_with_those_there_are() -> None:
    assert unknown_tool("x", []) == "There is no tool called 'x'. Tools you can call: none."
