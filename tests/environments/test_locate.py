import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sanderling
from sanderling.environments import builder, locate, lock
from sanderling.environments.environment import Environment
from sanderling.errors import SetupError
from tests.environments.test_builder import write_lock

FIND = """
from sanderling.environments import locate
from sanderling.errors import SetupError
print(locate.default_env_dir())
try:
    print(locate.find(None).path)
except SetupError as error:
    print(error.message)
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package as an installer lays it down."""
    source = Path(sanderling.__file__).parent
    target = tmp_path / "site" / "sanderling"
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def ask(package: Path, data: Path) -> tuple[str, str]:
    """Return what the copy in `package` calls the default folder, and what it finds."""
    environ = {**os.environ, "PYTHONPATH": str(package.parent), "XDG_DATA_HOME": str(data)}
    answer = subprocess.check_output([sys.executable, "-c", FIND], env=environ, text=True)
    default, found = answer.splitlines()
    return default, found


def test_without_an_environment_the_error_names_the_command(package, tmp_path):
    _, said = ask(package, tmp_path / "data")

    assert "sanderling setup" in said


def test_an_installed_server_keeps_it_with_the_users_data(package, tmp_path):
    expected = tmp_path / "data" / "sanderling" / "env"
    locks = write_lock(package / "environments" / "locks", "tabulate")
    builder.build(expected, None, print, locks=locks)

    assert (str(expected), str(expected)) == ask(package, tmp_path / "data")


def test_an_environment_of_another_lock_is_not_used(package, tmp_path):
    locks = write_lock(tmp_path / "older", "tabulate")
    builder.build(tmp_path / "data" / "sanderling" / "env", None, print, locks=locks)

    _, said = ask(package, tmp_path / "data")

    assert "another version of Sanderling" in said
    assert "sanderling setup" in said


def test_a_checkout_keeps_its_own(tmp_path, package):
    checkout = tmp_path / "checkout"
    shutil.copytree(package, checkout / "src" / "sanderling")
    (checkout / "pyproject.toml").touch()
    locks = write_lock(checkout / "src" / "sanderling" / "environments" / "locks", "tabulate")
    expected = checkout / ".sanderling" / "env"
    builder.build(expected, None, print, locks=locks)

    answer = ask(checkout / "src" / "sanderling", tmp_path / "data")

    assert (str(expected), str(expected)) == answer


def test_any_virtual_environment_can_be_named(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "own"], check=True)

    found = locate.find(tmp_path / "own")

    assert found.path == tmp_path / "own"
    assert found.lock_digest is None
    assert Path(sys.base_prefix) in [*found.base_prefixes, *found.base_prefixes[0].parents]


def test_a_named_folder_without_an_environment_is_refused(tmp_path):
    with pytest.raises(SetupError, match=f"sanderling setup --env {tmp_path}"):
        locate.find(tmp_path)


def test_an_environment_whose_interpreter_is_gone_is_not_used(tmp_path, package):
    locks = write_lock(package / "environments" / "locks", "tabulate")
    built = builder.build(tmp_path / "data" / "sanderling" / "env", None, print, locks=locks)
    built.python.unlink()
    built.python.symlink_to("/nowhere/python3")

    _, said = ask(package, tmp_path / "data")

    assert "sanderling setup" in said


def test_the_guest_environment_of_the_tests_is_the_locked_one(guest_env: Environment):
    if guest_env.lock_digest is None:
        pytest.skip("SANDERLING_ENV names an environment that Sanderling did not build")
    major, minor, _ = map(int, guest_env.python_version.split("."))

    assert lock.for_python((major, minor)).digest == guest_env.lock_digest
