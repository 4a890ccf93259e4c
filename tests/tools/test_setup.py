"""`tools/setup.py` on a small checkout: the real steps, with one dependency instead of forty."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import uv

TOP = Path(__file__).resolve().parents[2]

PROJECT = f"""
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "sanderling"
version = "0"
requires-python = ">=3.11"
dependencies = ["uv=={importlib.metadata.version("uv")}"]
[project.scripts]
sanderling = "sanderling:main"
[dependency-groups]
dev = ["tabulate"]
"""
PROGRAM = 'import sys\ndef main():\n    print("ran sanderling", *sys.argv[1:])\n'


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(TOP / "tools", folder / "tools")
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "src" / "sanderling").mkdir(parents=True)
    (folder / "src" / "sanderling" / "__init__.py").write_text(PROGRAM)
    subprocess.run([uv.find_uv_bin(), "lock", "--quiet"], cwd=folder, check=True)
    set_up(folder)
    return folder


def set_up(checkout: Path, *arguments: str, **variables: str) -> str:
    """Run the set-up and return what it printed."""
    environ = {k: v for k, v in os.environ.items() if k != "SANDERLING_ENV"}
    done = subprocess.run(
        [sys.executable, "-I", checkout / "tools" / "setup.py", *arguments],
        env=environ | variables,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def has_tabulate(checkout: Path) -> bool:
    command = [checkout / ".venv" / "bin" / "python", "-c", "import tabulate"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def test_a_second_run_goes_straight_to_the_guest_environment(checkout):
    first, second = set_up(checkout).splitlines()

    assert first.startswith("[3/3]")
    assert second == "ran sanderling setup"


def test_development_packages_come_with_dev_and_stay(checkout):
    assert "[2/3]" in set_up(checkout, "--dev")
    assert has_tabulate(checkout)

    assert "[2/3]" not in set_up(checkout)
    assert has_tabulate(checkout)


def test_an_environment_that_was_named_is_not_built(checkout):
    said = set_up(checkout, SANDERLING_ENV="/srv/env")

    assert "/srv/env" in said
    assert "ran sanderling" not in said


def test_a_venv_whose_python_is_gone_is_made_again(checkout):
    python = checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3")

    assert "[1/3]" in set_up(checkout)
    assert "[1/3]" not in set_up(checkout)
