"""
Finds the guest environment to run code with.

In a checkout it is `.sanderling/env` there, which `make setup` builds; otherwise a folder of the
user's own data. So several checkouts do not meet, and a user who may not write the checkout builds
an own one.
"""

from __future__ import annotations

import os
from pathlib import Path

from sanderling.environments import environment, lock
from sanderling.environments.environment import Environment
from sanderling.errors import SetupError


def default_env_dir() -> Path:
    """Return the folder where `sanderling setup` builds the environment."""
    checkout = _checkout()
    if checkout is not None and os.access(checkout, os.W_OK):
        return _in_checkout(checkout)
    return _in_user_data()


def find(settings_env: Path | None) -> Environment:
    """
    Return the environment to use.

    Args:
        settings_env: the folder the operator named: used as it is, whoever built it and from
            whatever lock. None looks where `sanderling setup` builds, and takes an environment of
            a current lock only, of whatever profile.

    Raises:
        SetupError: there is none; says what to run.
    """
    if settings_env is not None:
        return _named(Path(os.path.abspath(settings_env.expanduser())))
    checkout = _checkout()
    places = [_in_checkout(checkout), _in_user_data()] if checkout else [_in_user_data()]
    outdated: Path | None = None
    for place in places:
        found = environment.read(place)
        if found is None:
            continue
        built, facts = found
        if built.lock_digest in lock.current_digests(facts.version[:2]):
            return built
        outdated = outdated or place
    if outdated is not None:
        raise SetupError(
            f"The guest environment in {outdated} is of another version of Sanderling. "
            f"Run `sanderling setup` to build the current one."
        )
    raise SetupError(
        "There is no guest environment yet. Run `sanderling setup` to build it; it takes one or "
        "two minutes. (To use one from elsewhere, name its folder with --env.)"
    )


def _named(folder: Path) -> Environment:
    """Return the environment in `folder`: one of ours, or any virtual environment."""
    found = environment.read(folder)
    if found is not None:
        return found[0]
    python = environment.python_of(folder)
    if not python.exists():
        raise SetupError(
            f"{folder} is not a Python environment (there is no bin/python). "
            f"Run `sanderling setup --env {folder}` to build one there."
        )
    return environment.describe(folder, environment.ask_python(python), lock_digest=None)


def _checkout() -> Path | None:
    """Return the top folder of the source tree this package runs from; None if installed."""
    package = Path(__file__).resolve().parents[1]
    top = package.parents[1]
    is_checkout = package.parent.name == "src" and (top / "pyproject.toml").is_file()
    return top if is_checkout else None


def _in_checkout(top: Path) -> Path:
    return top / ".sanderling" / "env"


def _in_user_data() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local/share")
    return Path(base) / "sanderling" / "env"
