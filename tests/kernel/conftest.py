"""Kernels for the tests of this room: real processes, real sockets, no wall."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.doubles.kernel_process import KernelProcess


@pytest.fixture(scope="session")
def python() -> str:
    """An interpreter with the standard library; another version's with SANDERLING_TEST_PYTHON."""
    return os.environ.get("SANDERLING_TEST_PYTHON", sys.executable)


@pytest.fixture
def kernel(python: str, tmp_path: Path) -> Iterator[KernelProcess]:
    """A fresh kernel; whatever the test did to it, it must still end when it is told to."""
    with KernelProcess(python, tmp_path) as made:
        yield made


@pytest.fixture
def doomed(python: str, tmp_path: Path) -> Iterator[KernelProcess]:
    """A fresh kernel that the test will end, or break."""
    made = KernelProcess(python, tmp_path)
    yield made
    made.kill()


@pytest.fixture(scope="module")
def science(
    guest_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KernelProcess]:
    """A kernel with the libraries of the guest environment; one for all tests of a module."""
    folder = tmp_path_factory.mktemp("data")
    names = ("numpy", "pandas", "matplotlib.pyplot", "PIL.Image")
    with KernelProcess(guest_python, folder, preload=names) as made:
        yield made


@pytest.fixture
def start_bare(guest_python: Path, tmp_path: Path) -> Iterator[Callable[[], KernelProcess]]:
    """Starts a kernel of the guest environment that has imported none of its libraries."""
    made: list[KernelProcess] = []

    def start() -> KernelProcess:
        made.append(KernelProcess(guest_python, tmp_path))
        return made[-1]

    yield start
    for kernel in made:
        kernel.close()
