"""Packages that code would install: one sentence, wherever the command stands."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sanderling.kernel import installers
from tests.doubles.kernel_process import KernelProcess

SAID = "Packages cannot be installed: there is no network. `%pip list` lists them.\n"


@pytest.fixture(scope="module")
def shared(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KernelProcess]:
    with KernelProcess(python, tmp_path_factory.mktemp("data")) as made:
        made.run("import asyncio, os, subprocess, sys")
        yield made


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("!pip install no_x && echo done", SAID),
        ("!pip install no_x || echo failed", SAID + "failed\n"),
        ("!pip install -q no_x | tail -1", SAID),
        ("!pip install no_x > /dev/null 2>&1; echo on", "on\n"),
        ("!pip install no_x>/tmp/said; echo $?; cat /tmp/said", "1\n" + SAID),
        ("!pip install $(echo no_x no_y); echo $?", SAID + "1\n"),
        ("!'pip' \"install\" no\\_x", SAID),
        ("!(cd /; pip install no_x) || echo `echo failed`", SAID + "failed\n"),
        ("%%sh\nfor p in $(pip install no_x); do echo $p; done | head -1", "Packages\n"),
        ("!pip install 2>/dev/null no_x", SAID),
        ("!cd / && FOO=1 python3 -m pip install 'no_x>=2'; pwd", SAID + "/\n"),
        ("!{sys.executable} -u -m pip install no_x", SAID),
        ("%pip install no_x && echo done", SAID),
        ("uv = !uv pip install no_x\nprint(uv.n)", SAID),
        ("!if pip install no_x; then echo yes; else echo no; fi", SAID + "no\n"),
        ("%%bash --no-raise-error\nset -e\npip install no_x\necho on", SAID),
        ("os.system('pip install no_x') >> 8 == 1 or print('no')", SAID),
        ("subprocess.run([sys.executable, '-m', 'pip', 'install', 'no_x']).args[2:3]", SAID),
        ("subprocess.call('pip install no_x', shell=True);", SAID),
        ("subprocess.call(['bash', '-lc', 'conda install -y no_x']);", SAID),
        ("subprocess.call('pip install no_x', shell=True, executable='/bin/bash');", SAID),
        ("print(subprocess.getoutput('pip3 install no_x'))", SAID),
        (
            "p = await asyncio.create_subprocess_exec('pip', 'install', 'no_x'); await p.wait();",
            SAID,
        ),
    ],
)
def test_an_installer_says_one_sentence_and_the_rest_of_its_line_runs(
    shared: KernelProcess, code: str, text: str
) -> None:
    assert shared.text(code) == text


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            "!echo 'pip install x' \"; pip install x\" # ; pip install x",
            "pip install x ; pip install x\n",
        ),
        ("!printf '%s,' pip install", "pip,install,"),
        ("%%sh\ncat <<END\npip install x\nEND", "pip install x\n"),
        ("!echo pip; ls pip 2>/dev/null; echo $?", "pip\n2\n"),
        ("!echo $(echo a) pip install x", "a pip install x\n"),
        ('!echo "$(echo "a; pip install b")"', "a; pip install b\n"),
        ("!echo `echo a; echo pip install b`", "a pip install b\n"),
        ("%%bash\na=(pip install x)\necho ${a[1]} $'it\\'s'", "install it's\n"),
        ("%%bash\npip() { echo mine $2; }\npip install x", "mine x\n"),
        ("!x=; echo ${x:-; pip install y}", "; pip install y\n"),
        ("subprocess.run(['pip', 'install', 'x'], executable='echo');", "install x\n"),
        ("!pip show no_x > /dev/null && echo there || echo none", "none\n"),
    ],
)
def test_what_only_speaks_of_an_installer_is_what_it_is(
    shared: KernelProcess, code: str, text: str
) -> None:
    assert shared.text(code) == text


def test_what_is_installed_already_is_no_failure_in_that_version(shared: KernelProcess) -> None:
    said = shared.text("!pip install 'pytest>=1' && echo on")

    assert " Already installed: pytest " in said
    assert said.endswith("\non\n")
    assert "on\n" not in shared.text("!pip install pytest==0.1 && echo on").split(".")[-1]


def test_a_check_that_fails_for_an_installer_says_so_where_its_output_was_not_seen(
    shared: KernelProcess,
) -> None:
    shown = shared.run(
        "subprocess.check_call([sys.executable, '-m', 'pip', 'install', 'no_x'], stdout=-3)"
    )

    assert shown[0][1] == "CalledProcessError"
    assert shown[0][3].endswith(f"\n{SAID}")


@pytest.mark.parametrize(
    "line",
    [
        "pip install 'x",
        "cat <<E\npip install x\nE",
        "a\\",
        "pip",
        "$(pip",
        "echo 'a\nb'",
        "pip install $(pip list)",
        "pip install x`",
        "pip install -r <(cat x)",
        "[[ a =~ (pip install x) ]]",
        "x=`pip install y`",
        f"echo {'A' * 1_000_000} pip install",
    ],
)
def test_a_line_that_is_not_understood_is_as_it_was(line: str) -> None:
    assert installers.answered(line) == line
