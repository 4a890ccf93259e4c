"""A plugin of the pytest that runs openai-python's tests: has everything put there before each."""

from __future__ import annotations

import os
import socket


def pytest_runtest_setup() -> None:
    address = ("127.0.0.1", int(os.environ["SEEDER_PORT"]))
    with socket.create_connection(address, timeout=30) as connection:
        assert connection.recv(2) == b"ok"
