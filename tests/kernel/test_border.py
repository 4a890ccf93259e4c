"""What a cell can do to the process around it, on purpose or not, and what it cannot."""

from __future__ import annotations

import re
import signal

import pytest

from tests.doubles.kernel_process import KernelProcess, Shown

OK = ("done", "ok")


def survives(kernel: KernelProcess) -> None:
    """The kernel is whole: it prints, computes, shows errors, and still has its variables."""
    assert kernel.run("import os\nprint('out'); os.write(1, b'raw\\n'); len([1, 2])") == [
        ("stdout", "out\nraw\n"),
        ("result", "2"),
        OK,
    ]
    assert kernel.run("1/0")[0][1] == "ZeroDivisionError"
    assert kernel.run("kept") == [("result", "'kept'"), OK]


def interrupted(shown: list[Shown], line: int) -> None:
    [error] = [p for p in shown if p[0] == "error"]
    assert error[1] == "KeyboardInterrupt"
    # The first signal may come before the line that said "on" is left.
    lines = [int(n) for n in re.findall(r'File "<cell 2>", line (\d+)', error[3])]
    assert lines
    assert max(lines) <= line
    assert "sanderling/kernel" not in error[3]
    assert shown[-1] == ("done", "interrupted")


# ---- interrupts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("print('on', flush=True)\nwhile True: pass", 2),
        ("import time\nprint('on')\ntime.sleep(100)", 3),
        (
            "import asyncio as a\nasync def f():\n    print('on')\n    await a.sleep(9)\nawait f()",
            5,
        ),
        ("async def f():\n    print('on')\n    while True: pass\nawait f()", 4),
        ("import subprocess\nprint('on')\nsubprocess.run(['sleep', '100'])", 3),
        ("import threading\nprint('on')\nthreading.Event().wait()", 3),
        ("import os\nprint('on')\nwhile True: os.write(1, b'y' * 1000)", 3),
        ("i = 0\nwhile True: print('on', i)", 2),
        ("print('on')\nwhile True: display(1)", 2),
        ("class A:\n    def __repr__(self):\n        while True: pass\nprint('on')\nA()", 5),
    ],
)
def test_an_interrupt_ends_a_cell_where_it_stands(
    kernel: KernelProcess, code: str, line: int
) -> None:
    kernel.run("kept = 'kept'")
    shown = kernel.run_interrupted(code, after="on")

    interrupted(shown, line)
    survives(kernel)


def test_a_command_is_interrupted_with_its_program(kernel: KernelProcess) -> None:
    kernel.run("kept = 'kept'")
    shown = kernel.run_interrupted("print('on')\n!sleep 100", after="on")

    interrupted(shown, 2)
    survives(kernel)


def test_a_storm_of_interrupts_breaks_no_message(kernel: KernelProcess) -> None:
    kernel.run("kept = 'kept'")
    for _ in range(20):
        shown = kernel.run_interrupted(
            "for i in range(10_000): print(f'{i:06d}')", after="000100", every_s=0.0005
        )

        assert shown[-1] in {OK, ("done", "interrupted")}
        lines = shown[0][1].splitlines()
        # Whole lines, none twice. The last may lack its end: print writes it separately.
        assert [int(line) for line in lines] == list(range(len(lines)))
    survives(kernel)


def test_interrupts_between_cells_are_ignored(kernel: KernelProcess) -> None:
    kernel.run("kept = 'kept'")
    for _ in range(50):
        kernel.interrupt()
        assert kernel.run("1")[-1] in {OK, ("done", "interrupted")}
        kernel.interrupt()
    survives_after_leftovers(kernel)


def survives_after_leftovers(kernel: KernelProcess) -> None:
    """A signal sent last may still hit the next cell; the one after it is safe."""
    kernel.run("pass")
    kernel.run("pass")
    survives(kernel)


def test_an_interrupt_in_idle_time_changes_nothing(kernel: KernelProcess) -> None:
    kernel.run("kept = 'kept'")
    before = kernel.run("import time; time.time()")
    kernel.interrupt()

    assert before[-1] == OK
    survives_after_leftovers(kernel)


def test_a_cell_that_catches_the_interrupt_goes_on(kernel: KernelProcess) -> None:
    kernel.start(
        "import time\n"
        "try:\n    print('on')\n    time.sleep(100)\n"
        "except KeyboardInterrupt: print('caught')\nprint('on my way')"
    )
    sent: list[Shown] = []

    def once(piece: Shown) -> None:
        if not sent and "on" in piece[1]:
            sent.append(piece)
            kernel.interrupt()

    assert kernel.finish(during=once) == [("stdout", "on\ncaught\non my way\n"), OK]


def test_cleanup_of_an_interrupted_coroutine_runs(kernel: KernelProcess) -> None:
    shown = kernel.run_interrupted(
        "import asyncio\n"
        "try:\n    print('on')\n    await asyncio.sleep(100)\n"
        "finally: print('cleaned')",
        after="on",
        every_s=5,
    )

    assert shown[0] == ("stdout", "on\ncleaned\n")
    assert shown[-1] == ("done", "interrupted")


def test_a_handler_of_the_users_own_lasts_for_its_cell(kernel: KernelProcess) -> None:
    kernel.run("kept = 'kept'")
    kernel.run("import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN);")
    shown = kernel.run_interrupted("print('on')\nwhile True: pass", after="on")

    assert shown[-1] == ("done", "interrupted")
    survives(kernel)


# ---- what a cell leaves behind ------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "import builtins\nbuiltins.print = None",
        "import builtins\nfor n in ('len', 'str', 'map', 'type'): setattr(builtins, n, None)",
        "import builtins\ndel builtins.len, builtins.repr, builtins.KeyboardInterrupt",
        "import builtins\nvars(builtins).clear()",
        "import json\njson.dumps = json.loads = None\njson.JSONEncoder.encode = None",
        "import os\nw = os.write\nos.read = os._exit = os.getpid = None",
        "import sys\nsys.stdout = sys.stderr = None",
        "import sys\ndel sys.stdout, sys.stderr, sys.stdin",
        "import sys\nsys.stdout.close(); sys.stderr.close()",
        "import sys\nsys.stdout.detach()",
        "import sys, io\nsys.stdout = io.TextIOWrapper(sys.stdout.detach(), 'utf-8')",
        "import sys\nsys.stdout.buffer.close()",
        "import sys\nsys.__stdout__ = sys.__stderr__ = None",
        "import sys\nsys.modules.clear()",
        "import sys\nsys.modules = {}",
        "import sys\nfor n in list(sys.modules):\n    if 'sanderling' in n: del sys.modules[n]",
        "import sys\nsys.settrace(lambda *a: 1/0)\n",
        "import sys\nsys.setprofile(lambda *a: 1/0)\n",
        "import threading\nthreading.settrace(lambda *a: 1/0)",
        "import sys\nsys.setrecursionlimit(40)",
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_DFL);",
        "import signal\nsignal.signal = signal.getsignal = None",
        "import linecache, traceback, ast\nlinecache.cache = None\nast.parse = None",
        "import warnings\nwarnings.simplefilter('error')\nwarnings.showwarning = None",
        "import gc\ngc.disable()",
        "import asyncio\nasyncio.set_event_loop(None)\nasyncio.new_event_loop = None",
        "import socket\nsocket.setdefaulttimeout(0.001)\nsocket.socket.send = None",
        "import threading\nthreading.Lock = threading.RLock = None",
        "import sys\nsys.excepthook = sys.displayhook = sys.unraisablehook = None",
        "import sys\nsys.path.clear(); sys.meta_path.clear(); sys.path_hooks.clear()",
        "class D:\n    def __del__(self): raise SystemExit\nd = D()\ndel d",
        "import atexit\natexit.register(lambda: 1/0)",
        "import os\nos.chdir('/'); os.environ.clear()",
        "import os, sys\nfor fd in (0, 1, 2): os.close(fd)",
        "In.clear(); Out.clear()",
        "In = Out = _ = display = None",
        "import resource\nresource.setrlimit(resource.RLIMIT_STACK, (1 << 20, 1 << 20))",
        "raise SystemExit",
        "class E(SystemExit):\n    code = property(lambda s: 1/0)\nraise E",
        "class E(BaseException): pass\nraise E",
        "raise GeneratorExit",
        "import asyncio\nraise asyncio.CancelledError",
    ],
)
def test_the_kernel_survives_its_cell(kernel: KernelProcess, code: str) -> None:
    kernel.run("kept = 'kept'")
    kernel.run(code)

    # What they broke is their own: `import`, os.read, the descriptors of other programs.
    if any(part in code for part in ("modules.clear()", "os.read =", "fd in (0, 1, 2)")):
        assert kernel.run("print('out'); kept") == [("stdout", "out\n"), ("result", "'kept'"), OK]
        return
    survives(kernel)


def test_a_kernel_whose_names_are_all_cleared_still_answers(kernel: KernelProcess) -> None:
    kernel.run("globals().clear()")

    assert kernel.run("print('out')\n1 + 1") == [("stdout", "out\n"), ("result", "2"), OK]
    assert kernel.run("__name__") == [("result", "'__main__'"), OK]


@pytest.mark.parametrize(
    "code",
    [
        "class R:\n    def __repr__(self): return 5\nR()",
        "class R:\n    def __repr__(self): raise SystemExit(1)\nR()",
        "class R:\n    def __repr__(self): return self.__repr__()\nR()",
        "class R:\n    def __getattr__(self, name): raise BaseException(name)\nR()",
        "class R:\n    @property\n    def __class__(self): raise ValueError\nR()",
        "class R:\n    def _repr_png_(self): raise OSError\nR()",
    ],
)
def test_a_result_that_cannot_be_shown_breaks_nothing(kernel: KernelProcess, code: str) -> None:
    kernel.run("kept = 'kept'")
    shown = kernel.run(code)

    assert shown[-1][0] == "done"
    survives(kernel)


def test_a_kernel_that_is_ended_from_inside_is_gone(doomed: KernelProcess) -> None:
    doomed.start("import os; os._exit(7)")

    assert doomed.wait_ended() == 7


def test_a_signal_handler_of_another_signal_works(kernel: KernelProcess) -> None:
    code = (
        "import os, signal\n"
        "signal.signal(signal.SIGUSR1, lambda *a: print('usr1'))\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\nprint('after')"
    )
    assert kernel.text(code) == "usr1\nafter\n"

    kernel.process.send_signal(signal.SIGUSR1)
    assert kernel.run("1")[-1] == OK


# ---- memory -------------------------------------------------------------------------------------


def test_memory_runs_out_with_an_error_and_the_kernel_survives(kernel: KernelProcess) -> None:
    kernel.configure(memory_bytes=64 << 20)
    kernel.run("kept = 'kept'")
    shown = kernel.run("hoard = []\nwhile True: hoard.append(bytearray(1 << 20))")

    assert shown[0][1] == "MemoryError"
    assert shown[-1] == ("done", "error")
    assert kernel.run("del hoard") == [OK]
    survives(kernel)


@pytest.mark.parametrize("room", range(0, 2 << 20, 256 << 10))
def test_memory_of_small_things_runs_out_with_an_error(kernel: KernelProcess, room: int) -> None:
    # Whether one more object fits when it is over depends on what was there before.
    kernel.configure(memory_bytes=(32 << 20) + room)
    kernel.run("kept = 'kept'")
    shown = kernel.run("chain = None\nwhile True: chain = (chain, 1.5, 2.5)")

    assert shown[-2][1] == "MemoryError"
    kernel.run("chain = None")
    survives(kernel)
