"""Notebook commands at work."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from sanderling.kernel.notation import CALLS
from tests.doubles.kernel_process import KernelProcess

OK = ("done", "ok")


@pytest.mark.parametrize(
    "code",
    [
        "%matplotlib inline",
        "%config InlineBackend.figure_format = 'retina'",
        "%load_ext autoreload\n%autoreload 2",
    ],
)
def test_settings_of_a_notebooks_screen_are_accepted(kernel: KernelProcess, code: str) -> None:
    assert kernel.run(f"{code}\n5") == [("result", "5"), OK]


def test_commands_of_the_shell_show_their_output_where_it_happens(kernel: KernelProcess) -> None:
    shown = kernel.run("print('a')\n!echo b; echo c >&2\nprint('d')\n!exit 3\n_exit_code")

    assert shown == [("stdout", "a\nb\nc\nd\n"), ("result", "3"), OK]


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("!echo {name} $name", "x y x y\n"),
        ("!echo {len(name) + 1} {name!r}", "4 x y\n"),
        ("!echo '$name' $$name", "$name\n"),
        ("!echo {other} a b | awk '{print $2}'", "a\n"),
        ("!echo {{name}}", "{name}\n"),
    ],
)
def test_values_of_variables_go_into_a_command(
    kernel: KernelProcess, command: str, text: str
) -> None:
    kernel.run("name = 'x y'")

    assert kernel.text(command) == text


def test_a_commands_lines_can_be_assigned(kernel: KernelProcess) -> None:
    assert kernel.run("lines = !printf 'a\\nb\\n'\nlines") == [("result", "['a', 'b']"), OK]


def test_time_shows_the_time_and_the_value(kernel: KernelProcess) -> None:
    shown = kernel.run("x = 20\n%time x + 1")

    assert re.fullmatch(
        r"CPU times: user .+, sys: .+, total: .+\nWall time: .+ [mμn]?s\n", shown[0][1]
    )
    assert shown[1:] == [("result", "21"), OK]


def test_a_timed_statement_keeps_its_variables(kernel: KernelProcess) -> None:
    kernel.run("%time y = 5")

    assert kernel.run("y") == [("result", "5"), OK]


def test_a_timed_cell_is_a_cell(kernel: KernelProcess) -> None:
    shown = kernel.run("%%time\nimport asyncio\nz = await asyncio.sleep(0, 7)\nprint('in')\nz")

    assert shown[0][1].startswith("in\nCPU times")
    assert shown[1:] == [("result", "7"), OK]
    assert kernel.run("%%time\nz;")[1:] == [OK]
    assert kernel.run("z") == [("result", "7"), OK]


@pytest.mark.parametrize(
    ("code", "line"), [("%%time\nx = 1\n1/0", 3), ("x = 1\n%time 1/0", 2), ("\n%%time\n\n1/0", 4)]
)
def test_errors_in_timed_code_stand_on_the_users_line(
    kernel: KernelProcess, code: str, line: int
) -> None:
    error = kernel.run(code)[-2]

    assert error[1] == "ZeroDivisionError"
    assert f'File "<cell 1>", line {line}, in <module>' in error[3]
    assert "sanderling/kernel" not in error[3].replace(CALLS, "")


def test_timeit_measures(kernel: KernelProcess) -> None:
    kernel.run("x = 5")

    for code in ("%timeit -n 10 -r 2 x + 1", "%%timeit -n 10 -r 2\ny = x\ny + 1"):
        text = kernel.text(code)
        assert re.fullmatch(
            r".+ ± .+ per loop \(mean ± std. dev. of 2 runs, 10 loops each\)\n", text
        )


@pytest.mark.parametrize(
    "code",
    [
        "!pip install requests",
        "%pip install -q requests",
        "pip install requests",
        "!python -m pip install requests",
        "!pip3 install 'requests>=2'",
        "%conda install requests",
    ],
)
def test_installing_is_answered_with_one_sentence(kernel: KernelProcess, code: str) -> None:
    text = kernel.text(code)

    assert "there is no network" in text
    assert "%pip list" in text
    assert text.count("\n") == 1


def test_installed_packages_can_be_listed(kernel: KernelProcess) -> None:
    text = kernel.text("!pip list")

    assert "\npytest==" in text
    assert all(re.fullmatch(r"[\w.-]+==\S+", line) for line in text.splitlines())


@pytest.mark.parametrize("code", ["%unknown", "%%unknown\nalert(1)", "x = %unknown"])
def test_an_unknown_command_is_an_error_that_says_so(kernel: KernelProcess, code: str) -> None:
    error = kernel.run(code)[-2]

    assert error[1] == "UsageError"
    assert "There is no command `%" in error[2]


def test_files_can_be_written(kernel: KernelProcess) -> None:
    assert kernel.text("%%writefile mod.py\ndef f():\n    return 'é'\n") == "Writing mod.py\n"
    assert kernel.text("%%writefile -a mod.py\ng = 1\n") == "Appending to mod.py\n"
    assert kernel.run("import mod\nmod.f(), mod.g") == [("result", "('é', 1)"), OK]
    assert kernel.run("%%writefile\nx")[0][1] == "UsageError"


def test_what_a_cell_writes_can_be_captured(kernel: KernelProcess) -> None:
    assert kernel.run("%%capture said\nprint('quiet')\n5") == [OK]
    assert kernel.run("said.stdout, said.stderr") == [("result", "('quiet\\n', '')"), OK]


def test_the_users_names_can_be_listed(kernel: KernelProcess) -> None:
    kernel.run("x = 1\n_y = 2\ndef f(): pass")

    assert kernel.text("%who") == "f\t x\t \n"


def test_shell_cells_run(kernel: KernelProcess) -> None:
    assert kernel.text("%%bash\nfor i in 1 2; do\n  echo $i\ndone") == "1\n2\n"


def test_folders_can_be_changed_and_listed(kernel: KernelProcess) -> None:
    (kernel.folder / "sub").mkdir()
    (kernel.folder / "sub" / "file.txt").touch()

    kernel.run("%cd sub")
    assert kernel.text("%ls") == "file.txt\n"
    assert kernel.run("%pwd") == [("result", repr(str(kernel.folder / "sub"))), OK]


def test_valid_python_is_never_taken_for_a_command(kernel: KernelProcess) -> None:
    assert kernel.run("x = 17\ny = (x\n%5)\ny") == [("result", "2"), OK]


def test_a_syntax_error_beside_a_command_shows_the_users_line(kernel: KernelProcess) -> None:
    error = kernel.run("!ls\nfor i in\n")[-2]

    assert error[1] == "SyntaxError"
    assert "line 2\n    for i in" in error[3]
    assert CALLS not in error[3]


# ---- more of them, in one kernel ----------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KernelProcess]:
    with KernelProcess(python, tmp_path_factory.mktemp("data")) as made:
        yield made


def test_lines_of_a_command_have_shorthands(shared: KernelProcess) -> None:
    shared.run("lines = !printf 'a 1\\nb 2\\n'")

    shown = shared.run(
        "lines.n, lines.s, lines.grep('B'), lines.fields(1), lines.grep('1', field=1)"
    )
    assert shown[0][1] == "('a 1\\nb 2', 'a 1 b 2', ['b 2'], ['1', '2'], ['a 1'])"


def test_a_command_in_a_function_sees_its_variables(shared: KernelProcess) -> None:
    assert shared.text("def f(n):\n    !echo {n}\nf(5)") == "5\n"


def test_commands_may_be_written_without_their_sign(shared: KernelProcess) -> None:
    (shared.folder / "here.txt").write_text("text\n")

    assert shared.text("cat here.txt") == "text\n"
    assert shared.text("ls -1 here.txt") == "here.txt\n"
    assert shared.run("pwd") == [("result", repr(str(shared.folder))), OK]
    assert shared.run("pwd = 5\npwd") == [("result", "5"), OK]
    assert shared.run("pwd") == [("result", "5"), OK]


def test_scripts_take_options_and_their_failure_is_an_error(shared: KernelProcess) -> None:
    shared.run("%%bash --out said -s x y\necho $2 $1")

    assert shared.run("said") == [("result", "'y x\\n'"), OK]
    assert shared.run("%%sh\nexit 3")[0][1] == "CalledProcessError"
    assert shared.run("%%sh --no-raise-error\nexit 3") == [OK]
    assert shared.text("%%python\nprint(1 + 1)") == "2\n"


def test_captured_text_and_results_can_be_shown_later(shared: KernelProcess) -> None:
    captured = shared.run(
        "%%capture kept\nimport sys\nprint('out')\nprint('err', file=sys.stderr)\n5"
    )
    assert captured == [OK]

    assert shared.run("kept.show()") == [
        ("stdout", "out\n"),
        ("stderr", "err\n"),
        ("result", "5"),
        OK,
    ]
    assert shared.run("str(kept), kept.stderr") == [("result", "('out\\n', 'err\\n')"), OK]
    assert shared.run("%%capture --no-stdout\nprint('seen')\n5") == [("stdout", "seen\n"), OK]


def test_variables_of_the_environment_can_be_read_and_set(shared: KernelProcess) -> None:
    assert shared.text("value = 7\n%env MINE=$value") == "env: MINE=7\n"
    assert shared.run("%env MINE") == [("result", "'7'"), OK]
    assert shared.run("%env NOT_THERE")[0][1] == "UsageError"


def test_a_file_is_run_as_a_program_of_its_own(shared: KernelProcess) -> None:
    text = "import sys\nprint(__name__, sys.argv[1:])\ndef made(): return OFFSET\nOFFSET = 3\n"
    (shared.folder / "program.py").write_text(text)

    assert shared.text("%run program.py a 'b c'") == "__main__ ['a', 'b c']\n"
    assert shared.run("made()") == [("result", "3"), OK]
    assert shared.run("%run gone.py")[0][1] == "FileNotFoundError"
    (shared.folder / "broken.py").write_text("x = 1\n1/0\n")
    assert 'broken.py", line 2, in <module>' in shared.run("%run broken.py")[0][3]


def test_all_variables_can_be_forgotten(doomed: KernelProcess) -> None:
    doomed.run("x = 1\nx")
    doomed.run("%reset -f")

    assert doomed.run("x")[0][1] == "NameError"
    assert doomed.run("list(Out), len(In)") == [("result", "([], 5)"), OK]


def test_names_can_be_listed_with_what_they_are(doomed: KernelProcess) -> None:
    doomed.run("number = 1\nlist_ = [1, 2]\ntext = 'a' * 100")

    assert doomed.text("%whos") == (
        "Variable   Type    Data/Info\n"
        "----------------------------\n"
        "list_      list    n=2\n"
        "number     int     1\n"
        f"text       str     {'a' * 25}<...>{'a' * 25}\n"
    )
    assert doomed.text("%who int") == "number\t \n"
    assert doomed.run("%who_ls str") == [("result", "['text']"), OK]
    doomed.run("%reset_selective -f ^n")
    assert doomed.run("number")[0][1] == "NameError"


def test_changed_modules_are_loaded_again(doomed: KernelProcess) -> None:
    module = doomed.folder / "changing.py"
    module.write_text("def f(): return 1\n")
    doomed.run("%load_ext autoreload\n%autoreload 2\nfrom changing import f")
    assert doomed.run("f()") == [("result", "1"), OK]

    module.write_text("def f(): return 'two'\n")
    os.utime(module, (1, 1))

    assert doomed.run("f()") == [("result", "'two'"), OK]


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("f?", ["Signature: f(a, b=2)", "Docstring: What it does."]),
        ("?f", ["Signature: f(a, b=2)", "Docstring: What it does."]),
        ("f??", ["Source:", "def f(a, b=2):"]),
        ("C?", ["Init signature: C(size)", "Init docstring: Make it."]),
        ("c?", ["Type:", "C", "String form:"]),
        ("[1][0]\n%pdoc f", ["What it does."]),
        ("%psource f", ["def f(a, b=2):"]),
        ("nothing_here?", ["Object `nothing_here` not found."]),
        ("*umbe*?", ["a_number"]),
        ("%time?", ["`%time` is a command of notebooks."]),
    ],
)
def test_objects_are_explained(shared: KernelProcess, code: str, lines: list[str]) -> None:
    shared.run(
        'a_number = 1\ndef f(a, b=2):\n    """What it does."""\n    return a\n'
        'class C:\n    def __init__(self, size):\n        """Make it."""\nc = C(1)'
    )
    text = shared.text(code)

    assert all(line in text for line in lines), text


def test_objects_that_cannot_be_described_are_an_error_of_the_cell(shared: KernelProcess) -> None:
    shared.run("class Bad:\n    def __repr__(self): raise ValueError('no')\nbad = Bad()")

    assert shared.run("bad?")[0][1:3] == ("ValueError", "no")


def test_a_notebook_can_be_asked_for(shared: KernelProcess) -> None:
    shared.run("nb = get_ipython()")

    assert shared.text("nb.system('echo a')\nnb.run_line_magic('time', '1');").startswith("a\nCPU")
    assert shared.run("nb.getoutput('echo b'), nb.user_ns is globals()")[0][1] == "(['b'], True)"
    assert shared.text("nb.run_cell_magic('capture', 'it', 'print(3)')\nprint(it)") == "3\n\n"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("%pip install no-such-thing-at-all", "cannot be installed"),
        ("%pip show no-such-thing-at-all", "Package(s) not found: no-such-thing-at-all"),
        ("out = !pip install x\nprint(out.s)", "cannot be installed"),
    ],
)
def test_installers_are_answered_wherever_they_stand(
    shared: KernelProcess, command: str, said: str
) -> None:
    assert said in shared.text(command)


def test_measuring_returns_what_it_measured(shared: KernelProcess) -> None:
    shared.run("kept = %timeit -o -q -n 5 -r 2 1 + 1")

    assert shared.run("kept.loops, kept.repeat, kept.best <= kept.average <= kept.worst") == [
        ("result", "(5, 2, True)"),
        OK,
    ]
    assert shared.text("%timeit -n 1 -r 1 x = 1").endswith("of 1 run, 1 loop each)\n")


@pytest.mark.parametrize(
    ("code", "order", "calls"),
    [
        ("%prun sorted([2, 1])", "internal time", 4),
        ("x = 1\n%prun -s cumulative sorted([2, x])", "cumulative time", 4),
        ("%%prun -s ncalls -l 3\ny = sorted([2, 1])\ny", "call count", 6),
        ("p = %prun -q -r sorted([2, 1])\np.print_stats();", "internal time", 4),
        ("%prun -q -T told.txt sorted([2, 1])\n%cat told.txt", "internal time", 4),
    ],
)
def test_code_can_be_profiled_and_nothing_of_the_kernel_is_told(
    shared: KernelProcess, code: str, order: str, calls: int
) -> None:
    text = shared.text(code)

    assert f"Ordered by: {order}\n" in text
    assert f" {calls} function calls in " in text
    assert "builtins.sorted" in text or "-l 3" in code
    assert ".py" not in text
    assert ("to 3 due to restriction" in text) == ("-l 3" in code)


@pytest.mark.parametrize(
    "command", ["get_ipython().ev('1/0')", "get_ipython().run_cell_magic('time', '', '1/0')"]
)
def test_an_error_in_what_stands_nowhere_in_the_cell_shows_its_own_line(
    doomed: KernelProcess, command: str
) -> None:
    error = doomed.run(f"x = 'first line'\n{command}")[-2]

    assert error[1] == "ZeroDivisionError"
    assert "    1/0\n" in error[3]
    assert "first line" not in error[3]
    assert "sanderling/kernel" not in error[3]


@pytest.mark.parametrize("template", ["%q", "x", "-1", "%s %s"])
def test_a_precision_that_is_none_changes_nothing(shared: KernelProcess, template: str) -> None:
    assert shared.run(f"%precision {template}")[0][1] in ("ValueError", "TypeError")
    assert shared.run("1.23456") == [("result", "1.23456"), OK]


def test_a_module_is_run_as_a_program(shared: KernelProcess) -> None:
    package = shared.folder / "some_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "part.py").write_text("VALUE = 8\n")
    (package / "__main__.py").write_text(
        "import sys\nfrom .part import VALUE\nprint(__name__, sys.argv[1:], VALUE)\nmade = 1\n"
    )

    assert shared.text("%run -m some_package a b") == "__main__ ['a', 'b'] 8\n"
    assert shared.run("made") == [("result", "1"), OK]


def test_cells_can_be_shown_as_something_else(shared: KernelProcess) -> None:
    text = "<IPython.core.display.HTML object>"
    shown = shared.run("%%html\n<b>x</b>")
    assert shown == [("display", text, {"text/html": "<b>x</b>"}), OK]


def test_earlier_cells_can_be_listed(doomed: KernelProcess) -> None:
    doomed.run("a = 1")
    doomed.run("b = 2\nb")

    assert doomed.text("%history 1-2") == "a = 1\nb = 2\nb\n"
    assert doomed.text("%hist -n 1") == "   1: a = 1\n"
