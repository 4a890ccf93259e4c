"""Peers that are no CPython of their own: an interpreter written in Python, and one in Rust."""

from __future__ import annotations

from typing import Any

from bench.peers.base import CellFailed, Peer, Place, Session, Venv
from bench.peers.processes import package_version


class Smolagents(Peer):
    key, title, isolation = "smolagents", "smolagents LocalPythonExecutor", "none (in process)"
    python = Venv("smolagents", ("smolagents==1.26.0",))
    is_blocking = False  # 20 at once in one process are 20 in turn
    starts_loaded = True
    remark = (
        "It walks the syntax tree in the caller's own process, and says itself that it is no "
        "sandbox; libraries are those of the caller, loaded once."
    )
    cannot = {"memory": "no process of its own"}

    async def session(self) -> Session:
        from smolagents.local_python_executor import LocalPythonExecutor

        libraries = ["pandas", "numpy", "matplotlib", "matplotlib.pyplot", "io", "base64"]
        return _TreeWalker(LocalPythonExecutor(libraries))

    def version(self) -> str:
        return package_version("smolagents")


class _TreeWalker:
    def __init__(self, executor: Any) -> None:
        self._executor = executor
        executor.send_tools({})

    async def run(self, code: str) -> str:
        return str(self._executor(code).logs)

    async def close(self) -> None:
        pass


class Monty(Peer):
    key, title, isolation = "monty", "pydantic-monty", "own interpreter, worker process"
    python = Venv("monty", ("pydantic-monty==1.4.0",), has_libraries=False)
    has_libraries = False
    remark = "A subset of Python in Rust, taken from a pool; memory is without any library."
    cannot = {
        "imports": "it runs no C extensions: pandas is impossible",
        "plot": "it runs no C extensions: matplotlib is impossible",
    }

    async def open(self, place: Place) -> None:
        from pydantic_monty import Monty as Pool

        self._pool = Pool(max_processes=32)
        self._pool.__enter__()

    async def session(self) -> Session:
        return _MontySession(self._pool.checkout())

    async def close(self) -> None:
        self._pool.__exit__(None, None, None)

    def version(self) -> str:
        return package_version("pydantic-monty")


class _MontySession:
    def __init__(self, session: Any) -> None:
        self._session = session
        session.__enter__()

    async def run(self, code: str) -> str:
        printed: list[str] = []
        try:
            self._session.feed_run(code, print_callback=lambda _, text: printed.append(text))
        except Exception as error:
            raise CellFailed(str(error)) from error
        return "".join(printed)

    async def close(self) -> None:
        self._session.__exit__(None, None, None)
