"""Named environments of tiny packages, from an index of our own."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sanderling.environments import making
from sanderling.environments.catalog import Catalog, Named
from sanderling.environments.making import LOCK_NAME, Wish
from sanderling.errors import SetupError
from tests.environments.wheels import offline, sdist, wheel


class Workshop:
    """A folder of environments, an index, and what was said while one was built."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "environments"
        self.index = root / "index"
        self.there = Catalog(self.folder)
        self.said: list[str] = []
        wheel(self.index, "plum")
        wheel(self.index, "pear")

    def make(self, requirements: str = "plum\n", **options: object) -> Named:
        known = ("preload", "is_upgrade", "is_bare", "name")
        fields = {k: options.pop(k) for k in known if k in options}
        wish = replace(Wish(name="a", requirements=requirements, is_bare=True), **fields)
        self.said.clear()
        return making.make(wish, self.there, self.said.append, **options)

    def lock(self) -> str:
        return (self.folder / "a" / LOCK_NAME).read_text()

    def left(self) -> list[str]:
        return sorted(p.name for p in self.folder.iterdir() if not p.name.endswith(".lock"))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    made = Workshop(tmp_path)
    for name, value in offline(made.index).items():
        monkeypatch.setenv(name, value)
    return made


def test_it_holds_what_was_asked_for_and_its_papers(workshop: Workshop):
    made = workshop.make("plum\npear>=1\n", preload="plum")
    assert made.environment is not None
    ran = [made.environment.python, "-I", "-c", "import plum, pear; print(plum.__file__)"]
    where = subprocess.check_output(ran, text=True)

    assert dict(made.environment.packages) == {"plum": "1.0", "pear": "1.0"}
    assert where.startswith(str(workshop.folder / "a"))
    assert workshop.lock().count("--hash=sha256:") == 2
    assert (made.record.requirements, made.record.preload) == ("plum\npear>=1\n", "plum")
    assert made.record.bytes > 0
    assert workshop.left() == ["a"]
    assert workshop.there.names() == ["default", "a"]


def test_a_name_that_is_taken_is_refused_and_says_how_to_replace_it(workshop: Workshop):
    first = workshop.make()
    with pytest.raises(SetupError, match="--replace"):
        workshop.make("pear\n")

    assert workshop.there.get("a") == first


def test_a_rebuild_is_exact_until_an_upgrade_is_asked_for(workshop: Workshop):
    workshop.make()
    wheel(workshop.index, "plum", "2.0")
    again = workshop.make(may_replace=True)
    newer = workshop.make(may_replace=True, is_upgrade=True)

    assert again.environment is not None
    assert newer.environment is not None
    assert again.environment.packages == {"plum": "1.0"}
    assert newer.environment.packages == {"plum": "2.0"}
    assert workshop.left() == ["a"]


def test_a_package_whose_hash_is_given_is_that_one_or_nothing_is_installed(workshop: Workshop):
    [file] = (workshop.index / "plum").glob("*.whl")
    right = digest(file)
    with pytest.raises(SetupError, match="not the one whose hash"):
        workshop.make(f"plum==1.0 --hash=sha256:{'0' * 64}\n")
    assert workshop.there.names() == ["default"]
    workshop.make(f"plum==1.0 --hash=sha256:{right} --hash=sha256:{'0' * 64}\npear\n")

    assert workshop.lock().count("--hash=") == 3
    assert right in workshop.lock()


def test_it_has_what_the_default_environment_has_and_be_it_from_source(workshop: Workshop):
    locks = workshop.folder.parent / "locks"
    locks.mkdir()
    [pear] = (workshop.index / "pear").glob("*.whl")
    pins = {
        "python-{}.{}".format(*sys.version_info): ("pear", digest(pear)),
        "source": ("quince", sdist(workshop.index, "quince")),
        "build": ("nothing", "0" * 64),
    }
    for name, (package, hashed) in pins.items():
        (locks / f"{name}.txt").write_text(f"{package}==1.0 \\\n    --hash=sha256:{hashed}\n")
    made = workshop.make(locks=locks, is_bare=False)
    bare = workshop.make(locks=locks, may_replace=True)

    assert made.environment is not None
    assert bare.environment is not None
    assert sorted(made.environment.packages) == ["pear", "plum", "quince"]
    assert sorted(bare.environment.packages) == ["plum"]


def test_a_failed_build_leaves_what_was_there_and_what_it_had_resolved(workshop: Workshop):
    old = workshop.make()
    with pytest.raises(SetupError, match="no module 'peach'"):
        workshop.make("pear\n", may_replace=True, preload="peach")
    there = workshop.there.get("a")
    wheel(workshop.index, "pear", "2.0")
    made = workshop.make("pear\n", may_replace=True)

    assert there == old
    assert any("again" in line for line in workshop.said)
    assert made.environment is not None
    assert made.environment.packages == {"pear": "1.0"}
    assert workshop.left() == ["a"]


def test_an_upgrade_resolves_again_after_a_failed_build_and_binds_nobody_who_asks_for_none(
    workshop: Workshop,
):
    workshop.make()
    for version in ("2.0", "3.0"):
        wheel(workshop.index, "plum", version)
        with pytest.raises(SetupError, match="no module 'peach'"):
            workshop.make(may_replace=True, is_upgrade=True, preload="peach")
    exact = workshop.make(may_replace=True)
    with pytest.raises(SetupError, match="no module 'peach'"):
        workshop.make(may_replace=True, preload="peach")
    newest = workshop.make(may_replace=True, is_upgrade=True)

    assert exact.environment is not None
    assert newest.environment is not None
    assert exact.environment.packages == {"plum": "1.0"}
    assert newest.environment.packages == {"plum": "3.0"}


def test_a_plan_is_removed_before_the_next_of_the_name_may_begin(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
):
    was_at_work: list[bool] = []
    rmtree = shutil.rmtree

    def look(path: Path, **options: bool) -> None:
        if Path(path).name == ".a.plan":
            was_at_work.append(workshop.there.is_at_work("a"))
        rmtree(path, **options)

    monkeypatch.setattr(shutil, "rmtree", look)
    workshop.make()

    assert was_at_work == [True]


def test_what_a_failed_build_left_can_be_removed(workshop: Workshop):
    with pytest.raises(SetupError, match="no module 'peach'"):
        workshop.make(preload="peach")
    left = workshop.left()
    workshop.there.remove("a", is_forced=False, progress=print)

    assert left == [".a.plan"]
    assert workshop.left() == []
    with pytest.raises(SetupError, match="There are none yet"):
        workshop.there.remove("a", is_forced=False, progress=print)


def test_what_is_wrong_with_a_listener_is_not_told_as_a_fault_of_the_disk(workshop: Workshop):
    def broken(line: str) -> None:
        if line.startswith("Compiling"):
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        making.make(Wish("a", "plum\n", is_bare=True), workshop.there, broken)
    assert workshop.left() == [".a.plan"]


def test_what_killed_builds_of_any_name_left_is_swept(workshop: Workshop):
    (workshop.folder / ".b.building-dead" / "lib").mkdir(parents=True)
    workshop.make()

    assert workshop.left() == ["a"]


def test_a_module_that_is_not_there_is_not_preloaded_and_one_below_a_package_is(
    workshop: Workshop,
):
    files = {"fig/__init__.py": "raise SystemExit('imported')\n", "fig/leaf.py": ""}
    wheel(workshop.index, "fig", files=files)
    made = workshop.make("fig\n", preload="fig.leaf, json.decoder")

    assert made.record.preload == "fig.leaf, json.decoder"
    with pytest.raises(SetupError, match=r"no module 'fig\.root'"):
        workshop.make("fig\n", may_replace=True, preload="fig.root")


def test_nothing_of_a_package_runs_while_it_is_installed(workshop: Workshop, tmp_path: Path):
    trace = tmp_path / "trace"
    leave = f"import os; open({str(trace)!r}, 'a').write('ran ')\n"
    wheel(
        workshop.index,
        "quince",
        files={"quince.pth": leave, "sitecustomize.py": leave, "quince.py": leave},
    )
    workshop.make("quince\n", preload="quince")

    assert not trace.exists()


@pytest.mark.parametrize("path", ["bin/python", "pyvenv.cfg"])
def test_a_package_that_takes_the_place_of_python_is_not_installed(workshop: Workshop, path: str):
    wheel(workshop.index, "medlar", files={f"medlar-1.0.data/data/{path}": "#!/bin/false\n"})

    with pytest.raises(SetupError):
        workshop.make("medlar\n")
    assert workshop.there.names() == ["default"]


def test_a_removed_environment_is_gone_and_its_name_free(workshop: Workshop):
    workshop.make()
    workshop.there.remove("a", is_forced=False, progress=print)

    assert workshop.left() == []
    with pytest.raises(SetupError, match="There are none yet"):
        workshop.there.get("a")
    workshop.make()


def test_an_environment_whose_python_is_gone_is_listed_and_can_be_removed(workshop: Workshop):
    workshop.make()
    shutil.rmtree(workshop.folder / "a" / "bin")
    [found] = workshop.there.all()
    workshop.there.remove("a", is_forced=False, progress=print)

    assert found.environment is None
    assert workshop.there.all() == []


@pytest.mark.parametrize("name", ["", "A", "a b", "../a", "-a", "a-", "default", "x" * 41, ".a"])
def test_a_name_that_is_none_is_refused(workshop: Workshop, name: str):
    with pytest.raises(SetupError):
        workshop.make(name=name)


def test_a_folder_that_is_no_environment_is_left_alone(workshop: Workshop):
    (workshop.folder / "a").mkdir(parents=True)
    (workshop.folder / "a" / "mine.txt").write_text("x")
    for options in ({}, {"may_replace": True, "is_forced": True}):
        with pytest.raises(SetupError, match="left alone"):
            workshop.make(**options)

    assert os.listdir(workshop.folder / "a") == ["mine.txt"]


def test_it_is_built_for_the_python_that_is_named(workshop: Workshop):
    wish = Wish(name="a", requirements="plum\n", python=Path(sys.executable), is_bare=True)
    made = making.make(wish, workshop.there, workshop.said.append)

    assert made.environment is not None
    assert made.environment.python_version == ".".join(map(str, sys.version_info[:3]))
