from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.live import clean_environ, guest_env, sanderling, serving

FIGURE = "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.title('Up and down')\n"


def execute(*arguments: str | Path, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return sanderling("exec", "--env", guest_env(), *arguments, cwd=cwd, stdin=stdin)


# ---- what needs no boxes ----------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["script.py", "-c", "1"]])
def test_the_code_must_come_one_way(tmp_path: Path, arguments: list[str]) -> None:
    result = sanderling("exec", *arguments, cwd=tmp_path)

    assert result.returncode == 2
    assert "Give the code one way" in result.stderr


def test_a_script_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    result = sanderling("exec", "no.py", cwd=tmp_path)

    assert result.returncode == 2
    assert "no.py cannot be read: No such file" in result.stderr


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    result = sanderling("exec", "-c", "1", "--file", "no.csv", cwd=tmp_path)

    assert result.returncode == 2
    assert "no.csv" in result.stderr


def test_a_server_that_cannot_be_reached_is_125(tmp_path: Path) -> None:
    result = sanderling("exec", "-c", "1", "--base-url", "http://127.0.0.1:9/v1", cwd=tmp_path)

    assert result.returncode == 125
    assert result.stderr.startswith("http://127.0.0.1:9/v1 cannot be reached")
    assert "Traceback" not in result.stderr


# ---- boxes -----------------------------------------------------------------------------------


@pytest.mark.sandbox
def test_output_result_and_errors_go_where_they_belong(tmp_path: Path) -> None:
    code = "import sys\nprint('out')\nprint('err', file=sys.stderr)\n6 * 7"

    result = execute("-c", code, cwd=tmp_path)

    assert (result.returncode, result.stdout, result.stderr) == (0, "out\n42\n", "err\n")


@pytest.mark.sandbox
def test_code_comes_from_a_script_or_from_standard_input(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("print('from a file')")

    assert execute("script.py", cwd=tmp_path).stdout == "from a file\n"
    assert execute("-", cwd=tmp_path, stdin="print('piped')").stdout == "piped\n"


@pytest.mark.sandbox
def test_an_exception_is_a_traceback_on_stderr_and_1(tmp_path: Path) -> None:
    result = execute("-c", "print('before', end='')\n1 / 0", cwd=tmp_path)

    assert result.returncode == 1
    assert result.stdout == "before"
    assert "ZeroDivisionError" in result.stderr


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("code", "returncode", "said"),
    [("exit(3)", 3, ""), ("exit(0)", 0, ""), ("raise SystemExit('bye')", 1, "bye\n")],
)
def test_code_that_leaves_by_itself_ends_as_a_program_would(
    tmp_path: Path, code: str, returncode: int, said: str
) -> None:
    result = execute("-c", code, cwd=tmp_path)

    assert (result.returncode, result.stderr) == (returncode, said)


@pytest.mark.sandbox
def test_code_that_runs_too_long_is_124(tmp_path: Path) -> None:
    result = execute("-c", "while True: pass", "--timeout", "500ms", cwd=tmp_path)

    assert result.returncode == 124


@pytest.mark.sandbox
def test_code_that_needs_too_much_memory_does_not_end_with_0(tmp_path: Path) -> None:
    code = "held = []\nwhile True: held.append(bytearray(64 << 20))"

    # Where the limit is felt as a MemoryError, the code itself raises.
    assert execute("-c", code, cwd=tmp_path).returncode in {137, 1}


@pytest.mark.sandbox
def test_files_go_in_and_come_out_and_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("a,b\n1,2\n")
    code = "text = open('in.csv').read()\nopen('out.csv', 'w').write(text * 2)\nNone"

    first = execute("-c", code, "--file", "in.csv", "--out", "made", cwd=tmp_path)
    second = execute("-c", code, "--file", "in.csv", "--out", "made", cwd=tmp_path)

    assert first.returncode == second.returncode == 0, first.stderr
    assert first.stdout == ""
    assert first.stderr == "Saved made/out.csv\n"
    assert (tmp_path / "made" / "out.csv").read_text() == "a,b\n1,2\na,b\n1,2\n"
    assert (tmp_path / "made" / "out_1.csv").is_file()
    assert (tmp_path / "in.csv").read_text() == "a,b\n1,2\n"


@pytest.mark.sandbox
def test_a_figure_is_saved_as_a_picture(tmp_path: Path) -> None:
    result = execute("-c", FIGURE, cwd=tmp_path)

    pictures = list(tmp_path.glob("*.png"))
    assert result.returncode == 0
    assert len(pictures) == 1
    assert pictures[0].read_bytes().startswith(b"\x89PNG")


@pytest.mark.sandbox
def test_json_is_one_object_in_the_shape_of_an_execution(tmp_path: Path) -> None:
    code = "print('a')\nprint('b')\nopen('x.txt', 'w').write('xyz')\n2 ** 10"

    result = execute("-c", code, "--json", cwd=tmp_path)

    shown = json.loads(result.stdout)
    assert shown["object"] == "container.execution"
    assert shown["status"] == "ok"
    assert shown["outputs"] == [
        {"type": "logs", "stream": "stdout", "logs": "a\nb\n"},
        {"type": "result", "text": "1024"},
    ]
    assert shown["files"] == [{"path": "/mnt/data/x.txt", "bytes": 3, "saved_to": "x.txt"}]
    assert shown["duration_ms"] > 0


@pytest.mark.sandbox
def test_ctrl_c_interrupts_the_code_and_is_130(tmp_path: Path) -> None:
    code = "import time\nprint('begun', flush=True)\ntime.sleep(600)"
    process = subprocess.Popen(
        [sys.executable, "-m", "sanderling", "exec", "--env", str(guest_env()), "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=clean_environ(),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "KeyboardInterrupt" in err
    assert "asyncio" not in err


@pytest.mark.sandbox
def test_code_runs_on_a_server_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("hello")
    code = f"print(open('in.txt').read())\n{FIGURE}\n6 * 7"
    with serving(tmp_path / "data") as server:
        result = execute(
            "-c", code, "--file", "in.txt", "--base-url", server.url, "--out", "o", cwd=tmp_path
        )
        failed = execute("-c", "1 / 0", "--base-url", server.url, cwd=tmp_path)

    assert result.returncode == 0, result.stderr
    assert result.stdout == "hello\n42\n"
    assert len(list((tmp_path / "o").glob("*.png"))) == 1
    assert failed.returncode == 1
    assert "ZeroDivisionError" in failed.stderr
