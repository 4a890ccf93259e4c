from xml.etree import ElementTree as ET

import pytest
from bench.goals import GOALS
from bench.plots import Series, chart
from bench.samples import Figure, number

from bench import report


def figure(value: float) -> dict[str, float]:
    return {"least": value, "p50": value, "p99": value, "most": value, "count": 1}


RUN = {
    "date": "2026-01-01", "machine": "m", "system": "s", "python": "3", "sanderling": "0",
    "load_before": "0.0", "load_after": "0.0", "command": "make bench",
}  # fmt: skip


def contender(title: str, **more: object) -> dict[str, object]:
    return {"title": title, "isolation": "i", "version": "1", "remark": "", "cannot": {}, **more}


PEERS = {
    "run": RUN,
    "contenders": {
        "ours": contender("Sanderling"),
        "other": contender("Other", remark="As it is.", cannot={"plot": "it has no eyes"}),
    },
    "figures": {
        "ours": {"first_print": figure(8.0), "plot": figure(60.0), "lives": figure(200.0)},
        "other": {"first_print": figure(400.0), "lives": figure(5.0)},
    },
    "skipped": {"Third": "apt-get install third"},
    "loads": {"first_print": ["0.0", "1.0"]},
}


def test_page_says_how_many_times_worse_a_peer_is_and_why_it_cannot():
    page = report.markdown({"peers": PEERS})

    line = next(line for line in page.splitlines() if line.startswith("| Other | i |"))
    assert "400 (50.0×)" in line
    assert "5.00 (40.0×)" in line  # lives per second: as many times fewer
    assert "| — |" in line
    assert "As it is. First plot: it has no eyes." in page
    assert "**Third** was not measured: apt-get install third" in page


def test_page_of_a_part_has_no_figures_of_the_others():
    page = report.markdown({"engine": {"run": RUN, "figures": {
        name: figure(0.05) for name in report.OWN["engine"]}}})  # fmt: skip

    goals = {row[0]: row for row in report.goal_rows({"peers": PEERS})}
    assert "not measured" in page
    assert "## Beside others" not in page
    assert goals["container without pool → first output, p50"][3] == "met"
    assert goals["container without pool → first output, p50"][5] == "not met"


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.title)
def test_goal_is_met_on_the_right_side_of_its_bound(goal):
    better, worse = (2.0, 0.5) if goal.is_rate else (0.5, 2.0)

    assert goal.is_met(goal.must, goal.must)
    assert goal.is_met(goal.must * better, goal.must)
    assert not goal.is_met(goal.must * worse, goal.must)


def test_chart_is_the_same_for_the_same_numbers_and_knows_dark_ground():
    series = [Series("a", [(1, 0.5), (1000, 40.0)]), Series("b", [(1, 0.5), (10, 39.0)])]

    picture = chart("Latency", "ms", series)

    assert picture == chart("Latency", "ms", series)
    assert ET.fromstring(picture).tag.endswith("svg")
    assert "prefers-color-scheme:dark" in picture
    assert "NaN" not in picture
    assert len(picture) < 8000


def test_figure_tells_least_median_and_99th_percentile():
    assert Figure.of([3.0, 1.0, 2.0]) == Figure(1.0, 2.0, 3.0, 3.0, 3)
    assert Figure.of([float(i) for i in range(200)]).p99 == 198.0


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123, "0.012"), (0.5, "0.50"), (12.34, "12.3"), (4321.9, "4,322")]
)
def test_number_shows_the_digits_that_count(value, text):
    assert number(value) == text
