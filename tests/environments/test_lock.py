import itertools
import re
import tomllib
from pathlib import Path

import pytest

from sanderling.environments import lock
from sanderling.errors import SetupError

TOP = Path(__file__).resolve().parents[2]
LOCKS = sorted(lock.LOCKS.rglob("*.txt"))
PROFILES = [
    (profile, path)
    for profile in lock.PROFILES
    for path in sorted(lock.folder_of(profile).glob("python-*.txt"))
]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(path: Path) -> set[str]:
    """The names in a file of requirements, and in those it includes."""
    names: set[str] = set()
    for line in path.read_text().splitlines():
        if line.startswith("-r "):
            names |= requirements(path.with_name(line[3:]))
        elif line and not line.startswith("#"):
            names.add(canonical(re.split(r"[<>=]", line)[0]))
    return names


def test_there_is_a_lock_for_every_python_the_package_supports():
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    prefix = "Programming Language :: Python :: 3."
    minors = [c.removeprefix(prefix) for c in project["classifiers"] if c.startswith(prefix)]

    assert lock.supported() == tuple((3, int(minor)) for minor in minors)


@pytest.mark.parametrize(("profile", "path"), PROFILES)
def test_every_requirement_is_locked(profile, path):
    assert requirements(lock.requirements_of(profile)) <= set(map(canonical, lock.pinned(path)))


@pytest.mark.parametrize("profile", lock.PROFILES)
def test_what_is_built_from_source_and_what_builds_it_is_locked(profile):
    folder = lock.folder_of(profile)

    assert set(lock.pinned(folder / "source.txt")) == requirements(lock.SOURCE_REQUIREMENTS)
    assert set(lock.pinned(folder / "build.txt")) == requirements(lock.BUILD_REQUIREMENTS)


@pytest.mark.parametrize(("profile", "path"), PROFILES)
def test_what_is_built_from_source_finds_what_it_needs(profile, path):
    # It is installed without its dependencies: odfpy imports defusedxml.
    assert set(lock.pinned(lock.folder_of(profile) / "source.txt")) == {"odfpy"}
    assert "defusedxml" in lock.pinned(path)


@pytest.mark.parametrize("path", LOCKS, ids=str)
def test_every_pinned_package_has_a_hash(path):
    lines = path.read_text().splitlines()

    unhashed = [
        line
        for line, after in itertools.pairwise(lines)
        if "==" in line and not after.startswith("    --hash=sha256:")
    ]

    assert unhashed == []


@pytest.mark.parametrize("path", [*LOCKS, TOP / "uv.lock"], ids=str)
def test_no_lock_names_an_address_that_others_do_not_have(path):
    addresses = set(re.findall(r"\w+://[^/\s\"']+", path.read_text()))

    assert addresses <= {"https://pypi.org", "https://files.pythonhosted.org"}
    assert "/opt/" not in path.read_text()


def test_a_python_without_a_lock_is_refused_with_the_ones_that_have_one():
    with pytest.raises(SetupError, match=r"3\.11, 3\.12, 3\.13; this one is 3\.9"):
        lock.for_python((3, 9))


def test_the_digest_changes_with_the_lock(tmp_path):
    (tmp_path / "python-3.11.txt").write_text("one")
    before = lock.for_python((3, 11), tmp_path).digest
    (tmp_path / "python-3.11.txt").write_text("two")

    assert lock.for_python((3, 11), tmp_path).digest != before


def test_uv_lock_was_made_from_this_pyproject():
    project = tomllib.loads((TOP / "pyproject.toml").read_text())
    packages = tomllib.loads((TOP / "uv.lock").read_text())["package"]
    (own,) = (package for package in packages if package["name"] == "sanderling")
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]

    locked = [*own["metadata"]["requires-dist"], *own["metadata"]["requires-dev"]["dev"]]

    def parts(text: str) -> tuple[str, frozenset[str]]:
        name, specifier = re.fullmatch(r"([\w-]+)(?:\[\w+\])?(.*)", text).groups()
        return name, frozenset(specifier.split(","))

    assert {(item["name"], frozenset(item["specifier"].split(","))) for item in locked} == {
        parts(text) for text in wanted
    }
