"""Functions that code registers for its classes go before the classes' own ways."""

from __future__ import annotations

import pytest

from sanderling.kernel.formatters import DisplayFormatter
from tests.doubles.kernel_process import KernelProcess

OK = ("done", "ok")
PNG = "b'\\x89PNG\\r\\n\\x1a\\n'"
DEFINED = """
forms = get_ipython().display_formatter.formatters
class Formula:
    def __repr__(self): return 'x squared'
    def _repr_latex_(self): return '$x^2$'
    def _repr_png_(self): raise RuntimeError('was drawn')
class Plain: pass
class Derived(Plain): pass
"""


def test_a_function_shows_a_class_and_what_derives_from_it_until_it_is_forgotten(
    kernel: KernelProcess,
) -> None:
    kernel.run(DEFINED + f"forms['image/png'].for_type(Plain, lambda value: {PNG})")
    kernel.run("forms['text/html'].for_type('__main__.Derived', lambda value: '<i>d</i>')")
    [image, done] = kernel.run("Derived()")

    assert (image[0], image[1]["parts"], done) == ("image", {"text/html": "<i>d</i>"}, OK)
    kernel.run("forms['image/png'].pop(Plain), forms['text/html'].pop('__main__.Derived')")
    assert kernel.run("Derived()")[0][0] == "result"


def test_a_formula_is_read_and_not_drawn(kernel: KernelProcess) -> None:
    assert kernel.run(DEFINED + "Formula()") == [
        ("display", "x squared", {"text/latex": "$x^2$"}),
        OK,
    ]


def test_text_of_what_has_a_fast_way_is_printed_by_the_function_and_then_again_as_before(
    kernel: KernelProcess,
) -> None:
    kernel.run("text = get_ipython().display_formatter.formatters['text/plain']")
    for kind in ("int", "list", "dict", "str"):
        kernel.run(f"text.for_type({kind}, lambda value, p, cycle: p.text('<{kind}>'));")
    assert [kernel.run(code)[0][1] for code in ("5", "[1]", "{'a': 1}", "(1, 'a')")] == [
        "<int>",
        "<list>",
        "<dict>",
        "(<int>, <str>)",
    ]

    kernel.run("for kind in (int, list, dict, str): text.pop(kind)")
    assert kernel.run("5, [1], {'a': 1}")[0][1] == "(5, [1], {'a': 1})"


def test_what_is_registered_can_be_looked_up() -> None:
    html = DisplayFormatter().formatters["text/html"]

    assert html.for_type(int, str) is None
    assert html.for_type(int) is str
    assert html.lookup(True) is str
    with pytest.raises(KeyError):
        html.lookup_by_type(str)
    assert html.pop(int) is str
    assert html.pop(int, None) is None
