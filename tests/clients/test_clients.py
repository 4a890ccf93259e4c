"""
The frameworks that people use, unmodified, against a server with boxes and the offline model.

Each has a program in `programs/` that does what its users write, and an environment of its own,
installed once from PyPI or npm and kept in /var/tmp. A program prints what became of its checks.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sanderling.environments.environment import Environment
from tests.cli.live import LiveServer, clean_environ, serving
from tests.plain_user import kept_folder, run_uv

pytestmark = pytest.mark.sandbox

PROGRAMS = Path(__file__).parent / "programs"
# What each program needs; the packages of one line are installed together.
CLIENTS = {
    "openai_agents.py": "openai-agents==0.24.0",
    "langchain_chat.py": "langchain-openai==1.7.4",
    "pydantic_ai_agent.py": "pydantic-ai-slim[openai]==2.68.0",
    "litellm_client.py": "litellm==1.110.2 mcp==1.28.1",
    "openai_node.mjs": "openai@7.59.0",
    "ai_sdk.mjs": "ai@7.0.173 @ai-sdk/openai@4.0.118",
}
_CHECK = re.compile(r'^@check\n(?:async )?def (\w+)|^check\("([^"]+)"', re.MULTILINE)
_PROGRAM_S_MAX = 300.0


def _checks_of(program: str) -> list[str]:
    found = _CHECK.findall((PROGRAMS / program).read_text())
    return [python or node.replace(" ", "_") for python, node in found]


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, guest_env: Environment
) -> Iterator[LiveServer]:
    data = tmp_path_factory.mktemp("clients") / "data"
    with serving(data, "--env", str(guest_env.path)) as live:
        yield live


@functools.cache
def _python_with(packages: str) -> Path:
    """Return an interpreter that has these packages."""
    key = re.sub(r"\W+", "-", packages)
    with kept_folder(f"{key}-{sys.version_info.major}.{sys.version_info.minor}") as folder:
        done, python = folder / "done", folder / "env" / "bin" / "python"
        if not (done.exists() and python.exists()):
            run_uv("venv", "--quiet", "--clear", "--python", sys.executable, folder / "env")
            run_uv("pip", "install", "--quiet", "--python", python, *packages.split())
            done.touch()
    return python


@functools.cache
def _node_folder_with(packages: str) -> Path:
    """Return a folder from which node finds these packages, with our programs in it."""
    if shutil.which("npm") is None:
        pytest.skip("npm is missing: apt install nodejs npm")
    with kept_folder(re.sub(r"\W+", "-", packages)) as folder:
        done = folder / "done"
        if not done.exists():
            quiet = ("--no-audit", "--no-fund", "--silent")
            command = ["npm", "install", *quiet, "--prefix", folder, *packages.split()]
            subprocess.run(command, cwd=folder, check=True, timeout=_PROGRAM_S_MAX)
            done.touch()
        for program in PROGRAMS.glob("*.mjs"):
            shutil.copy(program, folder)
    return folder


@pytest.fixture(scope="module")
def outcomes(server: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return Outcomes(server, tmp_path_factory.mktemp("programs"))


class Outcomes:
    """What became of each program's checks: None, or a traceback. Each program is run once."""

    def __init__(self, server: LiveServer, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._of: dict[str, dict[str, str | None]] = {}

    def of(self, program: str) -> dict[str, str | None]:
        if program not in self._of:
            self._of[program] = self._run(program)
        return self._of[program]

    def _run(self, program: str) -> dict[str, str | None]:
        packages = CLIENTS[program]
        if program.endswith(".py"):
            command = [_python_with(packages), "-B", PROGRAMS / program]
        else:
            command = ["node", _node_folder_with(packages) / program]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=self._folder,
            env=clean_environ(OPENAI_BASE_URL=self._server.url, OPENAI_API_KEY="none"),
            timeout=_PROGRAM_S_MAX,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        told: dict[str, str | None] = json.loads(done.stdout)
        return told


@pytest.mark.parametrize(
    ("program", "check"), [(p, check) for p in CLIENTS for check in _checks_of(p)]
)
def test_framework_is_served(program: str, check: str, outcomes: Outcomes):
    outcome = outcomes.of(program)[check]

    assert outcome is None, outcome


def test_every_program_is_run():
    programs = {path.name for path in PROGRAMS.iterdir() if path.is_file()}

    assert programs - {"checks.py", "checks.mjs"} == set(CLIENTS)
    assert all(_checks_of(program) for program in CLIENTS)
