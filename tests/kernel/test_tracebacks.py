"""What is told of an exception."""

from __future__ import annotations

import re
import textwrap

import pytest

from sanderling.kernel import protocol
from sanderling.kernel.tracebacks import FRAMES_MAX, TRACEBACK_CHARS_MAX
from tests.doubles.kernel_process import KernelProcess, Shown


def error_of(kernel: KernelProcess, code: str) -> Shown:
    shown = kernel.run(textwrap.dedent(code))
    [error] = [piece for piece in shown if piece[0] == "error"]
    assert kernel.run("6 * 7") == [("result", "42"), ("done", "ok")]
    return error


def test_a_traceback_is_pythons_own_with_the_users_lines_only(kernel: KernelProcess) -> None:
    kernel.run("def half(n):\n    return n / 0")

    _, name, message, text = error_of(kernel, "x = 1\nhalf(x)")

    assert (name, message) == ("ZeroDivisionError", "division by zero")
    assert "           ~~^~~\n" in text
    # Which lines get such marks differs between versions of Python.
    assert [line for line in text.splitlines() if line.strip(" ~^")] == [
        "Traceback (most recent call last):",
        '  File "<cell 2>", line 2, in <module>',
        "    half(x)",
        '  File "<cell 1>", line 2, in half',
        "    return n / 0",
        "ZeroDivisionError: division by zero",
    ]


def test_lines_of_libraries_below_the_users_are_shown(kernel: KernelProcess) -> None:
    text = error_of(kernel, "import json\njson.loads('{')")[3]

    assert 'File "<cell 1>", line 2, in <module>' in text
    assert "json/decoder.py" in text
    assert "sanderling/kernel" not in text


def test_causes_and_contexts_are_kept(kernel: KernelProcess) -> None:
    text = error_of(
        kernel,
        """
        def parse(s):
            try: return int(s)
            except ValueError as e: raise KeyError(s) from e
        try: parse('x')
        except KeyError: raise RuntimeError('all lost')
        """,
    )[3]

    assert "ValueError: invalid literal" in text
    assert "The above exception was the direct cause" in text
    assert "During handling of the above exception" in text
    assert text.endswith("RuntimeError: all lost\n")


def test_notes_and_groups_are_kept(kernel: KernelProcess) -> None:
    text = error_of(
        kernel,
        """
        e = ValueError('inner'); e.add_note('look here')
        raise ExceptionGroup('several', [e, TypeError('other')])
        """,
    )[3]

    assert "look here" in text
    assert "TypeError: other" in text
    assert "ExceptionGroup: several (2 sub-exceptions)" in text


def test_a_deep_recursion_is_told_shortly(kernel: KernelProcess) -> None:
    _, name, _, text = error_of(kernel, "def f(n): return f(n + 1)\nf(0)")

    assert name == "RecursionError"
    assert "Previous line repeated" in text
    assert len(text) < 2000


def test_a_recursion_through_two_functions_is_cut(kernel: KernelProcess) -> None:
    _, name, _, text = error_of(kernel, "def a(n): return b(n)\ndef b(n): return a(n)\na(0)")

    assert name == "RecursionError"
    assert re.search(r"\[… 9\d\d calls left out …\]", text)
    assert text.count("in a\n") + text.count("in b\n") == FRAMES_MAX - 1
    assert "line 3, in <module>" in text


def test_a_traceback_of_long_lines_is_cut(kernel: KernelProcess) -> None:
    code = f"def f(): {'x' * TRACEBACK_CHARS_MAX}\ndef g(): f(); '{'y' * TRACEBACK_CHARS_MAX}'\ng()"
    text = error_of(kernel, code)[3]

    assert len(text) <= TRACEBACK_CHARS_MAX + 300
    assert "characters left out" in text


@pytest.mark.parametrize(
    "body",
    [
        "def __str__(self): raise ValueError('in str')",
        "def __str__(self): return 5",
        "def __str__(self): raise SystemExit",
        "def __repr__(self): raise KeyboardInterrupt\n    __str__ = __repr__",
        "__cause__ = property(lambda self: 1/0)",
        "__notes__ = property(lambda self: 1/0)",
        "__class__ = property(lambda self: 1/0)",
        "def __getattribute__(self, name): raise BaseException(name)",
    ],
)
def test_a_hostile_exception_is_an_error_all_the_same(kernel: KernelProcess, body: str) -> None:
    error = error_of(kernel, f"class Evil(Exception):\n    {body}\nraise Evil('x')")

    assert error[1] == "Evil"


def test_a_class_that_hides_its_name_is_an_error_all_the_same(kernel: KernelProcess) -> None:
    code = """
    class Meta(type):
        __name__ = property(lambda self: 1/0)
    class Evil(Exception, metaclass=Meta): pass
    raise Evil('x')
    """

    assert error_of(kernel, code)[1]


def test_long_and_unclean_messages_are_cut_and_cleaned(kernel: KernelProcess) -> None:
    _, _, message, text = error_of(kernel, "raise ValueError('\\ud800' + chr(0) + 'x' * 100_000)")

    assert message.startswith("\\ud800\x00xxx")
    assert len(message) == protocol.ERROR_MESSAGE_CHARS_MAX
    assert len(text) <= TRACEBACK_CHARS_MAX + 100


def test_a_long_name_is_cut(kernel: KernelProcess) -> None:
    error = error_of(kernel, "raise type('E' * 1000, (Exception,), {})('x')")

    assert len(error[1]) == protocol.NAME_CHARS_MAX


def test_an_error_in_a_results_repr_is_the_cells_error(kernel: KernelProcess) -> None:
    kernel.run("class Bad:\n    def __repr__(self): raise ValueError('no text')")
    error = error_of(kernel, "Bad()")

    assert error[1:3] == ("ValueError", "no text")
    assert 'File "<cell 1>", line 2, in __repr__' in error[3]
    assert "sanderling/kernel" not in error[3]


def test_memory_of_a_failed_cell_is_given_back(kernel: KernelProcess) -> None:
    code = """
    class Big:
        def __del__(self): print('given back')
    def f():
        big = Big()
        raise ValueError
    f()
    """

    shown = kernel.run(textwrap.dedent(code))
    assert ("stdout", "given back\n") in shown or kernel.text("") == "given back\n"
