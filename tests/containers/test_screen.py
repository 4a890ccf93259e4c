"""What is kept of text that moved its cursor."""

from __future__ import annotations

import pytest

from sanderling.containers import screen
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


@pytest.mark.parametrize(
    ("text", "is_kept"),
    [
        ("\r" * 1_000_000, True),
        ("x\b" * 500_000, True),
        ("\x1b[A\n" * 300_000, True),
        ("x" * 100_000 + "\ry" * 100_000, True),
        ("x" * 100_000 + "\x1b[K\b" * 100_000, True),
        ("\x1b[1m" + "y\x1b[0m" * 100_000 + "\rx", True),
        ("\n" * 50_000 + "\x1b[9A\r" * 50, False),
        ("".join(f"\r{n}%" for n in range(20_000)), False),
    ],
)
def test_the_work_is_bounded_and_text_that_needs_more_is_kept_as_it_is(
    text: str, is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, tokens, copied = screen._Screen.take, 0, 0

    def count_and_take(self: screen._Screen, token: str) -> None:
        nonlocal tokens, copied
        tokens += 1
        copied += len(self._rows[self._row]) + len(token)
        take(self, token)

    monkeypatch.setattr(screen._Screen, "take", count_and_take)

    assert (settled(text) == text) is is_kept
    assert tokens <= 150_001
    assert copied <= 20_000_000 + len(text)
