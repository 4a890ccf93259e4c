"""Builds from a lock with one tiny package, so that each build takes half a second."""

import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sanderling.environments import builder, lock
from sanderling.environments.environment import STAMP_NAME
from sanderling.errors import SetupError

PYTHON = sys.version_info[:2]


def entry(name: str) -> str:
    """Return the lines of the real lock that pin `name`."""
    text = lock.for_python(PYTHON).path.read_text()
    found = re.search(rf"^{name}==.*?(?=^\S)", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[0]


def write_lock(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"python-{PYTHON[0]}.{PYTHON[1]}.txt").write_text("".join(map(entry, names)))
    return folder


@pytest.fixture
def locks(tmp_path):
    return write_lock(tmp_path / "locks", "tabulate")


@pytest.fixture
def target(tmp_path):
    return tmp_path / "place" / "env"


def leftovers(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if path.name != ".env.lock")


def test_the_environment_has_the_locked_packages_and_runs(target, locks):
    lines: list[str] = []

    built = builder.build(target, None, lines.append, locks=locks)

    assert {"tabulate"} == set(built.packages)
    assert built.path == target
    assert target in built.base_prefixes
    said = subprocess.check_output(
        [built.python, "-c", "import tabulate; print(tabulate.__file__)"]
    )
    assert said.decode().startswith(str(target))
    assert any("ready" in line for line in lines)
    assert leftovers(target) == ["env"]


def test_a_second_build_does_and_says_nothing(target, locks):
    first = builder.build(target, None, print, locks=locks)
    inode = target.stat().st_ino
    lines: list[str] = []

    second = builder.build(target, None, lines.append, locks=locks)

    assert (first, inode, []) == (second, target.stat().st_ino, lines)


def test_a_new_lock_replaces_the_environment(target, locks):
    builder.build(target, None, print, locks=locks)
    write_lock(locks, "tabulate", "mpmath")

    built = builder.build(target, None, print, locks=locks)

    assert {"tabulate", "mpmath"} == set(built.packages)
    assert leftovers(target) == ["env"]


def test_a_failed_build_leaves_the_old_environment_and_no_rest(target, locks):
    old = builder.build(target, None, print, locks=locks)
    path = lock.for_python(PYTHON, locks).path
    path.write_text(re.sub("sha256:....", "sha256:0000", path.read_text()) + "\n")

    with pytest.raises(SetupError, match="lock file"):
        builder.build(target, None, print, locks=locks)

    assert subprocess.run([old.python, "-c", "import tabulate"], check=False).returncode == 0
    assert leftovers(target) == ["env"]


def test_what_a_killed_build_left_is_removed_by_the_next(target, locks):
    left = target.parent / ".env.building-killed" / "lib"
    left.mkdir(parents=True)

    builder.build(target, None, print, locks=locks)

    assert leftovers(target) == ["env"]


def test_of_two_builds_at_once_one_works_and_both_succeed(target, locks):
    lines: list[str] = []
    built = []

    def build() -> None:
        built.append(builder.build(target, None, lines.append, locks=locks))

    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(built) == 2
    assert built[0] == built[1]
    assert sum(line.startswith("Building") for line in lines) == 1


def test_modules_are_compiled_and_name_their_final_file(target, locks):
    built = builder.build(target, None, print, locks=locks)

    code = """if True:
        import importlib.util, marshal, pathlib
        spec = importlib.util.find_spec("tabulate")
        compiled = pathlib.Path(spec.cached).read_bytes()
        print(marshal.loads(compiled[16:]).co_filename == spec.origin)
    """
    assert subprocess.check_output([built.python, "-B", "-c", code]) == b"True\n"


def test_everybody_can_read_it_whatever_the_builders_umask(target, locks):
    target.parent.mkdir()
    before = os.umask(0o077)
    try:
        built = builder.build(target, None, print, locks=locks)
    finally:
        os.umask(before)

    private = [
        path
        for path in [built.path, *built.path.rglob("*")]
        if not path.is_symlink() and not path.stat().st_mode & stat.S_IROTH
    ]
    assert private == []


def test_a_folder_with_something_else_is_left_alone(target, locks):
    target.mkdir(parents=True)
    (target / "thesis.txt").write_text("three years of work")

    with pytest.raises(SetupError, match="left alone"):
        builder.build(target, None, print, locks=locks)

    assert (target / "thesis.txt").read_text() == "three years of work"


def test_an_empty_folder_becomes_the_environment(target, locks):
    target.mkdir(parents=True)

    assert (builder.build(target, None, print, locks=locks).path / STAMP_NAME).is_file()


def test_the_base_interpreter_can_be_chosen(target, locks):
    base = Path(sys._base_executable)  # type: ignore[attr-defined]

    assert builder.build(target, base, print, locks=locks).python.resolve() == base.resolve()


SAYS = (
    '{"version": %s, "implementation": "%s", "folders": [], '
    '"base_executable": "/x", "packages": {}}'
)


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo hello", "is not a Python interpreter"),
        ("echo 'ImportError: no module' >&2; exit 1", "ImportError: no module"),
        (f"echo '{SAYS % ('[3, 9, 2]', 'cpython')}'", "this one is 3.9"),
        (f"echo '{SAYS % ('[3, 11, 2]', 'pypy')}'", "needs CPython"),
    ],
)
def test_an_unfit_python_is_refused_by_name(tmp_path, target, locks, script, message):
    python = program(tmp_path / "python", script)

    with pytest.raises(SetupError, match=re.escape(message)):
        builder.build(target, python, print, locks=locks)


def test_a_python_that_is_not_there_is_refused(tmp_path, target, locks):
    with pytest.raises(SetupError, match="cannot be run"):
        builder.build(target, tmp_path / "python", print, locks=locks)


def test_no_network_says_so_and_what_to_do(tmp_path, target, locks, monkeypatch):
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    for name in ("UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_OFFLINE"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(SetupError, match="index cannot be reached"):
        builder.build(target, None, print, locks=locks)

    assert leftovers(target) == []


def test_a_target_that_cannot_be_written_says_so(tmp_path, locks):
    (tmp_path / "file").touch()

    with pytest.raises(SetupError, match="--env"):
        builder.build(tmp_path / "file" / "env", None, print, locks=locks)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=200", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_says_so_and_leaves_nothing(small_disk, tmp_path):
    locks = write_lock(tmp_path / "locks", "sympy", "mpmath")

    with pytest.raises(SetupError, match="disk is full"):
        builder.build(small_disk / "env", None, print, locks=locks)

    assert leftovers(small_disk / "env") == []
