"""Figures of plotly, altair and bokeh become HTML files, once each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.kernel_process import KernelProcess, Shown

OK = ("done", "ok")


@pytest.fixture(scope="module")
def charts(guest_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KernelProcess]:
    folder = tmp_path_factory.mktemp("data")
    with KernelProcess(guest_python, folder) as made:
        yield made


def run(kernel: KernelProcess, library: str, code: str) -> list[Shown]:
    found = kernel.run(f"import importlib.util\nimportlib.util.find_spec({library!r}) is None")
    if found[0] == ("result", "True"):
        pytest.skip(f"{library} is not in the guest environment")
    return kernel.run(code)


def is_self_contained(page: Path) -> bool:
    """Whether a page loads no script or style from elsewhere."""
    return not re.search(r"<(?:script|link)\b[^>]*?(?:src|href)=.http", page.read_text())


PLOTLY = "import plotly.graph_objects as go\nf = go.Figure(go.Bar(x=['a'], y=[2]))\n"


def test_a_plotly_figure_becomes_a_file_that_needs_nothing_else(charts: KernelProcess) -> None:
    code = PLOTLY + "f.update_layout(title='Sales<br><b>by month</b>')\nf.show()\nf"
    [display, done] = run(charts, "plotly", code)

    page = charts.folder / "sales_by_month.html"
    assert display[:2] == (
        "display",
        f'[interactive plotly figure of 1 trace (bar) "Sales by month", saved as {page}]',
    )
    assert json.loads(display[2]["application/vnd.plotly.v1+json"])["data"][0]["y"] == [2]
    assert is_self_contained(page)
    assert done == OK


def test_a_plotly_figure_shown_again_is_not_saved_again(charts: KernelProcess) -> None:
    before = run(charts, "plotly", PLOTLY + "f.update_layout(title='Twice')\nf")

    assert charts.run("f") == before
    assert len(list(charts.folder.glob("twice*"))) == 1


def test_a_figure_of_a_class_that_code_has_derived_is_one(charts: KernelProcess) -> None:
    code = PLOTLY + "class Mine(go.Figure): pass\nMine(f.data, layout={'title': 'Derived'})"
    [display, done] = run(charts, "plotly", code)

    page = charts.folder / "derived.html"
    assert display[1].endswith(f'"Derived", saved as {page}]')
    assert done == OK


ALTAIR = (
    "import altair as alt\nf = alt.Chart({'values': [{'a': NUMBER}]}).mark_bar().encode(x='a:Q')\n"
)
BOKEH = (
    "from bokeh.plotting import figure, output_file, save, show\n"
    "f = figure()\nf.line([1, 2], [3, NUMBER])\n"
)


@pytest.mark.parametrize(
    ("library", "make", "save"),
    [
        ("plotly", PLOTLY, "f.write_html('NAME')\nf.show()"),
        ("plotly", PLOTLY, "import plotly.io as pio\npio.write_html(f, 'NAME')\nf"),
        (
            "plotly",
            PLOTLY,
            "import plotly.offline as po\npo.plot(f, filename='NAME', auto_open=False)\nf",
        ),
        ("altair", ALTAIR, "f.save('NAME')\nf"),
        ("altair", ALTAIR, "f.save('NAME')\nf.show()"),
        ("bokeh", BOKEH, "save(f, 'NAME')\nf"),
        ("bokeh", BOKEH, "output_file('NAME')\nshow(f)"),
        ("bokeh", BOKEH, "output_file('NAME')\nsave(f)\nshow(f)\nf.line([1], [2])\nshow(f)"),
    ],
)
def test_a_figure_that_code_has_saved_is_not_saved_again(
    charts: KernelProcess, library: str, make: str, save: str
) -> None:
    number = len(list(charts.folder.iterdir())) + 10
    before = set(charts.folder.iterdir())
    code = (make + save).replace("[2]", "[NUMBER]").replace("NUMBER", str(number))
    shown = run(charts, library, code.replace("NAME", f"mine_{number}.html"))

    assert shown[-1] == OK, shown
    assert set(charts.folder.iterdir()) - before == {charts.folder / f"mine_{number}.html"}
    told = [s[1]["name"] if s[0] == "image" else s[1] for s in shown[:-1] if s[0] != "stderr"]
    assert all(f"mine_{number}." in each for each in told), told
    assert all(re.match(r"<cell \d+>:\d+: ", s[1]) for s in shown if s[0] == "stderr"), shown


def test_another_figure_is_never_taken_for_one_that_was_saved(charts: KernelProcess) -> None:
    saves = "go.Figure(go.Bar(x=['a'], y=[70 + n])).write_html('each.html')"
    run(charts, "plotly", f"import plotly.graph_objects as go\nfor n in range(3): {saves}")
    shown = [charts.run(f"go.Figure(go.Bar(x=['a'], y=[{y}]))")[0][1] for y in (70, 72, 79)]

    assert ["/each.html]" in told for told in shown] == [False, True, False], shown


def test_a_class_may_say_that_it_comes_from_anywhere(charts: KernelProcess) -> None:
    assert charts.run("class A:\n    __module__ = 5\nA()")[-1] == OK


def test_an_altair_chart_becomes_a_file_and_a_picture(charts: KernelProcess) -> None:
    code = (
        "import altair as alt\n"
        "alt.Chart({'values': [{'a': 1}]}, title='Alt').mark_bar().encode(x='a:Q')"
    )
    [shown, done] = run(charts, "altair", code)

    has_converter = charts.run("importlib.util.find_spec('vl_convert') is not None")
    if has_converter[0] == ("result", "True"):
        assert (shown[0], shown[1]["name"]) == ("image", "alt.png")
        assert shown[2].startswith(b"\x89PNG")
        assert is_self_contained(charts.folder / "alt.html")
    else:
        assert shown[1].endswith(f"saved as {charts.folder / 'alt.html'}]")
    assert done == OK


def test_a_bokeh_figure_becomes_a_file_that_needs_nothing_else(charts: KernelProcess) -> None:
    code = (
        "from bokeh.plotting import figure, output_notebook, reset_output, show\n"
        "reset_output()\noutput_notebook()\n"
        "p = figure(title='Bok')\np.line([1, 2], [3, 4])\nshow(p)\np"
    )

    assert run(charts, "bokeh", code) == [
        ("result", f'[interactive bokeh figure "Bok", saved as {charts.folder / "bok.html"}]'),
        OK,
    ]
    assert is_self_contained(charts.folder / "bok.html")


def test_an_array_shown_by_opencv_is_a_picture(charts: KernelProcess) -> None:
    code = (
        "import cv2, numpy as np\n"
        "for n in range(2): cv2.imshow('My window', np.zeros((4, 6, 3), 'uint8')); cv2.waitKey(1)\n"
        "cv2.waitKey(0); cv2.imshow('My window', np.ones((4, 6))); cv2.destroyAllWindows()"
    )
    shown = run(charts, "cv2", code)

    assert [(s[1]["name"], s[1]["is_update"]) for s in shown[:3]] == [
        ("my_window.png", False),
        ("my_window.png", True),
        ("my_window.png", False),
    ]


def test_a_bar_of_widgets_is_one_of_text(charts: KernelProcess) -> None:
    shown = run(charts, "tqdm", "from tqdm.notebook import tqdm\nfor _ in tqdm(range(2)): pass")

    assert [s[0] for s in shown] == ["stderr", "done"]
    assert shown[0][1].rpartition("\r")[2].startswith("100%")
