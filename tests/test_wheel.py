"""The built wheel, installed by real pip into an empty environment, is a whole server."""

import json
import signal
import subprocess
import sys
import urllib.request
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import uv

import sanderling
from tests.plain_user import TOP, export_requirements

PACKAGE = Path(sanderling.__file__).parent
START_DEADLINE_S = 60


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [uv.find_uv_bin(), "build", "--quiet", "--wheel", "--out-dir", folder, TOP]
    subprocess.run(command, check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder of the programs of an environment that holds the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    constraints = export_requirements(folder / "constraints.txt")
    pip = [folder / "venv" / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "-c", constraints, wheel], check=True, cwd=folder)
    return folder / "venv" / "bin"


def test_the_wheel_holds_every_file_of_the_package(wheel):
    expected = {
        str(path.relative_to(PACKAGE.parent))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    held = set(zipfile.ZipFile(wheel).namelist())

    assert expected - held == set()
    assert any("/environments/locks/python-3.11.txt" in name for name in held)
    assert any("/store/migrations/versions/" in name for name in held)
    assert any("/kernel/" in name for name in held)


def test_the_wheel_holds_nothing_but_the_package_and_its_licence(wheel):
    held = zipfile.ZipFile(wheel).namelist()

    assert [name for name in held if not name.startswith(("sanderling/", "sanderling-"))] == []
    assert any(name.endswith("licenses/LICENSE") for name in held)


def test_it_says_its_version(installed):
    said = subprocess.check_output([installed / "sanderling", "--version"], text=True)

    assert "0.1.0" in said


@contextmanager
def serving(program: Path, *arguments: str | Path):
    """Run `sanderling serve`; yield the line it prints when ready. It must stop cleanly."""
    command = [program, "serve", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(START_DEADLINE_S) == 0


@pytest.mark.sandbox
def test_it_serves_from_there(installed, guest_env, tmp_path):
    with serving(installed / "sanderling", "--data", tmp_path, "--env", guest_env.path) as line:
        assert line.startswith("Sanderling is listening on http://127.0.0.1:")
        base_url = line.rsplit(" ", 1)[1]

        with urllib.request.urlopen(base_url.removesuffix("/v1") + "/health") as answer:
            assert answer.status == 200
            assert json.load(answer)


@pytest.mark.sandbox
def test_it_runs_code_from_there(installed, guest_env):
    command = [installed / "sanderling", "exec", "--env", guest_env.path, "-c"]

    said = subprocess.check_output([*command, "import numpy; print(numpy.arange(4).sum())"])

    assert said.decode().strip() == "6"
