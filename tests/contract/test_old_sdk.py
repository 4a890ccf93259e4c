"""
One release of the SDK's first major version, unmodified and strict, against a server with boxes.

That SDK cannot live beside the newest one, so it has an environment of its own, built by uv once
and kept in /var/tmp. What it is made to call is in old_sdk_calls.py; it also runs every example.
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

VERSION = "1.109.1"
# These pass arguments that the old SDK's methods do not have yet: memory_limit of a container.
TOO_NEW = {"errors_and_retry.py", "explicit_container.py"}


@pytest.fixture(scope="module")
def old_python() -> Path:
    """The interpreter that has the old SDK."""
    with kept_folder(f"openai-{VERSION}") as folder:
        env, done = folder / "env", folder / "done"
        python = env / "bin" / "python"
        if not (done.exists() and python.exists()):
            run_uv("venv", "--quiet", "--clear", "--python", sys.executable, env)
            run_uv("pip", "install", "--quiet", "--python", python, f"openai=={VERSION}")
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
    """Run a program with the old SDK in `folder`; return the JSON it prints."""
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


@pytest.fixture(scope="module")
def outcomes(
    old_python: Path, server: LiveServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str | None]:
    """What became of each check of old_sdk_calls.py: None, or a traceback."""
    folder = tmp_path_factory.mktemp("calls")
    told = run_with(old_python, server, folder, old_sdk_calls.__file__)
    assert told["version"] == VERSION
    found: dict[str, str | None] = told["checks"]
    return found


@pytest.fixture(scope="module")
def folders(
    old_python: Path, server: LiveServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, int]]:
    """The folder every example ran in, and its exit status."""
    top = tmp_path_factory.mktemp("examples")
    programs = [EXAMPLES / name for name in sorted(set(PROMISED) - TOO_NEW)]
    found: dict[str, int] = run_with(old_python, server, top, run_programs.__file__, *programs)
    return {Path(name).name: (top / Path(name).name, status) for name, status in found.items()}


@pytest.mark.parametrize("name", old_sdk_calls.CHECKS)
def test_old_sdk_is_served(name: str, outcomes: dict[str, str | None]):
    assert outcomes[name] is None, outcomes[name]


@pytest.mark.parametrize("name", sorted(set(PROMISED) - TOO_NEW))
def test_example_runs_with_the_old_sdk(name: str, folders: dict[str, tuple[Path, int]]):
    expected, files = PROMISED[name]
    folder, status = folders[name]
    printed = (folder / "printed").read_text()

    assert status == 0, printed
    assert [text for text in expected if text not in printed] == []
    assert [file for file in files if not (folder / file).is_file()] == []
