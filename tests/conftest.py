"""What tests of every room share: a guest environment, and a user without rights."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from sanderling.environments import builder, locate
from sanderling.environments.environment import Environment
from tests.plain_user import PlainServer, PlainUser, SubuidUser, server_for
from tests.plain_user import plain_user as make_plain_user
from tests.plain_user import subuid_user as make_subuid_user

# No example is timed: on a busy machine any of them may take a second.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def guest_env() -> Environment:
    """The guest environment: SANDERLING_ENV if set, else the checkout's, built if need be."""
    if named := os.environ.get("SANDERLING_ENV"):
        return locate.find(Path(named))
    return builder.build(locate.default_env_dir(), None, print)


@pytest.fixture
def short_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like tmp_path, of a name that leaves room for a socket's."""
    return tmp_path_factory.mktemp("s")


@pytest.fixture(scope="session")
def guest_python(guest_env: Environment) -> Path:
    """The guest environment's interpreter."""
    return guest_env.python


@pytest.fixture(scope="session")
def plain_user() -> Iterator[PlainUser]:
    """A user without rights (see tests/plain_user.py); skips where we cannot become one."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with make_plain_user() as user:
        yield user


@pytest.fixture(scope="session")
def subuid_user() -> Iterator[SubuidUser]:
    """The plain user with a range of subordinate uids; skips where there is no newuidmap."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    if shutil.which("newuidmap") is None:
        pytest.skip("newuidmap is missing: apt install uidmap")
    with make_subuid_user() as user:
        yield user


@pytest.fixture(scope="session", params=["single", "subuid"])
def each_plain_user(request: pytest.FixtureRequest) -> PlainUser:
    """The plain user, without and with a range of uids for boxes."""
    user: PlainUser = request.getfixturevalue(
        "plain_user" if request.param == "single" else "subuid_user"
    )
    return user


@pytest.fixture(scope="session")
def plain_server(plain_user: PlainUser, guest_env: Environment) -> PlainServer:
    """A server and a guest environment that the plain user can read."""
    server = server_for(plain_user, guest_env)
    if server is None:
        pytest.skip("no supported Python that a plain user can run; install one in /usr/bin")
    return server
