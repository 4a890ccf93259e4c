from __future__ import annotations

from sanderling.containers.happenings import OutputLog
from sanderling.records import LogsOutput, ResultOutput


def test_adjacent_bursts_of_one_stream_are_one_output() -> None:
    log = OutputLog()

    indices = [
        log.add(LogsOutput("stdout", "a")).index,
        log.add(LogsOutput("stdout", "b")).index,
        log.add(LogsOutput("stderr", "c")).index,
        log.add(LogsOutput("stdout", "d")).index,
        log.add(ResultOutput("4")).index,
        log.add(ResultOutput("5")).index,
        log.add(LogsOutput("stdout", "e")).index,
    ]

    assert indices == [0, 0, 1, 2, 3, 4, 5]
    assert log.outputs() == (
        LogsOutput("stdout", "ab"),
        LogsOutput("stderr", "c"),
        LogsOutput("stdout", "d"),
        ResultOutput("4"),
        ResultOutput("5"),
        LogsOutput("stdout", "e"),
    )


def test_looking_at_the_outputs_does_not_disturb_them() -> None:
    log = OutputLog()
    log.add(LogsOutput("stdout", "a"))
    log.outputs()
    log.add(LogsOutput("stdout", "b"))

    assert log.outputs() == (LogsOutput("stdout", "ab"),)


def test_notice_stands_on_a_line_of_its_own() -> None:
    log = OutputLog()
    log.add(LogsOutput("stderr", "Traceback"))
    log.add_notice("Out of memory.")
    log.add_notice("Files are kept.")

    assert log.outputs() == (LogsOutput("stderr", "Traceback\nOut of memory.\nFiles are kept.\n"),)


def test_notice_after_another_stream_is_an_output_of_its_own_and_begins_a_line() -> None:
    log = OutputLog()
    log.add(LogsOutput("stdout", "working"))
    log.add_notice("Out of time.")

    assert log.outputs() == (
        LogsOutput("stdout", "working"),
        LogsOutput("stderr", "\nOut of time.\n"),
    )


def test_an_update_takes_the_place_of_what_was_displayed() -> None:
    log = OutputLog()
    log.add_displayed(ResultOutput("1"), "a", is_update=False)
    log.add(LogsOutput("stdout", "x"))

    assert log.add_displayed(ResultOutput("2"), "a", is_update=True).index == 0
    assert log.add_displayed(ResultOutput("3"), "other", is_update=True).index == 2
    assert log.outputs() == (
        ResultOutput("2"),
        LogsOutput("stdout", "x"),
        ResultOutput("3"),
    )


def test_what_was_cleared_is_gone_and_outputs_are_counted_anew() -> None:
    log = OutputLog()
    log.add(LogsOutput("stdout", "x"))
    log.clear()

    assert log.add(ResultOutput("1")).index == 0
    assert log.outputs() == (ResultOutput("1"),)


def test_a_log_can_be_made_again_from_what_another_has_told() -> None:
    log, copy = OutputLog(), OutputLog()
    for told in (
        log.add(LogsOutput("stdout", "1%\r")),
        log.add(LogsOutput("stdout", "2%\n")),
        log.add_displayed(ResultOutput("1"), "a", is_update=False),
        log.add(LogsOutput("stdout", "x")),
        log.add_displayed(ResultOutput("2"), "a", is_update=True),
    ):
        copy.put(told)

    assert copy.outputs() == log.outputs()
    assert log.outputs()[0] == LogsOutput("stdout", "2%\n")
