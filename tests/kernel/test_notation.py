"""Notebook commands become calls, and nothing else changes."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanderling.kernel import notation

CALLS = notation.CALLS


@pytest.mark.parametrize(
    ("source", "rewritten"),
    [
        ("%matplotlib inline", f"{CALLS}.line('matplotlib', 'inline')"),
        ("  %time f(x)  ", f"  {CALLS}.line('time', 'f(x)')"),
        ("!ls -l 'a b'", f"{CALLS}.shell(\"ls -l 'a b'\")"),
        ("!!ls", f"{CALLS}.shell_lines('ls')"),
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
        ("f?", f"{CALLS}.explain('f', is_long=False)"),
        ("x = 1\n?a.b[0]", f"x = 1\n{CALLS}.explain('a.b[0]', is_long=False)"),
        ("a.b??", f"{CALLS}.explain('a.b', is_long=True)"),
        ("??a", f"{CALLS}.explain('a', is_long=True)"),
        ("*part*?", f"{CALLS}.explain('*part*', is_long=False)"),
        ("a, b = !ls", f"a, b = {CALLS}.shell_lines('ls')"),
        ("%%!\nls", f"{CALLS}.cell('!', '', 'ls')"),
        (">>> x = 1\n>>> x", "x = 1\nx"),
        (">>> for i in x:\n...     i", "for i in x:\n    i"),
        ("In [3]: x\n   ...: y", "x\ny"),
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
    assert notation.rewrite(source) == rewritten


@given(source=st.text(alphabet="ab%!'\"\\\n #()[]{}= \t", max_size=60))
def test_no_source_breaks_the_rewriting_and_lines_stay_where_they_are(source: str) -> None:
    rewritten = notation.rewrite(source)

    if not source.lstrip().startswith("%%"):
        assert rewritten.count("\n") == source.count("\n")


@given(source=st.text(max_size=40))
def test_a_command_that_is_rewritten_is_a_call_with_just_its_text(source: str) -> None:
    line = "!" + source.replace("\n", " ").replace("\r", " ").replace("\\", " ")

    [statement] = ast.parse(notation.rewrite(line)).body
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Call)
    [argument] = statement.value.args
    method = "shell_lines" if line.startswith("!!") else "shell"
    assert ast.unparse(statement.value.func) == f"{notation.CALLS}.{method}"
    assert ast.literal_eval(argument) == line.removeprefix("!").removeprefix("!").rstrip()


@pytest.mark.parametrize(
    ("source", "call"),
    [
        ("pwd", "line('pwd', '')"),
        (" ls -l /mnt/data\n", "line('ls', '-l /mnt/data')"),
        ("ls = 5", None),
        ("ls\nls", None),
        ("listing", None),
        ("", None),
    ],
)
def test_a_cell_of_one_line_may_leave_out_the_sign(source: str, call: str | None) -> None:
    assert notation.bare_command(source) == (None if call is None else f"{CALLS}.{call}")
