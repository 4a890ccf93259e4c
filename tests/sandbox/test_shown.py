"""What of a cell's outputs is passed on when some take the place of others."""

from __future__ import annotations

from sanderling.sandbox.bars import compact
from sanderling.sandbox.base import Cleared, Logs, Result
from sanderling.sandbox.shown import Cell, Shown


async def all_of(cell: Cell) -> list[Shown]:
    shown = []
    while (one := await cell.next()) is not None:
        shown.append(one)
    return shown


def value(text: str, *, is_update: bool) -> Result:
    return Result(text, (), "one", is_update)


async def test_a_bar_that_is_drawn_a_thousand_times_is_passed_on_as_it_is_in_the_end() -> None:
    cell = Cell("n", 4096)
    for number in range(1000):
        cell.add_logs("stderr", f"\r{number:3}%")
    cell.add_logs("stderr", "\nafter\n")
    cell.end("ok")

    assert await all_of(cell) == [Logs("stderr", "\r999%\nafter\n")]
    assert cell.dropped_bytes == 0


async def test_other_output_comes_behind_the_bar() -> None:
    cell = Cell("n", 4096)
    cell.add_logs("stderr", "\r50%")
    cell.add_logs("stdout", "text")
    cell.add_logs("stderr", "\r99%")
    cell.add_value(Result("5"), 1)
    cell.end("ok")

    assert await all_of(cell) == [
        Logs("stderr", "\r50%"),
        Logs("stdout", "text"),
        Logs("stderr", "\r99%"),
        Result("5"),
    ]


async def test_of_values_that_replace_each_other_the_last_is_passed_on() -> None:
    cell = Cell("n", 4096)
    cell.add_value(value("0", is_update=False), 1)
    for number in range(1, 5000):
        cell.add_value(value(str(number), is_update=True), 1)
    cell.end("ok")

    assert await all_of(cell) == [value("4999", is_update=False)]
    assert cell.dropped_bytes == 0


async def test_what_was_cleared_before_anybody_took_it_is_nobodys() -> None:
    cell = Cell("n", 4096)
    for number in range(5000):
        cell.clear()
        cell.add_logs("stdout", f"epoch {number}\n")
        cell.add_value(Result(str(number)), 1)
    cell.end("ok")

    assert await all_of(cell) == [Cleared(), Logs("stdout", "epoch 4999\n"), Result("4999")]
    assert cell.dropped_bytes == 0


async def test_values_that_grow_by_replacing_are_bounded() -> None:
    cell = Cell("n", 4096)
    big = "x" * (20 << 20)
    for number in range(5):
        first = Result("", (), str(number), is_update=False)
        cell.add_value(first, 0)
        cell.add_value(Result(big, (), str(number), is_update=True), len(big))
    cell.end("ok")

    assert sum(len(shown.text) for shown in await all_of(cell)) == 3 * len(big)  # type: ignore[union-attr]
    assert cell.dropped_bytes == 2 * len(big)


def test_a_bar_keeps_what_was_not_written_over() -> None:
    assert compact("\r1%\r10%\r9%") == "\r10%\r9%"
    assert compact("a\rb\rc\r") == "a\rc\r"
    assert compact("line\n\rb") == "line\n\rb"
    assert compact("\r1\x1b[A\r2") == "\r1\x1b[A\r2"
