"""What a newcomer reads when the machine lacks something."""

import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]


@pytest.fixture
def machine(plain_user):
    """A machine with a shell and nothing else, and a checkout on it without `.venv`."""
    folder = plain_user.home / "machine"
    (folder / "bin").mkdir(parents=True)
    (folder / "checkout").mkdir()
    shutil.copytree(TOP / "tools", folder / "checkout" / "tools")
    for name in ("dirname", "id"):
        (folder / "bin" / name).symlink_to(f"/usr/bin/{name}")
    yield folder
    shutil.rmtree(folder)


def program(machine: Path, name: str, script: str) -> None:
    path = machine / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def bootstrap(machine: Path, plain_user, *arguments: str) -> str:
    """Run bootstrap.sh without rights, expect it to fail, and return what it says."""
    done = subprocess.run(
        ["/bin/sh", machine / "checkout" / "tools" / "bootstrap.sh", *arguments],
        capture_output=True,
        text=True,
        check=False,
        **plain_user.options(PATH=str(machine / "bin")),
    )
    assert done.returncode == 1
    return done.stderr


def test_without_python_on_debian_it_prints_the_one_command(machine, plain_user):
    program(machine, "apt-get", "exit 1")

    said = bootstrap(machine, plain_user)

    assert "    sudo apt-get install -y python3-venv\n" in said


def test_with_an_old_python_it_names_a_newer_one_that_the_system_has(machine, plain_user):
    program(machine, "apt-get", "exit 1")
    program(machine, "python3", "exit 1")
    program(machine, "apt-cache", '[ "$2" = python3.12-venv ]')

    said = bootstrap(machine, plain_user)

    assert "    sudo apt-get install -y python3.12-venv\n" in said


def test_without_python_elsewhere_it_says_which_are_right(machine, plain_user):
    assert "Python 3.11, 3.12 or 3.13 is missing" in bootstrap(machine, plain_user)


def test_a_chosen_python_that_does_not_fit_is_refused(machine, plain_user):
    program(machine, "python2", "exit 1")

    said = bootstrap(machine, plain_user, "--dev", "python2")

    assert "PYTHON=python2 is not a Python 3.11, 3.12 or 3.13" in said
