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
