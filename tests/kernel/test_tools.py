"""The modules that models were taught to show tables and charts with."""

import os

import pytest

TABLE = (
    "import pandas as pd\ntable = pd.DataFrame({'a': [1, 2, 3, 4, 5, 6], 'b': list('uvwxyz')})\n"
)
PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.title('A title')\n"


@pytest.mark.parametrize("module", ["ace_tools", "caas_jupyter_tools"])
def test_a_table_is_shown_written_and_its_head_returned(science, module):
    shown = science.run(
        f"import {module} as tools\n{TABLE}"
        f"head = tools.display_dataframe_to_user('{module} one', table)\n"
        "print(len(head))"
    )

    assert shown[-1] == ("done", "ok"), shown
    assert [piece[0] for piece in shown[:-1]] == ["display", "stdout"]
    assert shown[1][1] == "5\n"
    assert (science.folder / f"{module} one.csv").read_text().splitlines()[:2] == ["a,b", "1,u"]


def test_a_table_shown_by_the_last_line_is_shown_once(science):
    shown = science.run(f"import ace_tools\n{TABLE}ace_tools.display_dataframe_to_user('x', table)")

    assert [piece[0] for piece in shown] == ["display", "done"]
    assert [piece[0] for piece in science.run("_")] == ["display", "done"]


def test_a_table_takes_the_place_of_no_file_and_leaves_the_folder_for_no_name(science):
    code = (
        f"import ace_tools as tools\n{TABLE}"
        "for name in ('twice', 'twice', '../../etc/x', 'sales/2024: Q1?', '', '日本 😀' * 99):\n"
        "    tools.display_dataframe_to_user(name=name, dataframe=table.set_index('b'))"
    )
    before = set(os.listdir(science.folder))
    assert science.run(code)[-1] == ("done", "ok")

    made = set(os.listdir(science.folder)) - before
    assert {"twice.csv", "twice_2.csv", "sales_2024_ Q1.csv", "table.csv"} <= made
    assert len(made) == 6
    assert (science.folder / "twice.csv").read_text().startswith("b,a\n")


def test_rows_that_are_no_table_yet_become_one(science):
    code = (
        "import ace_tools\n"
        "ace_tools.display_dataframe_to_user('rows', [{'x': 1}, {'x': 2}])['x'].tolist()"
    )

    assert ("result", "[1, 2]") in science.run(code)


def test_a_chart_in_a_file_is_shown_once_under_its_name(science):
    code = (
        f"{PLOT}path = '{science.folder}/chart.png'\nplt.savefig(path); plt.close()\n"
        "from caas_jupyter_tools import display_chart_to_user\n"
        "display_chart_to_user(path, 'A title', 'line')"
    )
    (image, done) = science.run(code)

    assert done == ("done", "ok")
    assert (image[0], image[1]["name"]) == ("image", "chart.png")
    assert image[2] == (science.folder / "chart.png").read_bytes()


def test_open_figures_are_shown_and_notes_are_silent(science):
    code = (
        f"{PLOT}import ace_tools\n"
        "ace_tools.log_exception('no chart', 'id')\n"
        "ace_tools.log_matplotlib_img_fallback('x', [])\n"
        "ace_tools.display_matplotlib_image_to_user('A title', 'reason', ['id'])\nprint('after')"
    )

    assert [piece[0] for piece in science.run(code)] == ["image", "stdout", "done"]


def test_a_module_of_the_users_own_goes_first(kernel):
    (kernel.folder / "ace_tools.py").write_text("answer = 42\n")

    assert kernel.text("import ace_tools; print(ace_tools.answer)") == "42\n"


def test_the_modules_cost_nothing_before_they_are_imported(kernel):
    said = kernel.text("import sys; print('ace_tools' in sys.modules, 'pandas' in sys.modules)")

    assert said == "False False\n"
    assert kernel.text("import ace_tools, sys; print('pandas' in sys.modules)") == "False\n"
