"""What a value says of itself beside its text: read only where every reader of JSON can."""

from __future__ import annotations

import json

import pytest

from sanderling.containers.parts import CHART_BYTES_MAX, CHART_TYPE, chart_of, data_of

CHART = {"title": "Year", "axes": [{"title": "Sales", "x": {"label": "é 🩷"}}]}


def test_a_chart_is_read_and_is_not_among_what_people_are_shown():
    parts = [("text/html", "<b>x</b>"), (CHART_TYPE, json.dumps(CHART))]

    assert chart_of(parts) == CHART
    assert data_of(parts) == {"text/html": "<b>x</b>"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[1]",
        '{"x": NaN}',
        '{"x": 1e999}',
        '{"title": "\\ud800"}',
        '{"\\udfff": 1}',
        "[" * 100_000,
        '{"a":' * 9 + "1" + "}" * 9,
        json.dumps({"x": "x" * CHART_BYTES_MAX}),
    ],
)
def test_what_cannot_be_handed_on_is_no_chart(text: str):
    assert chart_of([(CHART_TYPE, text)]) is None
