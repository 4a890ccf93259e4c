"""
A release of the SDK's first and one of its second major version, unmodified and strict, against a
server with boxes.

They cannot live beside the newest one, so each has an environment of its own, built by uv once and
kept in /var/tmp. What they are made to call is in old_sdk_calls.py; the oldest runs every example.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sanderling.environments.environment import Environment
from tests.cli.live import LiveServer, clean_environ, serving
from tests.contract import old_sdk_calls, run_programs
from tests.plain_user import kept_folder, run_uv
from tests.test_examples import EXAMPLES, PROMISED

pytestmark = pytest.mark.sandbox

OLDEST = "1.109.1"
VERSIONS = (OLDEST, "2.8.0")
# These pass arguments that the oldest SDK's methods do not have yet: memory_limit of a container.
TOO_NEW = {"errors_and_retry.py", "explicit_container.py"}


def python_with(version: str) -> Path:
    """Return the interpreter that has this SDK."""
    with kept_folder(f"openai-{version}") as folder:
        env, done = folder / "env", folder / "done"
        python = env / "bin" / "python"
        if not (done.exists() and python.exists()):
            run_uv("venv", "--quiet", "--clear", "--python", sys.executable, env)
            run_uv("pip", "install", "--quiet", "--python", python, f"openai=={version}")
            done.touch()
    return python


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, guest_env: Environment
) -> Iterator[LiveServer]:
    data = tmp_path_factory.mktemp("old_sdk") / "data"
    with serving(data, "--env", str(guest_env.path)) as live:
        yield live


def run_with(python: Path, server: LiveServer, folder: Path, *arguments: str | Path) -> Any:
    """Run a program with an old SDK in `folder`; return the JSON it prints."""
    done = subprocess.run(
        [python, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=clean_environ(OPENAI_BASE_URL=server.url, OPENAI_API_KEY="none"),
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=VERSIONS)
def outcomes(
    request: pytest.FixtureRequest, server: LiveServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str | None]:
    """What became of each check of old_sdk_calls.py: None, or a traceback."""
    version: str = request.param
    folder = tmp_path_factory.mktemp("calls")
    told = run_with(python_with(version), server, folder, old_sdk_calls.__file__)
    assert told["version"] == version
    found: dict[str, str | None] = told["checks"]
    return found


@pytest.fixture(scope="module")
def folders(
    server: LiveServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, int]]:
    """The folder every example ran in, and its exit status."""
    top = tmp_path_factory.mktemp("examples")
    python = python_with(OLDEST)
    programs = [EXAMPLES / name for name in sorted(set(PROMISED) - TOO_NEW)]
    found: dict[str, int] = run_with(python, server, top, run_programs.__file__, *programs)
    return {Path(name).name: (top / Path(name).name, status) for name, status in found.items()}


@pytest.mark.parametrize("name", old_sdk_calls.CHECKS)
def test_old_sdk_is_served(name: str, outcomes: dict[str, str | None]):
    assert outcomes[name] is None, outcomes[name]


@pytest.mark.parametrize("name", sorted(set(PROMISED) - TOO_NEW))
def test_example_runs_with_the_oldest_sdk(name: str, folders: dict[str, tuple[Path, int]]):
    expected, files = PROMISED[name]
    folder, status = folders[name]
    printed = (folder / "printed").read_text()

    assert status == 0, printed
    assert [text for text in expected if text not in printed] == []
    assert [file for file in files if not (folder / file).is_file()] == []
