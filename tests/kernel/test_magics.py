"""Notebook commands: what they become, and what they do."""

from __future__ import annotations

import ast
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanderling.kernel import magics
from tests.doubles.kernel_process import KernelProcess

OK = ("done", "ok")
CALLS = magics.CALLS


@pytest.mark.parametrize(
    ("source", "rewritten"),
    [
        ("%matplotlib inline", f"{CALLS}.line('matplotlib', 'inline')"),
        ("  %time f(x)  ", f"  {CALLS}.line('time', 'f(x)')"),
        ("!ls -l 'a b'", f"{CALLS}.shell(\"ls -l 'a b'\")"),
        ("!!ls", f"{CALLS}.shell('ls')"),
        ("files = !ls", f"files = {CALLS}.shell_lines('ls')"),
        ("t = %pwd", f"t = {CALLS}.line('pwd', '')"),
        ("pip install x", f"{CALLS}.shell('pip install x')"),
        ("%%time\nx = 1\n", f"{CALLS}.cell('time', '', 'x = 1\\n')"),
        ("\n%%writefile a.py\nx", f"{CALLS}.cell('writefile', 'a.py', 'x')"),
        ("!a \\\n b\nx", f"{CALLS}.shell('a  b')\n\nx"),
        (
            "if x:\n    !ls\nelse:\n    %pwd",
            f"if x:\n    {CALLS}.shell('ls')\nelse:\n    {CALLS}.line('pwd', '')",
        ),
        # Not commands: inside strings, brackets and continued lines.
        ("x = '''\n%time\n!ls\n'''", "x = '''\n%time\n!ls\n'''"),
        ('f("""a\n!b""")\n%pwd', f'f("""a\n!b""")\n{CALLS}.line(\'pwd\', \'\')'),
        ("x = (7\n%time)", "x = (7\n%time)"),
        ("x = 7 \\\n%time", "x = 7 \\\n%time"),
        ("s = 'it''s ( '\n!ls", f"s = 'it''s ( '\n{CALLS}.shell('ls')"),
        ("# it's (\n!ls", f"# it's (\n{CALLS}.shell('ls')"),
        ("s = 'a\\'('\n!ls", f"s = 'a\\'('\n{CALLS}.shell('ls')"),
        ("x = 5 % 3", "x = 5 % 3"),
        ("a != b", "a != b"),
    ],
)
def test_commands_become_calls_and_nothing_else_changes(source: str, rewritten: str) -> None:
    assert magics.rewrite(source) == rewritten


@given(source=st.text(alphabet="ab%!'\"\\\n #()[]{}= \t", max_size=60))
def test_no_source_breaks_the_rewriting_and_lines_stay_where_they_are(source: str) -> None:
    rewritten = magics.rewrite(source)

    if not source.lstrip().startswith("%%"):
        assert rewritten.count("\n") == source.count("\n")


@given(source=st.text(max_size=40))
def test_a_command_that_is_rewritten_is_python(source: str) -> None:
    line = source.replace("\n", " ").replace("\r", " ").replace("\\", " ")

    ast.parse(magics.rewrite("!" + line))


# ---- at work ------------------------------------------------------------------------------------


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

    assert "".join(p[1] for p in shown if p[0] == "stdout") == "a\nb\nd\n"
    assert ("stderr", "c\n") in shown
    assert shown[-2:] == [("result", "3"), OK]


def test_values_of_variables_go_into_a_command(kernel: KernelProcess) -> None:
    assert kernel.text("name = 'x y'\n!echo {name} $name {other} $HOME_ $1 | awk '{print $2}'") == (
        "y\n"
    )


def test_a_commands_lines_can_be_assigned(kernel: KernelProcess) -> None:
    assert kernel.run("lines = !printf 'a\\nb\\n'\nlines") == [("result", "['a', 'b']"), OK]


def test_time_shows_the_time_and_the_value(kernel: KernelProcess) -> None:
    shown = kernel.run("x = 20\n%time x + 1")

    assert re.fullmatch(r"CPU times: total: .+\nWall time: .+ [mµn]?s\n", shown[0][1])
    assert shown[1:] == [("result", "21"), OK]


def test_a_timed_statement_keeps_its_variables(kernel: KernelProcess) -> None:
    kernel.run("%time y = 5")

    assert kernel.run("y") == [("result", "5"), OK]


def test_a_timed_cell_is_a_cell(kernel: KernelProcess) -> None:
    shown = kernel.run("%%time\nimport asyncio\nz = await asyncio.sleep(0, 7)\nprint('in')\nz")

    assert shown[0] == ("stdout", "in\n")
    assert shown[1] == ("result", "7")
    assert "Wall time" in shown[2][1]
    assert shown[3:] == [OK]
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

    assert all("==" in line for line in text.splitlines())


@pytest.mark.parametrize("code", ["%lsmagic", "%%javascript\nalert(1)", "x = %unknown"])
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

    assert kernel.text("%who") == "x  f\n"


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
