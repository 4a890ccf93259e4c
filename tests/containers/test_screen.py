"""What is kept of text that moved its cursor."""

from __future__ import annotations

import pytest

from sanderling.containers.screen import settled


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain\ntext\n", "plain\ntext\n"),
        ("a\r\nb\r\n", "a\r\nb\r\n"),
        ("\x1b[31mred\x1b[0m\n", "\x1b[31mred\x1b[0m\n"),
        ("10%\r20%\r100%\ndone", "100%\ndone"),
        ("before\n\r50%|#  |\r100%|###|\nafter", "before\n100%|###|\nafter"),
        ("longer text\rshort", "shortr text"),
        ("12345\r     \r", ""),
        ("abc\b\bX", "aXc"),
        ("old line\r\x1b[Knew", "new"),
        ("\router 0\n\rinner 1\x1b[A\n\rinner 2\x1b[A\router 1\n\n", "outer 1\ninner 2\n"),
    ],
)
def test_text_is_kept_as_a_terminal_shows_it_in_the_end(text: str, seen: str) -> None:
    assert settled(text) == seen


def test_a_number_that_nobody_reads_is_left_alone() -> None:
    text = "x\r\x1b[" + "1" * 5000 + "A"

    assert settled(text) == "[" + "1" * 5000 + "A"


@pytest.mark.parametrize("text", ["\r" * 1_000_000, "x\b" * 500_000, "\x1b[A\n" * 300_000])
def test_text_that_would_take_too_long_is_kept_as_it_is(text: str) -> None:
    assert settled(text) == text
