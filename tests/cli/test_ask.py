from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.live import LiveServer, clean_environ, guest_env, sanderling, serving

SALES = "date,region,revenue\n2026-03-02,north,1250\n2026-03-02,south,980\n2026-03-03,south,1120\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with serving(tmp_path_factory.mktemp("server") / "data") as live:
        yield live


def ask(
    prompt: str, *arguments: str | Path, server: LiveServer, cwd: Path
) -> subprocess.CompletedProcess[str]:
    return sanderling("ask", prompt, "--base-url", server.url, *arguments, cwd=cwd)


# ---- what needs no boxes ----------------------------------------------------------------------


def test_a_server_that_cannot_be_reached_is_one_sentence(tmp_path: Path) -> None:
    result = sanderling("ask", "hello", "--base-url", "http://127.0.0.1:9/v1", cwd=tmp_path)

    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("http://127.0.0.1:9/v1 cannot be reached")
    assert result.stderr.count("\n") == 1


def test_a_server_of_ones_own_that_cannot_start_says_why(tmp_path: Path) -> None:
    result = sanderling("ask", "hello", "--env", tmp_path / "none", cwd=tmp_path)

    assert result.returncode == 1
    assert "Run `sanderling setup" in result.stderr
    assert "Traceback" not in result.stderr


# ---- a live server ---------------------------------------------------------------------------


@pytest.mark.sandbox
def test_a_base_url_without_its_path_is_told_what_is_missing(
    server: LiveServer, tmp_path: Path
) -> None:
    root = server.url.removesuffix("/v1")

    result = sanderling("ask", "hello", "--base-url", root, cwd=tmp_path)

    assert result.returncode == 1
    assert result.stderr.startswith("Invalid URL (")
    assert result.stderr.endswith(f"{root}/v1\n")


@pytest.mark.sandbox
def test_a_dash_asks_what_standard_input_says(server: LiveServer, tmp_path: Path) -> None:
    result = sanderling(
        "ask", "-", "--base-url", server.url, cwd=tmp_path, stdin="What is 17 * 23?\n"
    )

    assert result.returncode == 0, result.stderr
    assert "391" in result.stdout


@pytest.mark.sandbox
def test_code_output_and_answer_are_shown_without_colours_in_a_pipe(
    server: LiveServer, tmp_path: Path
) -> None:
    result = ask("Run this:\n```python\nprint(6 * 7)\n```", server=server, cwd=tmp_path)

    assert result.returncode == 0, result.stderr
    assert "print(6 * 7)\n" in result.stdout
    assert "\n42\n" in result.stdout
    assert "\x1b" not in result.stdout + result.stderr


@pytest.mark.sandbox
def test_files_that_are_made_are_saved_and_nothing_is_overwritten(
    server: LiveServer, tmp_path: Path
) -> None:
    (tmp_path / "sales.csv").write_text(SALES)
    prompt = "Plot revenue by region and save the chart as chart.png"

    first = ask(prompt, "--file", "sales.csv", "--out", "o", server=server, cwd=tmp_path)
    second = ask(prompt, "--file", "sales.csv", "--out", "o", server=server, cwd=tmp_path)

    assert first.returncode == second.returncode == 0, first.stderr
    assert "Saved o/chart.png\n" in first.stderr
    assert "Saved o/chart_1.png\n" in second.stderr
    assert (tmp_path / "o" / "chart.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.sandbox
def test_json_is_one_object_with_code_outputs_answer_and_files(
    server: LiveServer, tmp_path: Path
) -> None:
    prompt = "Run this:\n```python\nopen('a.txt', 'w').write('abc')\nprint('made')\n```"

    result = ask(prompt, "--json", server=server, cwd=tmp_path)

    shown = json.loads(result.stdout)
    assert shown["status"] == "completed"
    assert shown["answer"]
    assert "open('a.txt', 'w')" in shown["code_calls"][0]["code"]
    assert "made" in shown["code_calls"][0]["outputs"][0]["logs"]
    assert shown["files"] == [{"filename": "a.txt", "bytes": 3, "saved_to": "a.txt"}]
    assert (tmp_path / "a.txt").read_text() == "abc"


@pytest.mark.sandbox
def test_an_answer_that_takes_too_long_is_124(server: LiveServer, tmp_path: Path) -> None:
    prompt = "Run this:\n```python\nimport time\ntime.sleep(600)\n```"

    result = ask(prompt, "--timeout", "2s", server=server, cwd=tmp_path)

    assert result.returncode == 124
    assert result.stderr.endswith("No answer within 2 s; given up.\n")


@pytest.mark.sandbox
def test_without_a_server_one_is_started_and_leaves_nothing(
    tmp_path: Path, short_path: Path
) -> None:
    temporary = short_path
    env = clean_environ(TMPDIR=str(temporary), SANDERLING_ENV=str(guest_env()))

    result = sanderling("ask", "Run this:\n```python\n6 * 7\n```", env=env, cwd=tmp_path)

    assert result.returncode == 0, result.stderr
    assert "42" in result.stdout
    assert list(temporary.iterdir()) == []
    assert _processes_with(str(temporary)) == []


@pytest.mark.sandbox
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_question_ends_its_server_too(
    tmp_path: Path, short_path: Path, number: signal.Signals, code: int
) -> None:
    temporary = short_path
    prompt = "Run this:\n```python\nimport time\nprint('begun', flush=True)\ntime.sleep(600)\n```"
    process = subprocess.Popen(
        [sys.executable, "-m", "sanderling", "ask", prompt],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=clean_environ(TMPDIR=str(temporary), SANDERLING_ENV=str(guest_env())),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line == "begun\n":
            break

    process.send_signal(number)
    _, err = process.communicate(timeout=60)

    assert process.returncode == code
    assert "Traceback" not in err
    assert list(temporary.iterdir()) == []
    assert _processes_with(str(temporary)) == []


def _processes_with(word: str) -> list[str]:
    """Return the command lines of all processes that name `word`."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            line = Path("/proc", entry, "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, UnicodeDecodeError):
            continue
        if word in line:
            found.append(line)
    return found
