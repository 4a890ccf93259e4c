"""
Builds a guest environment: the locked packages, byte-compiled, in a folder of their own.

Everything is made in a folder beside the goal, which takes the goal's name in one rename when it is
complete. So an environment is whole or not there, a failed or interrupted build leaves the old one
untouched, and two builds at once do the work once. Built already means: built from the same lock on
the same interpreter.

Boxes mount the environment read-only, so whatever Python would write at first use is written here:
byte code (a box could not keep it, and importing pandas without it takes seconds) and matplotlib's
font cache.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from sanderling.environments import environment, lock, staging
from sanderling.environments.commands import run_python, run_uv
from sanderling.environments.environment import Environment, Facts
from sanderling.environments.lock import Lock
from sanderling.errors import SetupError

_ADVICE = "Name a folder that you may write with --env."


def build(
    target: Path,
    python: Path | None,
    progress: Callable[[str], None],
    *,
    profile: str | None = None,
    locks: Path | None = None,
) -> Environment:
    """
    Make sure a complete environment of the current lock stands in `target`, and return it.

    A second call returns in milliseconds. A server that still runs with an environment that is
    replaced here should be restarted.

    Args:
        target: folder of the environment; made with its parents, readable for everybody.
        python: base interpreter; None takes the one the server itself runs on.
        progress: called with a line of text when something worth telling happens.
        profile: which packages (`lock.PROFILES`); None: those of what stands there, else the usual.
        locks: folder with one `python-3.NN.txt` for each Python it can be built on, instead.

    Raises:
        SetupError: it cannot be built: the Python is unfit, no network, the disk is full, `target`
            cannot be written or holds something else. Says what to do.
    """
    target = Path(os.path.abspath(target.expanduser()))
    base, version = base_interpreter(python)
    profile = profile or _profile_in(target)
    wanted = lock.for_python(version, locks or lock.folder_of(profile))
    if found := _existing(target, wanted, base):
        return found
    with staging.alone(target, progress, advice=_ADVICE):
        if found := _existing(target, wanted, base):
            return found
        _refuse_foreign(target)
        with staging.folder_beside(target) as stage:
            facts = _fill(stage, target, wanted, base, progress)
            with staging.writing(target.parent):
                environment.write_stamp(stage, facts, lock_digest=wanted.digest, profile=profile)
            staging.make_readable(stage)
            staging.put_in_place(stage, target)
    progress(f"The guest environment is ready: {target}")
    return environment.describe(target, facts, lock_digest=wanted.digest)


def base_interpreter(python: Path | None) -> tuple[Path, tuple[int, int]]:
    """Return the real path of the base interpreter and its version (major, minor)."""
    if python is None:
        name, version = sys.implementation.name, sys.version_info[:2]
        # Not sys.executable, which inside a virtual environment is that environment's link.
        base = os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]  # noqa: SLF001
    else:
        facts = environment.ask_python(python)
        name, version, base = facts.implementation, facts.version[:2], facts.base_executable
    if name != "cpython":
        raise SetupError(f"The guest environment needs CPython; {base} is {name}.")
    return Path(base), version


def _profile_in(target: Path) -> str:
    found = environment.profile_in(target)
    return found if found in lock.PROFILES else lock.DEFAULT_PROFILE


def _existing(target: Path, wanted: Lock, base: Path) -> Environment | None:
    """Return the environment in `target` if it is the wanted one."""
    found = environment.read(target)
    if found is None:
        return None
    built, facts = found
    is_wanted = built.lock_digest == wanted.digest and Path(facts.base_executable) == base
    return built if is_wanted else None


def _refuse_foreign(target: Path) -> None:
    """Raise SetupError if `target` holds anything that a build of ours did not put there."""
    if not os.path.lexists(target) or (target / environment.STAMP_NAME).is_file():
        return
    if target.is_dir() and not any(target.iterdir()):
        return
    raise SetupError(
        f"{target} exists and is not a guest environment, so it is left alone. "
        f"Name another folder with --env."
    )


def _fill(
    stage: Path, target: Path, wanted: Lock, base: Path, progress: Callable[[str], None]
) -> Facts:
    """Build the environment in `stage`, to be used as `target`."""
    python = environment.python_of(stage)

    # Step 1: an empty environment. Relocatable: its scripts do not name the staging folder.
    progress(f"Building the guest environment with {base}")
    made = ["venv", "--quiet", "--relocatable", "--no-project", "--python"]
    run_uv([*made, base, stage], progress)

    # Step 2: the locked packages.
    install(python, wanted, progress)
    facts = environment.ask_python(python)

    # Step 3: what a read-only environment cannot write later.
    progress("Compiling to byte code")
    staging.compile_to_bytecode(python, stage, target)
    if "matplotlib" in facts.packages:
        progress("Preparing matplotlib's fonts")
        _bake_fonts(stage)
    return facts


def install(python: Path, wanted: Lock, progress: Callable[[str], None]) -> None:
    """
    Install what a lock pins, and nothing else, into the empty environment of `python`.

    All is ready-made, so that nothing of it runs on this machine; but what `wanted.source` pins, of
    which there are no wheels: its own script runs here, at the hash that we have read it at, before
    anything else is installed.
    """
    filled = ["pip", "sync", "--require-hashes", "--allow-empty-requirements"]
    filled += ["--only-binary", ":all:", "--python", str(python)]
    lists = [wanted.path]
    if wanted.source is not None and wanted.build is not None:
        for name in lock.pinned(wanted.source):
            filled += ["--no-binary", name]
        filled += ["--build-constraints", str(wanted.build)]
        lists.append(wanted.source)
    run_uv([*filled, *lists], progress)


def _bake_fonts(stage: Path) -> None:
    config = environment.mpl_config_of(stage)
    with staging.writing(stage.parent):
        config.mkdir(parents=True)
    # HOME: fonts in somebody's home folder are not there in a box. PATH: it asks `fc-list`.
    variables = {"MPLCONFIGDIR": str(config), "HOME": str(config), "PATH": os.defpath}
    run_python(environment.python_of(stage), ["-c", "import matplotlib.font_manager"], variables)
