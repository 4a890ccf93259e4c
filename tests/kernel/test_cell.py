"""Cells run as they would in a notebook: what they show, keep and raise."""

from __future__ import annotations

import textwrap

import pytest

from tests.doubles.kernel_process import KernelProcess, Shown

OK = ("done", "ok")


def error_of(shown: list[Shown]) -> Shown:
    [error] = [piece for piece in shown if piece[0] == "error"]
    return error


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("1 + 1", "2"),
        ("x = 1\nx", "1"),
        ("'text'", "'text'"),
        ("1\n2", "2"),
        ("1; 2", "2"),
        ("(1,\n 2\n)", "(1, 2)"),
        ("1 # ; no", "1"),
        ("'a;'", "'a;'"),
        ("'''a\n;'''", "'a\\n;'"),
        ("'€;' # ;", "'€;'"),
        ("\n\n3\n\n", "3"),
        ("len", "<function len(obj, /)>"),
        ("False", "False"),
        ("lambda: 0", None),
    ],
)
def test_the_value_of_a_last_expression_is_shown(
    kernel: KernelProcess, code: str, result: str | None
) -> None:
    shown = kernel.run(code)

    if result is None:
        assert shown[0][1].startswith("<function __main__.<lambda>()>")
    else:
        assert shown == [("result", result), OK]


@pytest.mark.parametrize(
    "code",
    [
        "",
        "   \n",
        "# only a comment",
        "x = 1",
        "None",
        "1;",
        "1 ;",
        "1; # why",
        "1;\n# why\n",
        "(1);",
        "'€';",
        "(1,\n 2);",
        "if True:\n    1",
        "def f():\n    return 1",
        "1\nx = 2",
        "[].append(1)",
    ],
)
def test_nothing_else_is_shown(kernel: KernelProcess, code: str) -> None:
    assert kernel.run(code) == [OK]


def test_variables_functions_and_modules_persist(kernel: KernelProcess) -> None:
    kernel.run("import math\nx = 2\ndef f(y): return math.sqrt(x * y)")

    assert kernel.run("f(8)") == [("result", "4.0"), OK]


def test_a_hundred_cells_share_one_namespace(kernel: KernelProcess) -> None:
    kernel.run("total = 0")
    for number in range(100):
        assert kernel.run(f"total += {number}\ntotal")[-1] == OK

    assert kernel.run("total, len(In), len(Out)") == [("result", "(4950, 103, 100)"), OK]


def test_results_stay_reachable_by_underscores_and_out(kernel: KernelProcess) -> None:
    kernel.run("'first'")
    kernel.run("'second'")
    kernel.run("'third'")

    assert kernel.run("_, __, ___") == [("result", "('third', 'second', 'first')"), OK]
    assert kernel.run("_1, _2, Out[3]") == [("result", "('first', 'second', 'third')"), OK]
    assert kernel.run("In[1]") == [("result", "\"'first'\""), OK]


def test_sources_of_earlier_cells_stay_reachable(kernel: KernelProcess) -> None:
    kernel.run("'first'")
    kernel.run("'second'")

    assert kernel.run("_i, _ii, _i1, _ih[2]")[0][1] == (
        "(\"'second'\", \"'first'\", \"'first'\", \"'second'\")"
    )


def test_an_underscore_of_the_users_own_is_left_alone(kernel: KernelProcess) -> None:
    kernel.run("for _ in range(3): pass")
    kernel.run("'shown'")

    assert kernel.run("_") == [("result", "2"), OK]
    kernel.run("del _")
    kernel.run("5")
    assert kernel.run("_") == [("result", "5"), OK]


def test_out_does_not_keep_itself(kernel: KernelProcess) -> None:
    kernel.run("1")
    kernel.run("Out")

    assert kernel.run("list(Out)") == [("result", "[1]"), OK]


def test_old_results_are_let_go(kernel: KernelProcess) -> None:
    kernel.run("Out.update((-n, n) for n in range(1, 1001))")
    kernel.run("7")

    assert kernel.run("len(Out), -1 in Out") == [("result", "(1000, False)"), OK]


# ---- main ---------------------------------------------------------------------------------------


def test_the_namespace_is_a_real_main_module(kernel: KernelProcess) -> None:
    code = """
    import sys, __main__, pickle, dataclasses, typing
    answer = 42
    @dataclasses.dataclass
    class Point:
        x: int
        other: "Point | None" = None
    copy = pickle.loads(pickle.dumps(Point(1)))
    (__name__, __main__.answer, vars(__main__) is globals(), sys.modules["__main__"] is __main__,
     copy == Point(1), typing.get_type_hints(Point)["other"] == (Point | None))
    """
    shown = kernel.run(textwrap.dedent(code))

    assert shown == [("result", "('__main__', 42, True, True, True, True)"), OK]


def test_main_is_main_again_after_a_cell_replaced_it(kernel: KernelProcess) -> None:
    kernel.run("import sys\nsys.modules['__main__'] = None")

    assert kernel.run("import __main__; __main__.__name__") == [("result", "'__main__'"), OK]


def test_the_arguments_are_those_of_a_prompt(kernel: KernelProcess) -> None:
    assert kernel.run("import sys; sys.argv, len(sys.orig_argv)") == [("result", "([''], 1)"), OK]


def test_a_module_in_the_folder_can_be_imported_and_replaces_none_of_pythons(
    kernel: KernelProcess,
) -> None:
    (kernel.folder / "mine.py").write_text("value = 'mine'")
    (kernel.folder / "statistics.py").write_text("raise SystemError('not this one')")

    assert kernel.run("import mine, statistics; mine.value") == [("result", "'mine'"), OK]


def test_the_source_of_a_function_can_be_read_back(kernel: KernelProcess) -> None:
    kernel.run("x = 1\ndef f(a):\n    # why\n    return a\n")

    shown = kernel.run("import inspect; inspect.getsource(f)")
    assert shown == [("result", repr("def f(a):\n    # why\n    return a\n")), OK]


def test_strange_line_ends_do_not_shift_the_lines_of_a_traceback(kernel: KernelProcess) -> None:
    shown = kernel.run("a = '\x0c\u2028'\r\nb = 1\r1/0 # here")

    assert "line 3, in <module>\n    1/0 # here" in error_of(shown)[3]


# ---- await --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("await asyncio.sleep(0, 'slept')", "'slept'"),
        ("x = await asyncio.sleep(0, 'slept')\nx", "'slept'"),
        ("async for i in count(): x = i\nx", "2"),
        ("async with lock() as l: x = l\nx", "'locked'"),
        ("[i async for i in count()]", "[0, 1, 2]"),
        ("async def f(): return 5\nawait f()", "5"),
        ("asyncio.run(asyncio.sleep(0, 'run'))", "'run'"),
        ("print(await asyncio.sleep(0, 1)); 2", "2"),
    ],
)
def test_await_works_at_the_top_level(kernel: KernelProcess, code: str, result: str) -> None:
    kernel.run(
        "import asyncio, contextlib\n"
        "async def count():\n"
        "    for i in range(3): yield i\n"
        "@contextlib.asynccontextmanager\n"
        "async def lock(): yield 'locked'"
    )

    assert ("result", result) in kernel.run(code)


def test_one_event_loop_serves_all_cells(kernel: KernelProcess) -> None:
    kernel.run(
        "import asyncio\n"
        "first = asyncio.get_running_loop() if False else None\n"
        "async def loop(): return asyncio.get_running_loop()\n"
        "first = await loop()\n"
        "task = asyncio.create_task(asyncio.sleep(0.01, 'done'))"
    )

    assert kernel.run("(await loop()) is first, await task") == [("result", "(True, 'done')"), OK]


def test_tasks_can_be_made_without_await_and_loops_run_all_the_same(kernel: KernelProcess) -> None:
    kernel.run(
        "import asyncio\nasync def f(n):\n    print(n)\n    await asyncio.sleep(0)\n    return n"
    )

    assert kernel.run("task = asyncio.create_task(f(1))") == [("stdout", "1\n"), OK]
    assert kernel.run("await task") == [("result", "1"), OK]
    assert kernel.run("asyncio.run(f(2))")[-2:] == [("result", "2"), OK]
    assert (
        kernel.text("loop = asyncio.get_event_loop()\nx = loop.run_until_complete(f(3))") == "3\n"
    )
    assert kernel.run("asyncio.get_running_loop() is loop, x") == [("result", "(True, 3)"), OK]
    code = "with asyncio.Runner() as runner: y = runner.run(f(4))\ny"
    assert kernel.run(code)[-2:] == [("result", "4"), OK]
    code = "async def g(): return asyncio.run(f(5))\nawait g()"
    assert "running event loop" in error_of(kernel.run(code))[2]


def test_a_task_that_was_interrupted_leaves_the_loop_usable(kernel: KernelProcess) -> None:
    code = "import asyncio\nprint('go', flush=True)\nasyncio.run(asyncio.sleep(60))"
    assert kernel.run_interrupted(code, after="go")[-1] == ("done", "interrupted")

    assert kernel.run("await asyncio.sleep(0, 1)") == [("result", "1"), OK]
    assert kernel.run("asyncio.run(asyncio.sleep(0, 2))") == [("result", "2"), OK]


def test_a_closed_event_loop_is_replaced(kernel: KernelProcess) -> None:
    kernel.run(
        "import asyncio\nasync def loop(): return asyncio.get_running_loop()\nl = await loop()"
    )
    kernel.run("l.close()")

    assert kernel.run("await asyncio.sleep(0, 1)") == [("result", "1"), OK]


def test_an_error_in_a_coroutine_shows_only_the_users_lines(kernel: KernelProcess) -> None:
    shown = kernel.run("async def f():\n    raise ValueError('no')\nawait f()")

    _, name, message, text = error_of(shown)
    assert (name, message) == ("ValueError", "no")
    assert "asyncio" not in text
    assert text.count("File ") == 2
    assert [p[0] for p in shown] == ["error", "done"]


# ---- compiling ----------------------------------------------------------------------------------


def test_a_syntax_error_shows_the_line_and_runs_nothing(kernel: KernelProcess) -> None:
    shown = kernel.run("print('never')\nfor i in\n")

    _, name, message, text = error_of(shown)
    assert name == "SyntaxError"
    assert text.startswith('  File "<cell 1>", line 2\n    for i in\n')
    assert text.rstrip().endswith("SyntaxError: invalid syntax")
    assert "^" in text
    assert shown[-1] == ("done", "error")
    assert len(shown) == 2
    assert "invalid syntax" in message


@pytest.mark.parametrize("code", ["return 1", "print(1)\nyield 2", "x = 1\nbreak", "nonlocal x"])
def test_what_compiles_only_in_a_function_is_an_error_and_runs_nothing(
    kernel: KernelProcess, code: str
) -> None:
    shown = kernel.run(code)

    assert [p[0] for p in shown] == ["error", "done"]
    assert error_of(shown)[1] == "SyntaxError"


def test_a_cell_cut_out_of_a_deeper_place_runs(kernel: KernelProcess) -> None:
    assert kernel.run("    x = 1\n    y = '''a\n  b'''\n    x + 1, y") == [
        ("result", "(2, 'a\\n  b')"),
        OK,
    ]
    shown = kernel.run("\n    a = 1\n    1/0")
    assert "line 3, in <module>\n    1/0\n    ~^~" in error_of(shown)[3]


def test_a_cell_with_unequal_indentation_is_an_error(kernel: KernelProcess) -> None:
    assert error_of(kernel.run("    x = 1\ny = 2"))[1] == "IndentationError"


def test_future_statements_hold_for_the_cells_that_follow(kernel: KernelProcess) -> None:
    kernel.run("from __future__ import annotations")

    assert kernel.run("def f(a: Unknown): pass\nf.__annotations__") == [
        ("result", "{'a': 'Unknown'}"),
        OK,
    ]


def test_a_syntax_warning_is_shown_and_the_cell_runs(kernel: KernelProcess) -> None:
    shown = kernel.run("x = 1\nx is 1")

    assert shown[0][0] == "stderr"
    assert '<cell 1>:2: SyntaxWarning: "is" with' in shown[0][1]
    assert shown[-2:] == [("result", "True"), OK]


def test_a_warning_is_shown_again_by_the_next_cell(kernel: KernelProcess) -> None:
    code = "import warnings\nwarnings.warn('careful')"

    for _ in range(2):
        assert "UserWarning: careful" in kernel.run(code)[0][1]


@pytest.mark.parametrize("code", ["x = '\x00'", "x = '\ud800'", "x = (" + "(" * 500, "é = \x01"])
def test_source_that_cannot_be_compiled_is_an_error(kernel: KernelProcess, code: str) -> None:
    shown = kernel.run(code)

    assert shown[-1] == ("done", "error")
    assert kernel.run("1") == [("result", "1"), OK]


def test_a_very_long_cell_runs(kernel: KernelProcess) -> None:
    # More than one message holds.
    code = "\n".join(f"x{n} = {n}" for n in range(20_000)) + "\nx19999"

    assert kernel.run(code) == [("result", "19999"), OK]


# ---- leaving ------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["exit()", "quit()", "exit(0)", "import sys; sys.exit()"])
def test_leaving_in_peace_ends_the_cell_and_keeps_the_kernel(
    kernel: KernelProcess, code: str
) -> None:
    kernel.run("x = 5")

    assert kernel.run(f"print('a')\n{code}\nprint('b')") == [("stdout", "a\n"), OK]
    assert kernel.run("x") == [("result", "5"), OK]


@pytest.mark.parametrize(("code", "message"), [("exit(3)", "3"), ("exit('no data')", "no data")])
def test_leaving_with_a_reason_is_an_error(kernel: KernelProcess, code: str, message: str) -> None:
    shown = kernel.run(code)

    assert error_of(shown)[1:3] == ("SystemExit", message)
    assert shown[-1] == ("done", "error")


def test_asking_for_input_is_an_error_that_says_why(kernel: KernelProcess) -> None:
    _, name, message, _ = error_of(kernel.run("input('Your name? ')"))

    assert name == "EOFError"
    assert "nobody can type" in message


def test_stdin_is_empty(kernel: KernelProcess) -> None:
    assert kernel.run("import sys; sys.stdin.read(), sys.stdin.fileno()") == [
        ("result", "('', 0)"),
        OK,
    ]
