from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator

import pytest

from sanderling.observe import logs


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure("info", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_is_time_level_action_and_fields(lines: io.StringIO) -> None:
    logs.info("run.finished", run_id="resp_1", status="completed", duration_ms=412.0)

    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info run\.finished"
        r" run_id=resp_1 status=completed duration_ms=412\.0\n",
        lines.getvalue(),
    )


def test_a_value_cannot_begin_a_new_line(lines: io.StringIO) -> None:
    logs.warning("run.failed", reason='no\n2026-01-01T00:00:00.000Z info run.finished "x"')

    assert lines.getvalue().count("\n") == 1
    assert r'reason="no\n2026' in lines.getvalue()


def test_bound_fields_are_on_every_line_inside_and_none_outside(lines: io.StringIO) -> None:
    with logs.bound(run_id="resp_1"):
        logs.info("run.started", model="m")
    logs.info("run.started", model="m")

    inside, outside = lines.getvalue().splitlines()
    assert "run_id=resp_1" in inside
    assert "run_id" not in outside


def test_lines_below_the_level_are_not_printed(lines: io.StringIO) -> None:
    logs.debug("run.started", model="m")

    assert lines.getvalue() == ""


def test_an_error_shows_its_traceback_indented(lines: io.StringIO) -> None:
    try:
        raise ValueError("broken")
    except ValueError as error:
        logs.error("request.failed", cause=error)

    first, *rest = lines.getvalue().splitlines()
    assert first.endswith("error request.failed")
    assert rest[-1] == "    ValueError: broken"


def test_a_librarys_line_has_the_same_shape(lines: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").warning("odd thing %d", 1)

    assert lines.getvalue().endswith('warning uvicorn.error message="odd thing 1"\n')


def test_an_action_that_is_not_in_the_table_is_refused(lines: io.StringIO) -> None:
    with pytest.raises(AssertionError, match=r"no\.such is not in observe/names\.py"):
        logs.info("no.such")
