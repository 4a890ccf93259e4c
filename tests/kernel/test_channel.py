"""Everything a cell shows arrives, once, in the order in which it happened."""

from __future__ import annotations

import pytest

from tests.doubles.kernel_process import KernelProcess, Shown

ORDER = """
import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None)
print("python 1")
os.write(1, b"descriptor 1\\n")
print("python 2")
subprocess.run(["echo", "echo 1"])
libc.puts(b"libc 1")
print("half a line, ", end="")
print("err 1", file=sys.stderr)
os.write(2, b"err 2\\n")
print("and the rest")
display("shown")
os.system("echo echo 2; echo err 3 >&2; echo echo 3")
sys.stderr.write("err 4")
"result"
"""


def test_text_of_all_origins_and_results_keep_their_order(kernel: KernelProcess) -> None:
    shown = kernel.run(ORDER)

    out = "python 1\ndescriptor 1\npython 2\necho 1\nlibc 1\nhalf a line, "
    assert shown[:5] == [
        ("stdout", out),
        ("stderr", "err 1\nerr 2\n"),
        ("stdout", "and the rest\n"),
        ("result", "'shown'"),
        # One program, two pipes: nobody can say which was first.
        *sorted(shown[4:6], reverse=True)[:1],
    ]
    assert "".join(p[1] for p in shown[4:] if p[0] == "stdout") == "echo 2\necho 3\n"
    assert "".join(p[1] for p in shown[4:] if p[0] == "stderr") == "err 3\nerr 4"
    assert shown[-2:] == [("result", "'result'"), ("done", "ok")]


def test_an_error_comes_after_what_the_cell_printed(kernel: KernelProcess) -> None:
    shown = kernel.run("import os\nprint('a', end='')\nos.write(2, b'b')\nraise ValueError('c')")

    # Of text and bytes without a line's end nobody can say which was first.
    assert sorted(shown[:2]) == [("stderr", "b"), ("stdout", "a")]
    assert shown[2][:3] == ("error", "ValueError", "c")
    assert shown[3:] == [("done", "error")]


def test_a_thousand_alternations_of_origin_stay_in_order(kernel: KernelProcess) -> None:
    code = "import os\nfor i in range(1000):\n    print(i)\n    os.write(1, b'%d\\n' % i)"

    assert kernel.text(code) == "".join(f"{i}\n{i}\n" for i in range(1000))


def test_a_line_leaves_the_process_before_the_cell_ends(kernel: KernelProcess) -> None:
    # The cell waits for a file that is made only when its line has arrived.
    def make_file(piece: Shown) -> None:
        if "first" in str(piece):
            (kernel.folder / "go").touch()

    code = "import os\nprint('first')\nwhile not os.path.exists('go'): pass\nprint('second')"
    shown = kernel.run(code, during=make_file)

    assert shown == [("stdout", "first\nsecond\n"), ("done", "ok")]


def test_ten_megabytes_of_text_arrive_whole(kernel: KernelProcess) -> None:
    text = kernel.text("print('é€😀' * 1_000_000)")

    assert text == "é€😀" * 1_000_000 + "\n"


def test_ten_megabytes_through_the_descriptor_arrive_whole(kernel: KernelProcess) -> None:
    text = kernel.text("import os, sys\nos.system('yes | head -c 10000000')\nprint('end')")

    assert text == "y\n" * 5_000_000 + "end\n"


def test_a_hundred_thousand_lines_arrive_whole(kernel: KernelProcess) -> None:
    text = kernel.text("for i in range(100_000): print(i)")

    assert text == "".join(f"{i}\n" for i in range(100_000))


def test_a_long_line_is_cut_between_characters(kernel: KernelProcess) -> None:
    pieces: list[Shown] = []
    kernel.run("print('x' + '€' * 100_000)", during=pieces.append)

    assert "�" not in "".join(p[1] for p in pieces)
    assert "".join(p[1] for p in pieces) == "x" + "€" * 100_000 + "\n"


def test_text_of_a_thread_of_an_earlier_cell_is_marked_as_that_cells(kernel: KernelProcess) -> None:
    code = (
        "import sys, threading\n"
        "go, said = threading.Event(), threading.Event()\n"
        "def talk():\n"
        "    while True:\n"
        "        go.wait(); go.clear()\n"
        "        print('one', 'two\\nthree'); print('half', end=''); print(' a line')\n"
        "        said.set()\n"
        "threading.Thread(target=talk, daemon=True).start()\n"
    )
    assert (
        kernel.text(code + "go.set(); said.wait(); said.clear()") == "one two\nthree\nhalf a line\n"
    )

    later = kernel.text("go.set(); said.wait(); said.clear(); print('mine')")
    assert later == "[cell 1] one two\n[cell 1] three\n[cell 1] half a line\nmine\n"

    own = "t = threading.Thread(target=print, args=('its own',)); t.start(); t.join()"
    assert kernel.text(own) == "its own\n"


def test_threads_that_never_stop_printing_disturb_no_cell(kernel: KernelProcess) -> None:
    code = (
        "import threading, time, itertools\n"
        "def talk(name):\n"
        "    for i in itertools.count(): print(f'{name}:{i}'); time.sleep(0.0001)\n"
        "for n in 'abcd': threading.Thread(target=talk, args=(n,), daemon=True).start()"
    )
    kernel.run(code)

    for number in range(30):
        shown = kernel.run(f"print('this is {number}', flush=True); {number}")
        lines = "".join(p[1] for p in shown if p[0] == "stdout")
        assert f"this is {number}" in lines
        assert ("result", str(number)) in shown
        assert shown[-1] == ("done", "ok")


def test_threads_that_print_at_once_lose_nothing(kernel: KernelProcess) -> None:
    code = (
        "import threading, sys\n"
        "def talk(n):\n"
        "    for i in range(500): sys.stdout.write(f'{n} {i}\\n')\n"
        "ts = [threading.Thread(target=talk, args=(n,)) for n in range(8)]\n"
        "[t.start() for t in ts]; [t.join() for t in ts];"
    )

    lines = sorted(kernel.text(code).splitlines())
    assert lines == sorted(f"{n} {i}" for n in range(8) for i in range(500))


def test_a_finalizer_that_prints_while_text_is_sent_loses_nothing(kernel: KernelProcess) -> None:
    code = (
        "import gc\n"
        "class Loud:\n"
        "    def __init__(self): self.me = self\n"
        "    def __del__(self): print('gone')\n"
        "gc.set_threshold(5)\n"
        "for i in range(2000):\n"
        "    Loud(); print('line', i)\n"
        "gc.set_threshold(700); gc.collect();"
    )

    lines = kernel.text(code).splitlines()
    assert [line for line in lines if line.startswith("line")] == [f"line {i}" for i in range(2000)]
    assert lines.count("gone") == 2000


def test_a_forked_child_writes_to_the_descriptors(kernel: KernelProcess) -> None:
    code = (
        "import os, sys\n"
        "print('before, ', end='')\n"
        "p = os.fork()\n"
        "if p == 0:\n"
        "    print('child'); print('child err', file=sys.stderr); sys.stdout.flush(); os._exit(0)\n"
        "os.waitpid(p, 0)\n"
        "print('parent')"
    )
    shown = kernel.run(code)

    assert "".join(p[1] for p in shown if p[0] == "stdout") == "before, child\nparent\n"
    assert "".join(p[1] for p in shown if p[0] == "stderr") == "child err\n"
    assert shown[-1] == ("done", "ok")


def test_a_child_that_runs_to_the_end_of_the_cell_ends_there(kernel: KernelProcess) -> None:
    code = "import os\np = os.fork()\nif p: os.waitpid(p, 0)\nprint('me', p == 0)\ndisplay('seen')"
    shown = kernel.run(code)

    # The child's results have nowhere to go; its text has.
    assert shown == [("stdout", "me True\nme False\n"), ("result", "'seen'"), ("done", "ok")]
    assert kernel.text("print('alone')") == "alone\n"


def test_a_child_whose_part_of_the_cell_fails_says_so_on_stderr(kernel: KernelProcess) -> None:
    code = (
        "import os\n"
        "p = os.fork()\n"
        "if p == 0: raise ValueError('in the child')\n"
        "os.waitstatus_to_exitcode(os.waitpid(p, 0)[1])"
    )
    shown = kernel.run(code)

    assert shown[0][0] == "stderr"
    assert "ValueError: in the child" in shown[0][1]
    assert shown[1:] == [("result", "1"), ("done", "ok")]


def test_processes_of_multiprocessing_work_and_are_heard(kernel: KernelProcess) -> None:
    code = (
        "import multiprocessing\n"
        "def double(x):\n"
        "    print('doubling', x, flush=True); return 2 * x\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "    print(pool.map(double, [1, 2]))"
    )
    text = kernel.text(code)

    assert sorted(text.splitlines()) == ["[2, 4]", "doubling 1", "doubling 2"]
    assert text.endswith("[2, 4]\n")


def test_a_program_that_never_stops_writing_does_not_hold_the_cell(kernel: KernelProcess) -> None:
    kernel.run("import subprocess\np = subprocess.Popen('yes')")

    shown = kernel.run("print('mine'); p.kill(); p.wait(); p.returncode")
    assert ("result", "-9") in shown
    assert shown[-1] == ("done", "ok")


@pytest.mark.parametrize("fd", [1, 2, 4, 5])
def test_a_closed_descriptor_does_not_stop_the_kernel(kernel: KernelProcess, fd: int) -> None:
    kernel.run(f"import os; os.close({fd})")

    assert kernel.run("print('still here'); 1") == [
        ("stdout", "still here\n"),
        ("result", "1"),
        ("done", "ok"),
    ]


def test_a_cell_without_the_hosts_socket_ends_its_kernel(doomed: KernelProcess) -> None:
    doomed.start("import os; os.close(3); print('nobody hears this')")

    assert doomed.wait_ended() == 0
