"""Figures come back as pictures, once each, in order, whatever the cell does with them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from sanderling.kernel.figures import picture_name
from tests.doubles.kernel_process import KernelProcess, Shown

OK = ("done", "ok")
PNG = b"\x89PNG\r\n\x1a\n"
SETUP = "import matplotlib.pyplot as plt\nfrom matplotlib.figure import Figure\n"


def run(kernel: KernelProcess, code: str) -> list[Shown]:
    shown = kernel.run(SETUP + textwrap.dedent(code))
    for piece in shown:
        if piece[0] == "image":
            assert piece[1]["mime"] == "image/png"
            assert piece[2].startswith(PNG)
    return shown


def kinds(shown: list[Shown]) -> list[str]:
    return [piece[1]["name"] if piece[0] == "image" else piece[0] for piece in shown]


def test_an_open_figure_is_shown_when_the_cell_ends(science: KernelProcess) -> None:
    shown = run(science, "plt.plot([1, 2])\nplt.title('At the end')\nprint('text')")

    assert kinds(shown) == ["stdout", "at_the_end.png", "done"]
    assert shown[1][1]["saved_path"] is None
    assert run(science, "plt.get_fignums()") == [("result", "[]"), OK]


def test_show_shows_what_is_open_at_its_moment(science: KernelProcess) -> None:
    shown = run(
        science,
        """
        plt.plot([1]); plt.title('one')
        plt.figure(); plt.plot([2]); plt.title('two')
        print('before')
        plt.show()
        print('after')
        plt.plot([3]); plt.title('three');
        """,
    )

    assert kinds(shown) == ["stdout", "one.png", "two.png", "stdout", "three.png", "done"]


@pytest.mark.parametrize("backend", ["agg", "Agg", "svg", "pdf"])
def test_a_cell_may_select_another_backend(science: KernelProcess, backend: str) -> None:
    shown = run(
        science,
        f"import matplotlib\nmatplotlib.use('{backend}')\nplt.plot([1]); plt.title('b')\n"
        "plt.show()\nmatplotlib.use('agg')",
    )

    assert kinds(shown) == ["b.png", "done"]


@pytest.mark.parametrize(
    "code",
    [
        "fig, ax = plt.subplots(); ax.set_title('once')\nfig",
        "fig, ax = plt.subplots(); ax.set_title('once')\nplt.gcf()",
        "fig, ax = plt.subplots(); ax.set_title('once')\ndisplay(fig)",
        "fig, ax = plt.subplots(); ax.set_title('once')\ndisplay(fig)\nplt.show()",
        "fig, ax = plt.subplots(); ax.set_title('once')\nfig.show()",
        "fig, ax = plt.subplots(); ax.set_title('once')\nplt.show()\nfig",
        "fig, ax = plt.subplots(); ax.set_title('once')\nfig.show();\nplt.show()",
        "fig, ax = plt.subplots(); ax.set_title('once')\ndisplay(fig)\nfig.show()\nfig",
        "fig = Figure(); fig.subplots().set_title('once')\nfig",
    ],
)
def test_a_figure_is_shown_once(science: KernelProcess, code: str) -> None:
    assert kinds(run(science, code)) == ["once.png", "done"]


def test_a_figure_that_was_changed_since_is_shown_again(science: KernelProcess) -> None:
    shown = run(
        science,
        """
        fig, ax = plt.subplots(); ax.set_title('before')
        plt.show()
        ax.set_title('after')
        fig
        """,
    )

    assert kinds(shown) == ["before.png", "after.png", "done"]


def test_display_shows_a_figure_as_often_as_it_is_asked(science: KernelProcess) -> None:
    shown = run(science, "fig, ax = plt.subplots()\nax.set_title('x')\ndisplay(fig, fig)")

    assert kinds(shown) == ["x.png", "x.png", "done"]


def test_a_figure_of_an_earlier_cell_can_be_shown_again(science: KernelProcess) -> None:
    run(science, "kept, ax = plt.subplots(); ax.set_title('kept')")

    assert kinds(run(science, "ax.plot([1, 2])\nkept")) == ["kept.png", "done"]


def test_a_result_comes_before_the_figures_left_open(science: KernelProcess) -> None:
    shown = run(science, "plt.plot([1]); plt.title('x')\n5")

    assert kinds(shown) == ["result", "x.png", "done"]


def test_figures_of_a_cell_that_failed_are_shown(science: KernelProcess) -> None:
    shown = run(science, "plt.plot([1]); plt.title('x')\n1/0")

    assert kinds(shown) == ["x.png", "error", "done"]
    assert shown[-1] == ("done", "error")


def test_figures_without_content_and_closed_ones_are_not_shown(science: KernelProcess) -> None:
    assert run(science, "plt.figure()\nplt.plot([1])\nplt.close()\nplt.figure();") == [OK]


def test_a_saved_figure_is_shown_with_its_path(science: KernelProcess) -> None:
    shown = run(science, "plt.plot([1]); plt.title('x')\nplt.savefig('my chart.png')")

    assert kinds(shown) == ["my chart.png", "done"]
    assert shown[0][1]["saved_path"] == str(science.folder / "my chart.png")
    assert (science.folder / "my chart.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    ("save", "saved"),
    [
        ("fig.savefig('a.png')", "a.png"),
        ("fig.savefig('b')", "b.png"),
        ("fig.savefig('c.jpg')", "c.jpg"),
        ("fig.savefig('d.svg')", "d.svg"),
        ("fig.savefig('e.pdf')", None),
        ("fig.savefig('f.png'); fig.savefig('f.pdf')", "f.png"),
        ("fig.savefig('g1.png'); fig.savefig('g2.png')", "g2.png"),
        ("fig.savefig(pathlib.Path('h.png'), dpi=50)", "h.png"),
        ("fig.savefig(io.BytesIO(), format='png')", None),
        ("fig.savefig('/tmp/outside.png')", None),
        ("fig.savefig('sub/../i.png')", "i.png"),
        ("fig.savefig('j.' + chr(233) + '.png')", "j.\xe9.png"),
        ("plt.savefig(fname='k.png')", "k.png"),
        ("plt.savefig(os.path.abspath('l.PNG'))", "l.PNG"),
    ],
)
def test_the_path_is_that_of_a_picture_below_the_data_folder(
    science: KernelProcess, save: str, saved: str | None
) -> None:
    (science.folder / "sub").mkdir(exist_ok=True)
    [image, _] = run(science, f"import io, os, pathlib\nfig, ax = plt.subplots()\n{save}")

    expected = None if saved is None else str(science.folder / saved)
    assert image[1]["saved_path"] == expected


def test_a_path_of_an_earlier_cell_is_not_told_again(science: KernelProcess) -> None:
    run(science, "kept, ax = plt.subplots()\nkept.savefig('old.png')")

    assert run(science, "kept")[0][1]["saved_path"] is None


def test_what_is_saved_and_closed_is_a_file_only(science: KernelProcess) -> None:
    assert run(science, "plt.plot([1])\nplt.savefig('closed.png')\nplt.close()") == [OK]
    assert (science.folder / "closed.png").exists()


@pytest.mark.parametrize(
    ("saved_path", "title", "name"),
    [
        ("/mnt/data/a b.png", "T", "a b.png"),
        ("/mnt/data/A B.jpg", "T", "a_b.png"),
        (None, "Revenue by Region (€)", "revenue_by_region.png"),
        (None, "Über­sicht: 売上", "über_sicht_売上.png"),
        (None, "../../etc/passwd", "etc_passwd.png"),
        (None, "", "figure_3.png"),
        (None, "***", "figure_3.png"),
        (None, "x" * 300, "x" * 60 + ".png"),
    ],
)
def test_pictures_are_named_after_file_or_title(
    saved_path: str | None, title: str, name: str
) -> None:
    assert picture_name(saved_path, title, "figure_3") == name


def test_figures_without_title_are_counted(start_bare: Callable[[], KernelProcess]) -> None:
    kernel = start_bare()
    assert kinds(run(kernel, "plt.plot([1])\nplt.show()\nplt.plot([2]);")) == [
        "figure_1.png",
        "figure_2.png",
        "done",
    ]
    assert kinds(run(kernel, "plt.plot([1]);")) == ["figure_3.png", "done"]


def test_the_heading_of_the_figure_comes_before_that_of_its_axes(science: KernelProcess) -> None:
    code = "fig, ax = plt.subplots(1, 2)\nax[1].set_title('Axes');"

    assert kinds(run(science, code)) == ["axes.png", "done"]
    assert kinds(run(science, code + "\nfig.suptitle('Figure')\nNone"))[0] == "figure.png"


def test_matplotlib_imported_late_is_watched_from_its_first_figure(
    start_bare: Callable[[], KernelProcess],
) -> None:
    kernel = start_bare()
    shown = kernel.run(
        "import matplotlib\nmatplotlib.use('Agg')\nimport matplotlib.pyplot as plt\n"
        "plt.plot([1])\nplt.savefig('a.png')\nplt.show()\nprint('after')"
    )

    assert kinds(shown) == ["a.png", "stdout", "done"]
    assert shown[0][1]["saved_path"] == str(kernel.folder / "a.png")


def test_a_watched_module_is_still_itself(start_bare: Callable[[], KernelProcess]) -> None:
    kernel = start_bare()
    shown = kernel.run(
        "import inspect, matplotlib.pyplot as plt\n"
        "plt.show.__name__, 'def plot(' in inspect.getsource(plt), plt.__spec__.name"
    )

    assert shown == [("result", "('show', True, 'matplotlib.pyplot')"), OK]


def test_a_figure_that_cannot_be_drawn_is_the_cells_error(science: KernelProcess) -> None:
    shown = run(
        science,
        """
        plt.figure(); plt.title('$\\\\frac{$')
        plt.figure(); plt.title('good');
        """,
    )

    assert kinds(shown) == ["good.png", "error", "done"]
    assert shown[1][1] == "ValueError"
    assert "sanderling/kernel" not in shown[1][3]
    assert run(science, "plt.get_fignums()") == [("result", "[]"), OK]


def test_a_figure_that_cannot_be_drawn_is_an_error_where_it_is_shown(
    science: KernelProcess,
) -> None:
    shown = run(
        science, "plt.title('$\\\\frac{$')\ntry: plt.show()\nexcept ValueError: print('caught')"
    )

    assert shown == [("stdout", "caught\n"), OK]


def test_drawing_can_be_interrupted(science: KernelProcess) -> None:
    code = SETUP + (
        "from matplotlib.artist import Artist\n"
        "class Endless(Artist):\n"
        "    def draw(self, renderer):\n"
        "        print('drawing', flush=True)\n"
        "        while True: pass\n"
        "fig, ax = plt.subplots(); ax.add_artist(Endless());"
    )
    shown = science.run_interrupted(code, after="drawing")

    assert shown[-1] == ("done", "interrupted")
    assert run(science, "plt.get_fignums()") == [("result", "[]"), OK]


def test_a_broken_pyplot_does_not_break_the_kernel(
    start_bare: Callable[[], KernelProcess],
) -> None:
    kernel = start_bare()
    kernel.run(SETUP + "plt.plot([1])\nplt.get_fignums = None")

    assert kernel.run("1")[0] == ("result", "1")


def test_seaborn_and_pandas_charts_are_figures(science: KernelProcess, tmp_path: Path) -> None:
    shown = run(science, "import pandas as pd\nax = pd.Series([1, 2]).plot(title='From pandas')")

    assert kinds(shown) == ["from_pandas.png", "done"]


def test_a_librarys_warning_names_the_line_of_the_cell(science: KernelProcess) -> None:
    drawn = "import matplotlib.pyplot as plt\nplt.title(chr(0x13000));\n"
    saved = science.run(f"{drawn}plt.savefig('glyph.png')\nplt.close()")
    shown = science.run(f"{drawn.replace('13000', '13001')}plt.show()")
    ended = science.run(drawn.replace("13000", "13002"))

    starts = [piece[1].partition(" UserWarning: Glyph")[0] for piece in (saved[0], shown[0])]
    numbers = (science.cells - 2, science.cells - 1)
    assert starts == [f"<cell {number}>:3:" for number in numbers]
    assert ended[0][1].startswith("<kernel>:1: UserWarning: Glyph")
