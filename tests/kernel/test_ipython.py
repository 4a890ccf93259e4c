"""What code imports from IPython works here, whether IPython is installed or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.kernel_process import KernelProcess

OK = ("done", "ok")
IMPORT = (
    "from IPython.display import (display, Image, HTML, Markdown, Math, Latex, JSON, SVG, Pretty, "
    "Audio, Video, clear_output, update_display, DisplayHandle, FileLink, IFrame)\n"
)
PNG = "b'\\x89PNG\\r\\n\\x1a\\n'"


@pytest.fixture(params=["bare", "guest"])
def either(
    request: pytest.FixtureRequest, python: str, guest_python: Path, tmp_path: Path
) -> Iterator[KernelProcess]:
    """A kernel without IPython, and one of the guest environment, which may have it."""
    with KernelProcess(python if request.param == "bare" else guest_python, tmp_path) as made:
        yield made


def test_objects_of_ipython_are_shown_in_their_ways(either: KernelProcess) -> None:
    def name(kind: str) -> str:
        return f"<IPython.core.display.{kind} object>"

    shown = either.run(
        IMPORT + "display(HTML('<b>x</b>'), Markdown('# x'), Latex('$x$'), JSON({'a': [1]}))\n"
        f"display(SVG('<svg/>'), Image({PNG}), Pretty('text'))\nMath('x')"
    )

    assert shown[:4] == [
        ("display", name("HTML"), {"text/html": "<b>x</b>"}),
        ("display", name("Markdown"), {"text/markdown": "# x"}),
        ("display", name("Latex"), {"text/latex": "$x$"}),
        ("display", name("JSON"), {"application/json": '{"a": [1]}'}),
    ]
    assert [s[1]["mime"] for s in shown[4:6]] == ["image/svg+xml", "image/png"]
    assert shown[6:] == [
        ("result", "text"),
        ("display", name("Math"), {"text/latex": "$\\displaystyle x$"}),
        OK,
    ]


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        ("Image('gone.png')", "FileNotFoundError", "No such file or directory: 'gone.png'"),
        ("display(Image('gone'))", "FileNotFoundError", "No such file or directory: 'gone'"),
        ("Audio('gone.wav')", "ValueError", "rate must be specified when data is a numpy array"),
        ("Audio(filename='gone.wav')", "FileNotFoundError", "[Errno 2] No such file or directory"),
    ],
)
def test_a_file_that_is_not_there_is_one_error(
    either: KernelProcess, code: str, name: str, message: str
) -> None:
    *shown, error, _ = either.run(IMPORT + code)

    assert error[1] == name
    assert error[2].startswith(message)
    assert [s[0] for s in shown] in ([], ["result"])


def test_a_script_is_shown_by_its_name(either: KernelProcess) -> None:
    shown = either.run("from IPython.display import Javascript\ndisplay(Javascript('x()'))")

    text = "<IPython.core.display.Javascript object>"
    assert shown == [("display", text, {"application/javascript": "x()"}), OK]


def test_files_and_frames_are_shown_as_html(either: KernelProcess) -> None:
    (either.folder / "a.wav").write_bytes(b"RIFF")
    code = "display(Audio('a.wav'), IFrame('a.html', 5, 6), FileLink('a.wav'))"
    shown = either.run(IMPORT + code)

    assert "data:audio/" in shown[0][2]["text/html"]
    assert 'src="a.html' in shown[1][2]["text/html"]
    assert shown[2][1].endswith("a.wav")


def test_a_display_is_updated_in_its_place(either: KernelProcess) -> None:
    shown = either.run(
        IMPORT + "handle = display('first', display_id='one')\nhandle.update(2)\n"
        "update_display(3, display_id='one')\nupdate_display(4, display_id='never shown')"
    )

    assert shown == [
        ("display", "'first'", {}, "one", False),
        ("display", "2", {}, "one", True),
        ("display", "3", {}, "one", True),
        OK,
    ]


def test_a_handle_names_itself(either: KernelProcess) -> None:
    shown = either.run(
        IMPORT + "h = display(1, display_id=True)\nh.update(2)\nh2 = DisplayHandle()\nh2.display(3)"
    )

    assert shown[0][3] == shown[1][3] != shown[2][3]
    assert [s[4] for s in shown[:3]] == [False, True, False]


def test_output_is_cleared_at_once_or_before_the_next(either: KernelProcess) -> None:
    code = IMPORT + "print('a'); clear_output(); print('b'); clear_output(wait=True); print('c')"

    assert either.run(code) == [
        ("stdout", "a\n"),
        ("clear",),
        ("stdout", "b\n"),
        ("clear",),
        ("stdout", "c\n"),
        OK,
    ]
    assert either.run(IMPORT + "print('a'); clear_output(wait=True)") == [("stdout", "a\n"), OK]
    assert either.run("print('b')") == [("stdout", "b\n"), OK]
    assert either.run("print('a'); clear_output(wait=True); 5")[-3:] == [
        ("clear",),
        ("result", "5"),
        OK,
    ]


def test_a_bundle_is_shown_as_it_is(either: KernelProcess) -> None:
    shown = either.run(
        "from IPython.display import display\n"
        "display({'text/plain': 'raw', 'text/html': '<i>'}, raw=True)"
    )

    assert shown == [("display", "raw", {"text/html": "<i>"}), OK]


def test_the_package_is_there_without_being_loaded(either: KernelProcess) -> None:
    shown = either.run(
        "import IPython, sys\nIPython.display.HTML('x'), bool(IPython.__version__)\n"
        "'IPython.core.interactiveshell' in sys.modules"
    )

    assert shown == [("result", "False"), OK]
    assert either.run("try: IPython.nothing\nexcept AttributeError: print('no')")[-1] == OK
