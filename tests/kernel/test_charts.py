"""What a figure shows is told as data beside its picture."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sanderling.kernel.protocol import CHART_TYPE
from tests.doubles.kernel_process import KernelProcess

SETUP = "import datetime, matplotlib.pyplot as plt, numpy as np, pandas as pd\n"


def chart(kernel: KernelProcess, code: str) -> dict[str, Any]:
    image = kernel.run(f"{SETUP}{code};")[0]
    found: dict[str, Any] = json.loads(image[1]["parts"][CHART_TYPE])
    return found


@pytest.mark.parametrize(
    ("code", "series"),
    [
        (
            "plt.plot([1, 2], [3, np.nan], label='a')",
            {"kind": "line", "label": "a", "x": [1.0, 2.0], "y": [3.0, None]},
        ),
        (
            "plt.plot([datetime.date(2024, 1, 2)], [5])",
            {"kind": "line", "label": "", "x": ["2024-01-02"], "y": [5]},
        ),
        (
            "plt.scatter([1, 2], [3, 4])",
            {"kind": "scatter", "label": "", "x": [1.0, 2.0], "y": [3.0, 4.0]},
        ),
        ("plt.bar(['p', 'q'], [1, 2])", {"kind": "bar", "label": "", "x": ["p", "q"], "y": [1, 2]}),
        (
            "pd.DataFrame({'k': ['p'], 'n': [3]}).plot.barh(x='k', y='n')",
            {"kind": "bar", "label": "n", "x": [3], "y": ["p"]},
        ),
        (
            "plt.hist([0, 1, 1, 2], bins=2)",
            {"kind": "hist", "label": "", "edges": [0.0, 1.0, 2.0], "counts": [1.0, 3.0]},
        ),
        (
            "plt.pie([1, 3], labels=['p', 'q'])",
            {"kind": "pie", "label": "", "labels": ["p", "q"], "shares": [0.25, 0.75]},
        ),
        (
            "plt.imshow(np.eye(2))",
            {"kind": "image", "label": "", "shape": [2, 2], "values": [[1.0, 0.0], [0.0, 1.0]]},
        ),
    ],
)
def test_series_are_told(science: KernelProcess, code: str, series: dict[str, Any]) -> None:
    found = chart(science, code)["axes"][0]["series"]

    assert found == [series]


def test_a_box_plot_is_its_boxes(science: KernelProcess) -> None:
    [box] = chart(science, "plt.boxplot([1, 2, 3, 4, 50])")["axes"][0]["series"]

    assert (box["kind"], box["med"], box["outliers"]) == ("box", 3.0, [50])


def test_axes_are_told(science: KernelProcess) -> None:
    code = (
        "plt.suptitle('S'); plt.bar(['p'], [1]); plt.ylabel('Y'); plt.yscale('log'); plt.title('T')"
    )
    found = chart(science, code)
    [axes] = found["axes"]

    assert (found["title"], axes["title"], axes["y"]["label"]) == ("S", "T", "Y")
    assert axes["y"]["scale"] == "log"
    assert axes["x"]["ticks"] == [{"at": 0.0, "label": "p"}]


def test_points_are_bounded_and_counted(science: KernelProcess) -> None:
    [series] = chart(science, "plt.plot(np.arange(3000)); plt.plot(np.arange(3000))")["axes"][0][
        "series"
    ][:1]

    assert series["points"] == 3000
    assert len(series["x"]) == len(series["y"]) == 1500


def test_a_figure_that_cannot_be_read_is_shown_all_the_same(science: KernelProcess) -> None:
    shown = science.run(
        f"{SETUP}line, = plt.plot([1])\nline.get_xdata = lambda orig=True: 1/0 if orig else [0];"
    )

    assert (shown[0][0], shown[0][1]["parts"]) == ("image", {})
    assert shown[-1] == ("done", "ok")
