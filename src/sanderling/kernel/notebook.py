"""`get_ipython()`: what code that was written for notebooks asks of the one it runs in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sanderling.kernel import shell
from sanderling.kernel.magics import Evaluator, Magics


class Notebook:
    """The part of IPython's shell that cells use."""

    kernel = "sanderling"  # pandas and others take a shell that has one for a notebook's

    def __init__(self, session: Evaluator, magics: Magics) -> None:
        self._session, self._magics = session, magics
        self.events = _Events()

    @property
    def user_ns(self) -> dict[str, Any]:
        return self._session.names

    user_global_ns = user_ns

    @property
    def execution_count(self) -> int:
        return len(self._session.sources) - 1

    def run_line_magic(self, name: str, line: str, _stack_depth: int = 1) -> object:
        return self._magics.line(name, line)

    def run_cell_magic(self, name: str, line: str, cell: str) -> object:
        return self._magics.cell(name, line, cell)

    def magic(self, line: str) -> object:
        name, _, arguments = line.lstrip("%").partition(" ")
        return self._magics.line(name, arguments.strip())

    def system(self, command: str) -> None:
        self._magics.shell(command)

    def getoutput(self, command: str, **_options: Any) -> shell.SList:
        lines, self._session.names["_exit_code"] = shell.lines_of(command)
        return lines

    def run_cell(self, source: str, **_options: Any) -> object:
        return self._session.evaluate(source, is_shown=True)

    def ev(self, expression: str) -> object:
        return self._session.evaluate(expression, is_shown=False)

    ex = ev

    def push(self, names: dict[str, Any]) -> None:
        self._session.names.update(names)

    def reset(self, **_options: Any) -> None:
        self._session.reset()

    def set_next_input(self, text: str, replace: bool = False) -> None:
        """There is no next cell to be filled."""


class _Events:
    """Cells are not announced here: what is registered is not called."""

    def register(self, event: str, function: Callable[..., Any]) -> None:
        """Accept it."""

    unregister = trigger = register
