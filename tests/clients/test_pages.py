"""
The programs of docs/clients, as they stand there, against a server with the offline model.

A page's programs are its blocks of Python or TypeScript; the block of text after one is what it
prints, among other lines, in this order. `…` stands for anything within a line.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from sanderling.environments.environment import Environment
from tests.cli.live import LiveServer, clean_environ, serving
from tests.clients.installed import CLIENTS, PROGRAM_S_MAX, node_folder_with, python_with
from tests.contract import run_programs

pytestmark = pytest.mark.sandbox

PAGES = Path(__file__).parents[2] / "docs" / "clients"
# What the programs of a page, or of a section of it, need; and the module they have in common.
_PYTHON = {
    "agents-sdk.md": (CLIENTS["openai_agents.py"], "agents"),
    "langchain.md": (CLIENTS["langchain_chat.py"], "langchain_openai"),
    "others.md#litellm": (CLIENTS["litellm_client.py"], "litellm"),
    "others.md#pydantic-ai": (CLIENTS["pydantic_ai_agent.py"], "pydantic_ai"),
    "python.md": ("", "openai"),  # the SDK that the tests run with, the newest
}
_TYPESCRIPT = {"ai-sdk.md", "typescript.md"}
_NODE_PACKAGES = " ".join(
    [CLIENTS["openai_node.mjs"], CLIENTS["ai_sdk.mjs"], "typescript@5.9.3 @types/node@22.19.1"]
)
_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_PROGRAM = re.compile(
    r"^```(python|ts)\n(.*?)^```\n\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE
)
_BLOCK = re.compile(r"^```(?:python|ts)$", re.MULTILINE)
_STRICT = ["--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck"]


class Program(NamedTuple):
    """One program of a page; `place` is the page, or a section of it that _PYTHON names."""

    place: str
    number: int
    language: str
    source: str
    printed: str

    def __str__(self) -> str:
        return f"{self.place} {self.number}"

    @property
    def stem(self) -> str:
        """What its file is called, without the ending."""
        return f"{Path(self.place).stem}_{self.number}"


@functools.cache
def programs() -> list[Program]:
    found = []
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text()
        for number, match in enumerate(_PROGRAM.finditer(text)):
            sections = [title[1] for title in _SECTION.finditer(text, 0, match.start())]
            place = f"{page.name}#{sections[-1]}"
            found.append(Program(place if place in _PYTHON else page.name, number, *match.groups()))
    return found


def test_every_block_of_every_page_is_run() -> None:
    blocks = sum(len(_BLOCK.findall(page.read_text())) for page in PAGES.glob("*.md"))

    assert len(programs()) == blocks
    assert {program.place for program in programs()} == set(_PYTHON) | _TYPESCRIPT


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, guest_env: Environment
) -> Iterator[LiveServer]:
    data = tmp_path_factory.mktemp("pages") / "data"
    with serving(data, "--env", str(guest_env.path)) as live:
        yield live


@pytest.fixture(scope="module")
def printed(server: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Printed:
    return Printed(server, tmp_path_factory.mktemp("programs"))


class Printed:
    """What each program printed, and its exit status; those of a place are started together."""

    def __init__(self, server: LiveServer, top: Path) -> None:
        self._top = top
        self._environ = clean_environ(OPENAI_BASE_URL=server.url, OPENAI_API_KEY="none")
        self._compiled: Path | None = None
        self._of: dict[Program, tuple[str, int]] = {}

    def of(self, program: Program) -> tuple[str, int]:
        if program.language == "ts":
            return self._node(program)
        if program not in self._of:
            self._python(program.place)
        return self._of[program]

    def _python(self, place: str) -> None:
        packages, module = _PYTHON[place]
        python = python_with(packages) if packages else Path(sys.executable)
        folder = self._top / place
        folder.mkdir()
        sources = [program for program in programs() if program.place == place]
        paths = [folder / f"{program.number}.py" for program in sources]
        for path, program in zip(paths, sources, strict=True):
            path.write_text(program.source)
        started = folder / "started"
        started.mkdir()
        done = self._run([python, "-B", run_programs.__file__, module, *paths], started)
        assert done.returncode == 0, done.stdout + done.stderr
        statuses = json.loads(done.stdout)
        for path, program in zip(paths, sources, strict=True):
            text = (started / path.name / "printed").read_text()
            self._of[program] = text, statuses[str(path)]

    def _node(self, program: Program) -> tuple[str, int]:
        if self._compiled is None:
            self._compiled = self._compile()
        folder = self._top / str(program)
        folder.mkdir()
        done = self._run(["node", self._compiled / f"{program.stem}.mjs"], folder)
        return done.stdout + done.stderr, done.returncode

    def _compile(self) -> Path:
        """Return a folder with the TypeScript programs as JavaScript."""
        folder = self._top / "compiled"
        folder.mkdir()
        packages = node_folder_with(_NODE_PACKAGES) / "node_modules"
        (folder / "node_modules").symlink_to(packages)
        sources = [program for program in programs() if program.language == "ts"]
        for program in sources:
            (folder / f"{program.stem}.mts").write_text(program.source)
        compiler = ["node", packages / "typescript" / "bin" / "tsc", *_STRICT]
        done = self._run([*compiler, *(f"{program.stem}.mts" for program in sources)], folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return folder

    def _run(self, command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=folder,
            env=self._environ,
            timeout=PROGRAM_S_MAX,
            check=False,
        )


@pytest.mark.parametrize("program", programs(), ids=str)
def test_program_of_a_page_prints_what_the_page_says(program: Program, printed: Printed) -> None:
    text, status = printed.of(program)

    assert status == 0, text
    lines = iter(text.splitlines())
    for promised in program.printed.splitlines():
        pattern = ".*".join(map(re.escape, promised.split("…")))
        assert any(re.fullmatch(pattern, line) for line in lines), (promised, text)
