"""Every program of examples/ against one live server: real boxes, the offline model, the SDK."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.live import LiveServer, clean_environ, serving

EXAMPLES = Path(__file__).parents[1] / "examples"

# What a program must print, and the files it must leave.
PROMISED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "smallest_call.py": (("x = 1",), ()),
    "explicit_container.py": (("15.28", "3.90", "1.97", "1.9771"), ()),
    "csv_to_chart.py": (("north", "2", "saved:"), ("sales.csv", "chart.png")),
    "image_processing.py": (("96 x 64 became 64 x 96",), ()),
    "equation.py": (("---- code ----", "---- output ----", "---- answer ----"), ()),
    "standard_deviation.py": (("2.4698",), ()),
    "compound_interest.py": (("38,696.84",), ()),
    "everyday_questions.py": (("40", "19", "7", "100"), ()),
    "month_over_month.py": (("25", "-10", "20"), ()),
    "shuffle_rows.py": (("saved:",), ()),
    "streaming.py": (("step 0", "step 4", "---- response.completed ----"), ()),
    "errors_and_retry.py": (("bad request: memory_limit", "not found:", "ZeroDivisionError"), ()),
    "run_code.py": (("5 roots", "NameError", "files: ['/mnt/data/roots.txt']"), ()),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with serving(tmp_path_factory.mktemp("server") / "data") as live:
        yield live


def test_every_example_is_run_here_and_listed_in_the_readme() -> None:
    programs = {path.name for path in EXAMPLES.glob("*.py")}
    readme = (EXAMPLES / "README.md").read_text()

    assert programs == set(PROMISED)
    assert [name for name in programs if f"[{name}]({name})" not in readme] == []


@pytest.mark.sandbox
@pytest.mark.parametrize("name", sorted(PROMISED))
def test_example_does_what_it_promises(name: str, server: LiveServer, tmp_path: Path) -> None:
    printed, files = PROMISED[name]

    result = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=clean_environ(OPENAI_BASE_URL=server.url, OPENAI_API_KEY="none"),
        timeout=120,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert [text for text in printed if text not in result.stdout] == []
    assert [file for file in files if not (tmp_path / file).is_file()] == []
