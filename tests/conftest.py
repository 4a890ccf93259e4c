"""What tests of every room share: a guest environment, and a user without rights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sanderling.environments import builder, locate
from sanderling.environments.environment import Environment
from tests.plain_user import PlainServer, PlainUser, server_for
from tests.plain_user import plain_user as make_plain_user


@pytest.fixture(scope="session")
def guest_env() -> Environment:
    """The guest environment: SANDERLING_ENV if set, else the checkout's, built if need be."""
    if named := os.environ.get("SANDERLING_ENV"):
        return locate.find(Path(named))
    return builder.build(locate.default_env_dir(), None, print)


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
def plain_server(plain_user: PlainUser, guest_env: Environment) -> PlainServer:
    """A server and a guest environment that the plain user can read."""
    server = server_for(plain_user, guest_env)
    if server is None:
        pytest.skip("no supported Python that a plain user can run; install one in /usr/bin")
    return server
