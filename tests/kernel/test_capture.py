"""The streams are real ones, and a cell cannot lose them."""

from __future__ import annotations

import pytest

from tests.doubles.kernel_process import KernelProcess

OK = ("done", "ok")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_the_streams_are_what_programs_expect(kernel: KernelProcess, stream: str) -> None:
    fd = 1 if stream == "stdout" else 2
    code = (
        "import sys\n"
        f"s = sys.{stream}\n"
        "(s.encoding, s.isatty(), s.fileno(), s.writable(), s.readable(), s.seekable(), s.closed,"
        " s.line_buffering, s.mode, s.name, s is sys.__%s__)" % stream
    )

    assert kernel.run(code)[0] == (
        "result",
        f"('utf-8', False, {fd}, True, False, False, False, True, 'w', '<{stream}>', True)",
    )


def test_bytes_can_be_written_and_keep_their_place(kernel: KernelProcess) -> None:
    code = (
        "import sys\n"
        "print('a', end='')\n"
        "sys.stdout.flush()\n"
        "n = sys.stdout.buffer.write(memoryview(b'\\xc3\\xa9'))\n"
        "sys.stdout.buffer.write(bytearray(b'b'))\n"
        "sys.stdout.writelines(['c\\n', 'd\\n'])\n"
        "sys.stdout.buffer.write(b'\\xff\\n')\n"
        "print(n)"
    )

    assert kernel.text(code) == "aébc\nd\n�\n2\n"


def test_text_is_not_bytes(kernel: KernelProcess) -> None:
    assert kernel.run("import sys\nsys.stdout.buffer.write('text')")[0][1] == "TypeError"


def test_lone_surrogates_and_nul_bytes_can_be_printed(kernel: KernelProcess) -> None:
    assert kernel.run("print('\\ud800 \\x00 é')\n'\\ud800'") == [
        ("stdout", "\\ud800 \x00 é\n"),
        ("result", "'\\ud800'"),
        OK,
    ]


def test_a_repr_with_lone_surrogates_is_shown(kernel: KernelProcess) -> None:
    code = "class R:\n    def __repr__(self): return '\\ud800\\x00'\nR()"

    assert kernel.run(code) == [("result", "\\ud800\x00"), OK]


def test_what_a_cell_left_unfinished_is_sent_at_its_end(kernel: KernelProcess) -> None:
    code = (
        "import ctypes, sys\n"
        "print('python', end=' ')\n"
        "sys.stdout.buffer.write(b'bytes ')\n"
        "ctypes.CDLL(None).printf(b'and C');"
    )

    assert sorted(kernel.text(code).split()) == ["C", "and", "bytes", "python"]


def test_a_redirection_that_was_not_undone_ends_with_its_cell(kernel: KernelProcess) -> None:
    kernel.run("import io, sys\nbuffer = sys.stdout = io.StringIO()\nprint('caught')")

    assert kernel.run("print('seen'); buffer.getvalue()") == [
        ("stdout", "seen\n"),
        ("result", "'caught\\n'"),
        OK,
    ]


def test_a_replacement_over_our_stream_is_flushed_at_the_end(kernel: KernelProcess) -> None:
    code = "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.{}, 'utf-8')\nprint('é')"

    assert kernel.text(code.format("buffer")) == "é\n"
    assert kernel.text(code.format("detach()")) == "é\n"
    assert (
        kernel.text(
            "import codecs, sys\n"
            "sys.stdout = codecs.getwriter('utf-8')(sys.stdout.detach())\n"
            "print('é')"
        )
        == "é\n"
    )
    assert kernel.text("print('after')") == "after\n"


def test_a_replacement_that_fails_to_flush_is_the_cells_error(kernel: KernelProcess) -> None:
    code = "import sys\nclass Bad:\n    write = print\n    def flush(self): raise OSError('full')\n"
    shown = kernel.run(code + "sys.stdout = Bad()")

    assert shown[0][1:3] == ("OSError", "full")
    assert kernel.text("print('after')") == "after\n"


def test_a_stream_of_another_encoding_works(kernel: KernelProcess) -> None:
    shown = kernel.run("import sys\nsys.stdout.reconfigure(errors='strict')\nprint('\\ud800')")

    assert shown[0][1] == "UnicodeEncodeError"
    kernel.run("sys.stdout.reconfigure(errors='replace', line_buffering=False)")
    assert kernel.text("print('a\\ud800')") == "a?\n"


def test_redirect_stdout_and_logging_work(kernel: KernelProcess) -> None:
    code = (
        "import contextlib, io, logging\n"
        "with contextlib.redirect_stdout(io.StringIO()) as f: print('inner')\n"
        "logging.warning('careful')\nf.getvalue()"
    )

    assert kernel.run(code) == [
        ("stderr", "WARNING:root:careful\n"),
        ("result", "'inner\\n'"),
        OK,
    ]


def test_writing_nothing_sends_nothing(kernel: KernelProcess) -> None:
    assert kernel.run("import sys\nsys.stdout.write('')\nprint(end='')\nsys.stdout.flush()") == [OK]
