"""
Builds a named environment from a requirements file: resolve once, then install exactly that.

Step by step, each of which may be interrupted: the requirements are resolved into a lock with the
hash of every file, which is kept beside the goal until the build is done, so that it is taken up
again where it was; then wheels are installed from the lock in a folder of its own; then the folder
gets its name in one rename. The lock stays in the environment, and a rebuild is exact.

Nothing of a package runs on this machine, neither now nor when boxes are made: only wheels are
installed (and what the default environment has from source, at its pinned hash), the environment's
Python is asked what it is before they are, byte code is written by the Python it is built on, and
that one is started for boxes too (`wall/activation.py`). The packages' code runs behind the wall or
not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.machinery import PathFinder
from pathlib import Path

from sanderling.environments import (
    builder,
    catalog,
    environment,
    locate,
    lock,
    preloads,
    staging,
)
from sanderling.environments import requirements as requirements_module
from sanderling.environments.catalog import Catalog, Named, Record
from sanderling.environments.commands import run_uv
from sanderling.environments.environment import Facts
from sanderling.errors import SetupError

LOCK_NAME = "requirements.lock"
# Raise it when this module makes another environment from the same lock.
_MAKER_VERSION = 2
_PINNED = re.compile(r"^(?P<pin>[A-Za-z0-9][^\s\\]*==[^\s\\]+(?:\s*;[^\\]*)?)", re.MULTILINE)

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """
    An environment that somebody wants.

    requirements: the text of the requirements file (`requirements.read`).
    python: base interpreter; None: the one that this runs on.
    preload: the modules to load before boxes are forked (`preloads.parse`); None: the usual list.
    is_bare: from the requirements alone; else with the default packages, at their locked versions.
    is_upgrade: resolve again, even if an environment of the same wish is replaced, or a build of it
        was interrupted.
    """

    name: str
    requirements: str
    python: Path | None = None
    preload: str | None = None
    is_bare: bool = False
    is_upgrade: bool = False


def make(
    wish: Wish,
    there: Catalog,
    progress: Progress,
    *,
    may_replace: bool = False,
    is_forced: bool = False,
    locks: Path = lock.LOCKS,
) -> Named:
    """
    Build the environment that `wish` describes and return it.

    Args:
        may_replace: an environment of that name may be there; it stands until this one is whole.
        is_forced: it is replaced though boxes use it.

    Raises:
        SetupError: it cannot be built; what was there before is as it was. Says what to do.
    """
    target = there.path(wish.name)
    preloads.parse(wish.preload or "")
    base, version = builder.base_interpreter(wish.python)
    defaults = lock.for_python(version, locks)
    there.sweep()
    with staging.alone(target, progress, advice=catalog.ADVICE):
        old = _old(target, may_replace=may_replace)
        if not is_forced:
            # Looked at now, so that nobody waits for a build that cannot end well.
            catalog.check_unused(target, so="replace")
        locked = _lock(wish, target, old, base, version, defaults, progress)
        with staging.folder_beside(target) as stage:
            _fill(stage, target, wish, locked, base, progress)
            staging.make_readable(stage)
            with catalog.unused(target, is_forced=is_forced, so="replace"):
                staging.put_in_place(stage, target)
        # Before others may begin, who make a plan of their own there.
        shutil.rmtree(locked.path.parent, ignore_errors=True)
    progress(f"The environment {wish.name!r} is ready")
    return there.get(wish.name)


def _old(target: Path, *, may_replace: bool) -> Path | None:
    """Return where the environment that is to be replaced is, if there is one."""
    if not os.path.lexists(target):
        return None
    if not (target / environment.STAMP_NAME).is_file():
        raise SetupError(f"{target} exists and is not an environment, so it is left alone.")
    if not may_replace:
        raise SetupError(
            f"There is an environment {target.name!r} already. Build it anew with --replace, or "
            "choose another name."
        )
    return target


# ---- the lock ----------------------------------------------------------------------------------


def _lock(
    wish: Wish,
    target: Path,
    old: Path | None,
    base: Path,
    version: tuple[int, int],
    defaults: lock.Lock,
    progress: Progress,
) -> lock.Lock:
    """
    Return the lock for the wish: the old one, else that of an interrupted build, else a new one.

    Whoever asks for newer versions gets a new one, also after an upgrade that failed; and who then
    does not ask for them has the old one still.
    """
    plan = catalog.plan_folder(target)
    digest = _digest(wish, version, "" if wish.is_bare else defaults.digest)
    locked = lock.Lock(path=plan / LOCK_NAME, digest=digest)
    if not wish.is_bare:
        locked = replace(locked, source=defaults.source, build=defaults.build)
    stated = plan / "digest"
    try:
        plan.mkdir(exist_ok=True)
        if old is not None and not wish.is_upgrade and _has_lock_of(old, digest):
            progress("The requirements are the same, so the lock is used again (--upgrade: not)")
            shutil.copyfile(old / LOCK_NAME, locked.path)
        elif not wish.is_upgrade and locked.path.is_file() and _text_of(stated) == digest:
            progress("Taking up the interrupted build again, with what it had resolved")
        else:
            stated.unlink(missing_ok=True)
            (plan / "requirements.txt").write_text(wish.requirements)
            _resolve(wish, plan, base, version, defaults, progress)
        stated.write_text(digest)
    except OSError as error:
        raise SetupError(f"{plan} cannot be written: {error.strerror}.") from error
    return locked


def _resolve(
    wish: Wish,
    plan: Path,
    base: Path,
    version: tuple[int, int],
    defaults: lock.Lock,
    progress: Progress,
) -> None:
    progress("Resolving the requirements")
    sources = [plan / "requirements.txt"]
    if not wish.is_bare:
        pins = [found["pin"].strip() for found in _PINNED.finditer(defaults.path.read_text())]
        (plan / "defaults.txt").write_text("\n".join(pins) + "\n")
        sources.append(plan / "defaults.txt")
    python_version = f"{version[0]}.{version[1]}"
    unfinished = plan / "unfinished.lock"
    unfinished.unlink(missing_ok=True)  # uv would prefer the versions in it
    options = ["--generate-hashes", "--no-build", "--no-header", "--no-annotate", "--quiet"]
    run_uv(
        ["pip", "compile", *options, "--python", base, "--output-file", unfinished, *sources],
        progress,
        explain=lambda said: requirements_module.explain(
            said, python_version=python_version, is_bare=wish.is_bare
        ),
    )
    pinned = requirements_module.pin_hashes(unfinished.read_text(), wish.requirements)
    unfinished.write_text(pinned)
    unfinished.replace(plan / LOCK_NAME)


def _digest(wish: Wish, version: tuple[int, int], defaults_digest: str) -> str:
    """Return the digest of all that decides what the wish resolves to."""
    decisive = [_MAKER_VERSION, wish.requirements, version, platform.machine(), defaults_digest]
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()


def _has_lock_of(folder: Path, digest: str) -> bool:
    """Whether the environment in `folder` has a lock that a wish of this digest resolved to."""
    record = catalog.record_in(folder)
    return record is not None and record.digest == digest and (folder / LOCK_NAME).is_file()


def _text_of(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


# ---- the folder --------------------------------------------------------------------------------


def _fill(
    stage: Path, target: Path, wish: Wish, locked: lock.Lock, base: Path, progress: Progress
) -> None:
    """Build the environment in `stage`, to be used as `target`."""
    python = environment.python_of(stage)

    # Step 1: an empty environment, and what its Python says of itself while it is.
    progress(f"Building the environment {wish.name!r} with {base}")
    run_uv(["venv", "--quiet", "--relocatable", "--no-project", "--python", base, stage], progress)
    facts = environment.ask_python(python)
    before = _start_of(stage)

    # Step 2: the locked packages.
    builder.install(python, locked, progress)
    site = _site_packages(stage, facts)
    if _start_of(stage) != before:
        raise SetupError(
            "One of the packages puts itself in the place of the environment's own Python, so "
            "nothing was installed."
        )
    _check_preload(preloads.parse(wish.preload or "").required, site)

    # Step 3: what a read-only environment cannot write later.
    progress("Compiling to byte code")
    staging.compile_to_bytecode(base, stage, target)
    facts = replace(facts, packages=_packages(site))
    if "matplotlib" in facts.packages:
        _take_fonts(stage, facts, progress)

    # Step 4: its papers.
    with staging.writing(target.parent):
        shutil.copyfile(locked.path, stage / LOCK_NAME)
        record = Record(
            name=wish.name,
            requirements=wish.requirements,
            is_bare=wish.is_bare,
            preload=wish.preload,
            digest=locked.digest,
            built_at=time.time(),
            bytes=size_of(stage),
        )
        digest = locked.digest
        environment.write_stamp(stage, facts, lock_digest=digest, named=asdict(record))


def _start_of(stage: Path) -> dict[str, str]:
    """Return what decides which program the environment's Python is and where it finds itself."""
    links = {
        path.name: os.readlink(path) if path.is_symlink() else "a file"
        for path in (stage / "bin").iterdir()
        if path.name.startswith("python")
    }
    return {**links, "pyvenv.cfg": (stage / "pyvenv.cfg").read_text(errors="replace")}


def _site_packages(stage: Path, facts: Facts) -> Path:
    major, minor, _ = facts.version
    return stage / "lib" / f"python{major}.{minor}" / "site-packages"


def _check_preload(names: Sequence[str], site: Path) -> None:
    """Raise SetupError for a module that is not there. Nothing is imported."""
    absent = [name for name in names if not _is_there(name, site)]
    if absent:
        raise SetupError(
            f"There is no module {absent[0]!r} in the environment, so it cannot be preloaded; "
            "--preload takes names to import, which may differ from those of packages."
        )


def _is_there(name: str, site: Path) -> bool:
    top, *below = name.split(".")
    if top in sys.stdlib_module_names:
        return True
    spec = PathFinder.find_spec(top, [str(site)])
    for part in below:
        if spec is None or spec.submodule_search_locations is None:
            return False
        spec = PathFinder.find_spec(f"{spec.name}.{part}", list(spec.submodule_search_locations))
    return spec is not None


def _packages(site: Path) -> dict[str, str]:
    found = importlib.metadata.distributions(path=[str(site)])
    return {item.metadata["Name"].lower(): item.version for item in found}


def _take_fonts(stage: Path, facts: Facts, progress: Progress) -> None:
    """Copy the font cache of the default environment: making one would run this one's packages."""
    with contextlib.suppress(SetupError, OSError):
        default = locate.find(None)
        same = default.packages.get("matplotlib") == facts.packages["matplotlib"]
        if same and default.mpl_config.is_dir():
            progress("Taking over matplotlib's fonts")
            shutil.copytree(default.mpl_config, environment.mpl_config_of(stage))
            return
    progress("matplotlib will look for fonts whenever the environment is started")


def size_of(folder: Path) -> int:
    """Return how many bytes the files below `folder` have."""
    return sum(
        os.lstat(os.path.join(top, name)).st_size
        for top, _, names in os.walk(folder)
        for name in names
    )
