"""An error carries what helps the next try: short, bounded, and true."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sanderling.kernel import hints, packages
from tests.doubles.kernel_process import KernelProcess

TABLE = 'pd.DataFrame({"name": ["Ann", "Bob"], "Age": [30, 25], "city ": ["Oslo", "Rome"]})'


@pytest.fixture(scope="module")
def tables(guest_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KernelProcess]:
    folder = tmp_path_factory.mktemp("data")
    with KernelProcess(guest_python, folder) as made:
        made.run(f"import pandas as pd, numpy as np, subprocess\ndf = {TABLE}")
        made.run("rows = pd.MultiIndex.from_tuples([('a', 1), ('b', 2)])")
        made.run("levels = pd.DataFrame({'v': [1, 2]}, index=rows)")
        yield made


def hint_of(kernel: KernelProcess, code: str) -> str:
    """What is said after the exception itself."""
    [error] = [piece for piece in kernel.run(code) if piece[0] == "error"]
    last_line = error[2].rstrip("\n").splitlines()[-1]
    return error[3].rpartition(last_line)[2].strip()


# ---- tables -------------------------------------------------------------------------------------

COLUMNS = "The columns are: 'name', 'Age', 'city '."


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("df['age']", "The columns are: 'Age', 'name', 'city '."),
        ("df['city']", "The columns are: 'city ', 'name', 'Age'."),
        ("df['x']", COLUMNS),
        ("df[['name', 'x']]", COLUMNS),
        ("df.groupby('x').sum()", COLUMNS),
        ("df.sort_values('x')", COLUMNS),
        ("df.drop(columns=['x'])", COLUMNS),
        ("df.merge(df, on='x')", COLUMNS),
        ("df.query('x > 3')", COLUMNS),
        ("df.set_index('x')", COLUMNS),
        ("df.loc[99]", "The rows are 0 to 1 (2)."),
        ("df.set_index('name').loc['Ane']", "The rows are: 'Ann', 'Bob'."),
        ("df['name']['x']", "The labels are 0 to 1 (2)."),
        ("pd.Series([1], index=['a'])['b']", "The labels are: 'a'."),
        ("pd.DataFrame()['x']", "The columns are: none."),
        ("df.nme", COLUMNS),
        ("df.utterly_other", ""),
        ("levels.loc['c']", "The labels are: 'a', 'b'."),
        ("levels.loc[('a', 9), 'v']", "The labels are: ('a', 1), ('b', 2)."),
        (
            "levels.loc[('a', 9)]",
            "The columns are: 'v'. The rows are: ('a', 1), ('b', 2).",
        ),
        ("levels['x']", "The columns are: 'v'."),
        ("{'a': 1}['b']", ""),
        ("def f():\n    return {}['x']\ndf.apply(lambda row: f(), axis=1)", ""),
    ],
)
def test_a_key_that_is_not_there_is_answered_with_those_that_are(
    tables: KernelProcess, code: str, hint: str
) -> None:
    assert hint_of(tables, code) == hint


def test_many_columns_are_bounded_and_the_closest_come_first(tables: KernelProcess) -> None:
    tables.run("wide = pd.DataFrame([range(3000)], columns=[f'col{n}' for n in range(3000)])")
    hint = hint_of(tables, "wide['Col_1700']")

    assert hint.startswith("The columns are: 'col1700', ")
    assert hint.endswith(", … (3,000 in all).")
    assert len(hint) < 300


def test_long_and_strange_labels_are_cut(tables: KernelProcess) -> None:
    hint = hint_of(tables, "pd.DataFrame({'x' * 5000: [1], (1, 2): [2]})['y']")

    assert hint == f"The columns are: '{'x' * 59}…, (1, 2)."


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("df.append({})", "pd.concat"),
        ("df.applymap(str)", "df.map"),
        ("np.trapz([1])", "np.trapezoid"),
        ("from PIL import Image\nImage.ANTIALIAS", "Image.LANCZOS"),
        ("np.arrange(3)", "Similar names there: arange"),
        ("pd.read_csv('x', error_bad_lines=False)", 'on_bad_lines="skip"'),
        ("df.corr()", "numeric_only=True"),
        ("df.groupby('name').mean()", "numeric_only=True"),
        ("df['name'].astype(float)", "pd.to_numeric"),
        ("df['name'].astype(int)", "pd.to_numeric"),
        ("df['name'].map(float)", "pd.to_numeric"),
        ("df['name'].mean()", "pd.to_numeric"),
        ("np.asarray(df, dtype=float)", "encode text"),
        ("from math import sqroot", "Similar names there: sqrt"),
        ("from collections import Mapping", "collections.abc.Mapping"),
        ("from numpy import trapz", "np.trapezoid"),
    ],
)
def test_what_is_not_there_or_of_another_kind_is_answered_with_what_is(
    tables: KernelProcess, code: str, words: str
) -> None:
    assert words in hint_of(tables, code)


@pytest.mark.parametrize(
    "code",
    [
        "def f(a): pass\nf(ci=1, squared=False)",
        "def f(a): pass\nf(normalize=True)",
        "df['name'].map(lambda text: float(text))",
        "float('x')",
        "from math import utterly_other",
        "from PIL import Image\nfrom PIL import nothing_like_it_at_all",
    ],
)
def test_an_error_of_the_users_own_that_only_looks_alike_has_no_hint(
    tables: KernelProcess, code: str
) -> None:
    assert hint_of(tables, code) == ""


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (
            "subprocess.run(['no-such-program', 'x'])",
            "The program 'no-such-program' is not installed, and none can be. Use what Python has.",
        ),
        ("subprocess.run('ls -l')", "Without shell=True a command is a list: ['ls', '-l']."),
        (
            "subprocess.run(['./run.sh'])",
            "'./run.sh' cannot be executed: start its interpreter (bash, python3) with it.",
        ),
        (
            "import os\nos.chmod('run.sh', 0o700)\nsubprocess.run(['./run.sh'])",
            "'./run.sh' is there, but the interpreter that its first line names is not.",
        ),
        ("subprocess.run(['ls'], cwd='nowhere')", "In {}: 'run.sh'."),
    ],
)
def test_a_program_that_cannot_be_started_is_no_missing_file(
    tables: KernelProcess, code: str, hint: str
) -> None:
    script = tables.folder / "run.sh"
    script.unlink(missing_ok=True)
    script.write_text("#!/no/such\n")

    assert hint_of(tables, code) == hint.format(tables.folder)


# ---- files --------------------------------------------------------------------------------------


def test_a_missing_file_is_answered_with_the_files_there_are(kernel: KernelProcess) -> None:
    for name in ("sales 2024.csv", "notes.txt", ".hidden"):
        (kernel.folder / name).touch()
    (kernel.folder / "in").mkdir()
    (kernel.folder / "in" / "Deep.csv").touch()
    there = kernel.folder
    kernel.run("x = 1")

    listed = f"In {there}: 'sales 2024.csv', 'in/', 'notes.txt'."
    assert hint_of(kernel, "open('sales_2024.csv')") == listed
    assert hint_of(kernel, "open('deep.csv')") == f"There is '{there}/in/Deep.csv'."
    hint = hint_of(kernel, "open('nowhere/x.txt')")
    assert hint.startswith(f"There is no folder '{there}/nowhere'. In {there}: ")
    assert hint_of(kernel, "import os\nos.chdir('gone')").startswith(f"In {there}: ")


def test_many_files_are_bounded(kernel: KernelProcess) -> None:
    for number in range(300):
        (kernel.folder / f"{number:03}.txt").touch()
    kernel.run("x = 1")
    hint = hint_of(kernel, "open('299.csv')")

    assert hint.startswith(f"In {kernel.folder}: '299.txt', ")
    assert hint.endswith("(300 in all).")
    assert len(hint) < 400


def test_so_many_files_that_they_are_not_all_looked_at_are_said_to_be_more(
    tables: KernelProcess, tmp_path: Path
) -> None:
    for number in range(2100):
        (tmp_path / f"{number}.txt").touch()
    counted = """
import os, difflib
class Counted(difflib.SequenceMatcher):
    made = 0
    def set_seq1(self, text):
        Counted.made += 1
        super().set_seq1(text)
difflib.SequenceMatcher = Counted
"""
    tables.run(counted)
    hint = hint_of(tables, f"open('{tmp_path}/x.csv')")

    assert hint.startswith(f"In {tmp_path}: ")
    assert hint.endswith("(more than 2,000 in all).")
    assert 0 < int(tables.run("Counted.made")[0][1]) <= 2001


def test_only_so_much_of_names_is_compared_however_many_and_long_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compared: list[str] = []
    find = difflib.get_close_matches

    def note(word: str, texts: Iterable[str], **options: Any) -> list[str]:
        compared.extend([word, *texts])
        return find(word, texts, **options)

    monkeypatch.setattr(difflib, "get_close_matches", note)
    for number in range(1100):
        (tmp_path / f"{'ACGT' * 15}{number:04}{'T' * 100}").touch()
    error = FileNotFoundError(errno.ENOENT, "", str(tmp_path / ("ACGT" * 40)))
    told = hints.hint(error, data_folder=str(tmp_path), is_first_cell=False)

    assert told is not None
    assert "(1,100 in all)" in told
    assert max(map(len, compared)) <= 60
    assert sum(map(len, compared)) < 61_000


def test_names_of_files_that_are_no_text_are_told_as_text(kernel: KernelProcess) -> None:
    with open(os.fsencode(kernel.folder) + b"/\xff\n", "wb"):
        pass
    kernel.run("x = 1")

    assert "\\udcff\\n" in hint_of(kernel, "open('x')")


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        ("é,1".encode("cp1252"), 'encoding="cp1252"'),
        (b"\x81", 'encoding="latin-1"'),
        ("é".encode("utf-16"), 'encoding="utf-16"'),
        (b"\x89PNG\x00\x00", "It is not text"),
    ],
)
def test_bytes_that_are_not_utf8_are_answered_with_what_they_are(data: bytes, hint: str) -> None:
    with pytest.raises(UnicodeDecodeError) as caught:
        data.decode()

    told = hints.hint(caught.value, data_folder="/tmp", is_first_cell=False)
    assert told is not None
    assert hint in told


def test_a_file_that_may_not_be_written_is_answered_with_where_they_may() -> None:
    error = PermissionError(errno.EACCES, "x", "/etc/x")

    told = hints.hint(error, data_folder="/mnt/data", is_first_cell=False)
    assert told == "Files can be written in /mnt/data, /tmp and /home/user."


# ---- packages and names -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "hint"),
    [
        ("scikit_learn", "`scikit-learn` is installed; it is imported as `sklearn`."),
        ("beautifulsoup4", "`beautifulsoup4` is installed; it is imported as `bs4`."),
        ("pandsa", "Packages cannot be installed: there is no network. Installed: pandas."),
        ("no_such_thing", "Packages cannot be installed: there is no network."),
        ("sklearn.no_such_part", ""),
        ("imp_", None),
        ("urllib2", "`urllib2` is not a module of this Python. Use urllib.request."),
    ],
)
def test_a_missing_module_is_answered_with_what_is_installed(
    tables: KernelProcess, module: str, hint: str | None
) -> None:
    told = hint_of(tables, f"import {module}")

    assert told.startswith("Packages cannot be installed") if hint is None else told == hint


def test_an_alternative_is_named_only_if_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, named in (({"pypdf": "1"}, " Installed: pypdf."), ({}, "")):
        monkeypatch.setattr(packages, "installed", lambda there=there: there)
        told = packages.of_missing("fitz")
        assert told == f"Packages cannot be installed: there is no network.{named}"


def test_names_of_earlier_cells_are_said_to_be_unknown_in_a_new_kernel_only(
    doomed: KernelProcess,
) -> None:
    assert "first cell of a new kernel" in hint_of(doomed, "df.head()")
    assert hint_of(doomed, "df.head()") == ""


def test_a_variable_of_a_function_that_has_no_value_yet_is_no_name_of_an_earlier_cell(
    doomed: KernelProcess,
) -> None:
    assert hint_of(doomed, "def f():\n    print(x)\n    x = 1\nf()") == ""


def test_without_a_network_one_sentence_says_so(doomed: KernelProcess) -> None:
    code = "import socket, urllib.error\n"
    code += "try: raise socket.gaierror(-2, 'Name or service not known')\n"
    code += "except OSError as error: raise urllib.error.URLError(error)"

    assert hint_of(doomed, code).startswith("There is no network here")
    doomed.configure(proxy="http://127.0.0.1:3128")
    assert hint_of(doomed, code) == ""


# ---- hostile ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "class E(KeyError):\n    args = property(lambda self: 1/0)\nraise E",
        "class E(AttributeError):\n    name = property(lambda self: exit(3))\nraise E",
        "class E(FileNotFoundError):\n    filename = property(lambda self: 1/0)\nraise E",
        "class E(ModuleNotFoundError):\n    name = 5\nraise E",
        "class E(NameError):\n    __class__ = property(lambda self: 1/0)\nraise E",
        "raise FileNotFoundError(2, 'x', 'a\\0b')",
        "raise FileNotFoundError(2, 'x', '\\ud800' * 10000)",
        "raise ModuleNotFoundError('x', name='.' * 10000)",
        "class O:\n    def __dir__(self): raise SystemExit\nO().x",
    ],
)
def test_hostile_exceptions_are_told_all_the_same(tables: KernelProcess, code: str) -> None:
    shown = tables.run(code)

    assert [piece[0] for piece in shown] == ["error", "done"]
    assert len(shown[0][3]) < 70_000
    assert tables.run("1")[0] == ("result", "1")


def test_a_hint_that_does_not_end_can_be_interrupted(doomed: KernelProcess) -> None:
    code = """
import sys
class Slow(AttributeError):
    @property
    def name(self):
        print('looking')
        while True: pass
raise Slow
"""
    shown = doomed.run_interrupted(code, after="looking")

    assert shown[-1] == ("done", "error")
    assert doomed.run("1")[0] == ("result", "1")
