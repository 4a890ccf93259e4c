"""
The frameworks that people use, unmodified, against a server with boxes and the offline model.

Each has a program in `programs/` that does what its users write, and an environment of its own,
installed once from PyPI or npm and kept in /var/tmp. A program prints what became of its checks.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sanderling.environments.environment import Environment
from tests.cli.live import LiveServer, clean_environ, serving
from tests.clients.installed import CLIENTS, PROGRAM_S_MAX, node_folder_with, python_with

pytestmark = pytest.mark.sandbox

PROGRAMS = Path(__file__).parent / "programs"
_CHECK = re.compile(r'^@check\n(?:async )?def (\w+)|^check\("([^"]+)"', re.MULTILINE)


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
            command = [python_with(packages), "-B", PROGRAMS / program]
        else:
            command = ["node", node_folder_with(packages) / program]
            for path in PROGRAMS.glob("*.mjs"):
                shutil.copy(path, command[1].parent)
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=self._folder,
            env=clean_environ(OPENAI_BASE_URL=self._server.url, OPENAI_API_KEY="none"),
            timeout=PROGRAM_S_MAX,
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
