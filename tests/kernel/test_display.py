"""What values look like when they are shown."""

from __future__ import annotations

import struct
import textwrap

import pytest

from tests.doubles.kernel_process import KernelProcess, Shown

OK = ("done", "ok")
PNG = b"\x89PNG\r\n\x1a\n"


def size_of(png: bytes) -> tuple[int, int]:
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def run(kernel: KernelProcess, code: str) -> list[Shown]:
    return kernel.run(textwrap.dedent(code))


def test_display_shows_each_value_at_its_moment(kernel: KernelProcess) -> None:
    assert kernel.run("print('a')\ndisplay(1, 'b', include=None)\nprint('c')\ndisplay()") == [
        ("stdout", "a\n"),
        ("result", "1"),
        ("result", "'b'"),
        ("stdout", "c\n"),
        OK,
    ]


def test_tables_are_shown_as_their_text(science: KernelProcess) -> None:
    shown = run(
        science,
        """
        import pandas as pd
        df = pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})
        display(df['a'])
        df
        """,
    )

    assert shown[0] == ("result", "0    1\n1    2\nName: a, dtype: int64")
    assert shown[1][:2] == ("display", "   a  b\n0  1  x\n1  2  y")
    assert "<td>x</td>" in shown[1][2]["text/html"]
    assert shown[2:] == [OK]


def test_wide_tables_are_shown_in_blocks_as_in_notebooks(science: KernelProcess) -> None:
    shown = run(
        science, "import pandas as pd\npd.DataFrame({f'column_{n}': [n] for n in range(12)})"
    )

    assert "\\\n" in shown[0][1]
    assert "..." not in shown[0][1]


@pytest.mark.parametrize(
    ("methods", "mime", "data"),
    [
        ("def _repr_png_(self): return b'png'", "image/png", b"png"),
        ("def _repr_png_(self): return 'cG5n'", "image/png", b"png"),
        ("def _repr_png_(self): return b'png', {'width': 1}", "image/png", b"png"),
        ("def _repr_jpeg_(self): return b'jpeg'", "image/jpeg", b"jpeg"),
        ("def _repr_svg_(self): return '<svg/>'", "image/svg+xml", b"<svg/>"),
        ("def _repr_mimebundle_(self, **k): return {'image/png': b'b'}", "image/png", b"b"),
        ("def _repr_mimebundle_(self, **k): return {'image/png': b'b'}, {}", "image/png", b"b"),
        (
            "def _repr_mimebundle_(s, **k): return {}\n    def _repr_jpeg_(s): return b'jpeg'",
            "image/jpeg",
            b"jpeg",
        ),
    ],
)
def test_values_with_a_picture_are_shown_as_it(
    kernel: KernelProcess, methods: str, mime: str, data: bytes
) -> None:
    [image, done] = kernel.run(f"class V:\n    {methods}\nV()")

    suffix = {"image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg"}[mime]
    assert image[0] == "image"
    assert (image[1]["mime"], image[2]) == (mime, data)
    assert (image[1]["name"], image[1]["saved_path"]) == (f"image_1.{suffix}", None)
    assert done == OK


@pytest.mark.parametrize(
    "methods",
    [
        "def _repr_png_(self): return None",
        "def _repr_png_(self): return ''",
        "def _repr_png_(self): return 'not base64!'",
        "def _repr_png_(self): return 5",
        "_repr_png_ = None",
        "def _repr_mimebundle_(self, **k): return None",
        "def _repr_html_(self): return None",
        "def _repr_html_(self): return 5",
        "def _repr_html_(self): raise NotImplementedError",
        "def __getattr__(self, name): return lambda *a, **k: b'anything'",
    ],
)
def test_values_without_a_picture_after_all_are_shown_as_text(
    kernel: KernelProcess, methods: str
) -> None:
    code = f"class V:\n    {methods}\n    def __repr__(self): return 'text'\nV()"

    assert kernel.run(code) == [("result", "text"), OK]


def test_a_class_of_pictures_is_not_a_picture(kernel: KernelProcess) -> None:
    shown = kernel.run("class V:\n    def _repr_png_(self): return b'png'\nV")

    assert shown == [("result", "__main__.V"), OK]


@pytest.mark.parametrize(
    ("methods", "parts"),
    [
        ("def _repr_html_(self): return '<b>'", {"text/html": "<b>"}),
        ("def _repr_html_(self): return '<b>', {}", {"text/html": "<b>"}),
        ("def _repr_markdown_(self): return '#'", {"text/markdown": "#"}),
        ("def _repr_latex_(self): return '$x$'", {"text/latex": "$x$"}),
        ("def _repr_json_(self): return {'a': [1]}", {"application/json": '{"a": [1]}'}),
        (
            "def _repr_mimebundle_(self, include, exclude): return {'text/html': '<b>'}",
            {"text/html": "<b>"},
        ),
        (
            """def _repr_mimebundle_(s, **k): return {'application/vnd.x+json': {'b': 1}}, {}
    def _repr_html_(s): return '<b>'""",
            {"application/vnd.x+json": '{"b": 1}', "text/html": "<b>"},
        ),
        (
            "def __init__(self): self._repr_html_ = lambda: 'of the object'",
            {"text/html": "of the object"},
        ),
    ],
)
def test_what_people_may_be_shown_travels_with_the_text(
    kernel: KernelProcess, methods: str, parts: dict[str, str]
) -> None:
    code = f"class V:\n    {methods}\n    def __repr__(self): return 'text'\nV()"

    assert kernel.run(code) == [("display", "text", parts), OK]


def test_a_value_may_bring_its_own_text(kernel: KernelProcess) -> None:
    code = "class V:\n    def _repr_mimebundle_(self, **k): return {'text/plain': 'own'}\nV()"

    assert kernel.run(code) == [("result", "own"), OK]


def test_a_value_may_show_itself(kernel: KernelProcess) -> None:
    code = "class V:\n    def _ipython_display_(self): print('me')\ndisplay(V())\nV()"

    assert kernel.run(code) == [("stdout", "me\nme\n"), OK]


def test_a_way_to_be_seen_that_fails_is_told_and_the_text_shown(kernel: KernelProcess) -> None:
    code = "class V:\n    def _repr_html_(self): 1/0\n    def __repr__(self): return 'text'\nV()"
    [told, result, done] = kernel.run(code)

    assert told[0] == "stderr"
    assert told[1].endswith("ZeroDivisionError: division by zero\n")
    assert "sanderling" not in told[1]
    assert (result, done) == (("result", "text"), OK)


def test_display_may_be_told_which_ways_to_use(kernel: KernelProcess) -> None:
    kernel.run(
        "class V:\n    def _repr_html_(self): return '<b>'\n"
        "    def _repr_latex_(self): return '$x$'\n    def __repr__(self): return 'text'"
    )

    assert kernel.run("display(V(), exclude=['text/html'])") == [
        ("display", "text", {"text/latex": "$x$"}),
        OK,
    ]
    assert kernel.run("display(V(), include=['text/html'])") == [
        ("display", "", {"text/html": "<b>"}),
        OK,
    ]


def test_what_is_too_large_for_people_is_said(kernel: KernelProcess) -> None:
    code = (
        "class V:\n    def _repr_html_(self): return 'x' * (5 << 20)\n"
        "    def __repr__(self): return 'text'\nV()"
    )

    [result, done] = kernel.run(code)

    assert result[1].startswith("text\n[too large to be shown: 5.2 MB")
    assert done == OK


def test_what_is_shown_keeps_its_place_between_both_streams(kernel: KernelProcess) -> None:
    shown = run(
        kernel,
        """
        import os, subprocess, sys
        class V:
            def _repr_html_(self): return '<b>'
            def __repr__(self): return 'v'
        print('out 1'); display(V()); print('err 1', file=sys.stderr)
        os.write(1, b'fd 1\\n'); display(2)
        subprocess.run(['echo', 'program']); display(V()); print('out 2')
        1/0
        """,
    )

    assert [s[:2] for s in shown] == [
        ("stdout", "out 1\n"),
        ("display", "v"),
        ("stderr", "err 1\n"),
        ("stdout", "fd 1\n"),
        ("result", "2"),
        ("stdout", "program\n"),
        ("display", "v"),
        ("stdout", "out 2\n"),
        ("error", "ZeroDivisionError"),
        ("done", "error"),
    ]


def test_a_mock_is_shown_as_text(kernel: KernelProcess) -> None:
    shown = kernel.run("import unittest.mock\nunittest.mock.MagicMock()")

    assert shown[0][1].startswith("<MagicMock id=")


def test_a_picture_of_pil_is_shown_as_a_result_and_by_its_show(science: KernelProcess) -> None:
    shown = run(
        science,
        """
        from PIL import Image
        picture = Image.new('RGB', (30, 20), 'red')
        picture.show()
        print('between')
        picture
        """,
    )

    assert [p[0] for p in shown] == ["image", "stdout", "image", "done"]
    for image in (shown[0], shown[2]):
        assert image[1]["mime"] == "image/png"
        assert size_of(image[2]) == (30, 20)


def test_a_picture_too_large_to_send_is_said_to_be(kernel: KernelProcess) -> None:
    code = "class V:\n    def _repr_png_(self): return bytes(17 << 20)\nV()"

    assert kernel.run(code) == [
        ("result", "[image_1.png is too large to be shown: 17.8 MB]"),
        OK,
    ]


def test_a_large_picture_arrives_whole(kernel: KernelProcess) -> None:
    code = "class V:\n    def _repr_png_(self): return bytes(range(256)) * 40_000\nV()"

    assert kernel.run(code)[0][2] == bytes(range(256)) * 40_000
