"""What may stand in a requirements file, and what is said when it cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from sanderling.environments import preloads, requirements
from sanderling.environments.preloads import Preload
from sanderling.errors import SetupError

A, B = "a" * 64, "b" * 128


def test_hashes_that_are_given_are_those_of_the_lock():
    locked = (
        "d-d==1 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\ne==2 \\\n    --hash=sha256:3\n"
    )
    given = f"D.d==1 --hash=sha256:{A} --hash=sha256:{B}\ne==2\n"

    assert requirements.pin_hashes(locked, given) == (
        f"d-d==1 \\\n    --hash=sha256:{A} \\\n    --hash=sha256:{B}\n"
        "e==2 \\\n    --hash=sha256:3\n"
    )


def test_a_file_may_name_another_one(tmp_path: Path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.txt").write_text("b==2 # why\n")
    path = tmp_path / "a.txt"
    path.write_text(
        "# packages\na==1\n-r more/b.txt\nc[extra]>=3; python_version > '3'\n"
        f"d.D == 1 \\\n  --hash=sha256:{A} \\\n  --hash sha512:{B}  # by hand\n"
        "e (>=1,<2) ; extra == 'x'\n"
        "f @ https://x/f-1-py3-none-any.whl#sha256=0 ; python_version > '3'"
    )

    assert requirements.read(path).splitlines() == [
        "# packages",
        "a==1",
        "b==2 # why",
        "c[extra]>=3; python_version > '3'",
        f"d.D == 1 --hash=sha256:{A} --hash=sha512:{B}",
        "e (>=1,<2) ; extra == 'x'",
        "f @ https://x/f-1-py3-none-any.whl#sha256=0 ; python_version > '3'",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"# nothing\n\n", "names no packages"),
        (b"a\n-e .\n", "line 2: the option '-e'"),
        (b"--index-url http://x\n", "UV_DEFAULT_INDEX"),
        (b"./a.whl\n", "would have to be built"),
        (b"a @ git+https://x/y\n", "would have to be built"),
        (b"git+https://x/y\n", "would have to be built"),
        (b"a @ file:///tmp/a\n", "would have to be built"),
        (b"a @ ./b\n", "would have to be built"),
        (b"a @ https://x/a-1.tar.gz\n", "would have to be built"),
        (b"https://x/a-1-py3-none-any.whl\n", "would have to be built"),
        (b"folder/a\n", "would have to be built"),
        (b"a b\n", "'a b' is not taken"),
        (b"a==1 --global-option=x\n", "line 1: the option '--global-option=x'"),
        (b"a \\\n  -e .\n", "line 1: the option '-e'"),
        (b"a==1 --hash=md5:00\n", "sha256, sha384, sha512"),
        (b"-r self.txt\n", "name each other"),
        (b"-r gone.txt\n", "gone.txt cannot be read: No such file"),
        (b"\xff\xfe", "not UTF-8"),
        (b"#" * (2 << 20), "too long"),
    ],
)
def test_what_is_not_taken_is_refused_with_a_sentence(tmp_path: Path, content: bytes, words: str):
    path = tmp_path / "self.txt"
    path.write_bytes(content)

    with pytest.raises(SetupError) as refusal:
        requirements.read(path)

    assert words in refusal.value.message
    assert "\n" not in refusal.value.message


NO_SOLUTION = "error: No solution found when resolving dependencies\n  cause: "


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Because a-b was not found in the package registry and you", "no package 'a-b'"),
        ("Because there is no version of a==9 and you require a==9,", "no version 'a==9'"),
        ("Because there are no versions of a and you require a,", "no version 'a'"),
        ("Because all versions of a have no usable wheels and", "a has no ready-made build"),
        ("Because a==1 has no wheels with a matching Python ABI tag", "a==1 has no ready-made"),
        (
            (
                "Because the current Python version (3.11.7) does not satisfy Python>=3.14 and "
                "a==1 depends on Python>=3.14, we"
            ),
            "a==1 needs Python>=3.14, and this environment has Python 3.11",
        ),
        (
            (
                "Because you require a==1 and a==2, we can conclude that your requirements are "
                "unsatisfiable.\n\nhint: x"
            ),
            "contradict each other: because you require a==1 and a==2.",
        ),
    ],
)
def test_what_uv_says_becomes_one_sentence(said: str, words: str):
    told = requirements.explain(NO_SOLUTION + said, python_version="3.11", is_bare=False)

    assert told is not None
    assert words in told
    assert "\n" not in told


def test_a_line_that_cannot_be_read_is_named():
    said = (
        "error: Couldn't parse requirement in `r.txt` at position 0\n"
        '  cause: no such comparison operator "=>>"\n         a=>>1\n          ^^^^\n'
    )

    told = requirements.explain(said, python_version="3.11", is_bare=True)

    assert told == "'a=>>1' is no requirement: no such comparison operator \"=>>\"."


def test_what_else_uv_says_is_for_others_to_explain():
    said = "error: Failed to fetch"

    assert requirements.explain(said, python_version="3.11", is_bare=True) is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", Preload((), has_usual=True)),
        ("default", Preload((), has_usual=True)),
        ("none", Preload((), has_usual=False)),
        ("numpy, a.b ,numpy", Preload(("numpy", "a.b"), has_usual=False)),
        ("default, a", Preload(("a",), has_usual=True)),
    ],
)
def test_a_preload_list_is_read(text: str, wanted: Preload):
    assert preloads.parse(text) == wanted


@pytest.mark.parametrize("text", ["a-b", "none, a", "a..b", "../a", "a" * 200, "1a"])
def test_what_is_no_module_is_not_preloaded(text: str):
    with pytest.raises(SetupError, match="is not the name of a module"):
        preloads.parse(text)


def test_the_usual_modules_come_first_and_each_once():
    asked = preloads.parse("default, a, numpy")

    assert asked.modules(("numpy", "pandas")) == ("numpy", "pandas", "a")
