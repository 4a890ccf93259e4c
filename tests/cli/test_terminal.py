from __future__ import annotations

import io

import pytest

from sanderling.cli import terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n\ttext\r50 %", "plain\n\ttext\r50 %"),
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x1b]52;c;ZXZpbA==\x07after", "after"),
        ("\x1b]0;title\x1b\\after", "after"),
        ("\x9b2Jx", "2Jx"),
        ("bell\x07", "bell"),
        ("left\u202eright", "leftright"),
        ("\x1bP0;1|17/ab\x1b\\z", "z"),
        ("\x1bc\x1b", ""),
    ],
)
def test_text_from_a_box_cannot_command_a_terminal(text: str, shown: str) -> None:
    assert terminal.harmless(text) == shown


def test_text_into_a_pipe_is_left_as_it_is() -> None:
    pipe = io.StringIO()

    terminal.write(pipe, "\x1b[2J\x00data")

    assert pipe.getvalue() == "\x1b[2J\x00data"


def test_a_pipe_gets_no_colours() -> None:
    pipe = io.StringIO()

    terminal.console(pipe).print("text", style="red")

    assert pipe.getvalue() == "text\n"
