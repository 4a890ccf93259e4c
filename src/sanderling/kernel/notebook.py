"""`get_ipython()`: what code that was written for notebooks asks of the one it runs in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from sanderling.kernel import tracebacks
from sanderling.kernel.formatters import FORMATTERS
from sanderling.kernel.magics import Evaluator, Magics
from sanderling.kernel.shell import SList


class Notebook:
    """The part of IPython's shell that cells use."""

    kernel = "sanderling"  # pandas and others take a shell that has one for a notebook's
    colors = "nocolor"
    display_formatter = FORMATTERS

    def __init__(self, session: Evaluator, magics: Magics) -> None:
        self._session, self._magics = session, magics
        self.events = _Events()
        self.config = Config(IPKernelApp=Config())  # code looks for it to know a notebook

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

    def getoutput(self, command: str, **_options: Any) -> SList:
        return self._magics.shell_lines(command)

    def run_cell(
        self, raw_cell: str, store_history: bool = False, silent: bool = False, **_options: Any
    ) -> ExecutionResult:
        """Run code as a part of the cell; an error of it is told, and the cell goes on."""
        del store_history
        result = ExecutionResult(self.execution_count)
        try:
            result.result = self._session.evaluate(raw_cell, is_shown=not silent)
        except Exception as error:  # noqa: BLE001 - whatever the code raises
            if isinstance(error, SyntaxError):
                result.error_before_exec = error
            else:
                result.error_in_exec = error
            sys.stderr.write(tracebacks.describe(error).text)
        return result

    @property
    def ast_node_interactivity(self) -> str:
        return self._session.interactivity or "last_expr"

    @ast_node_interactivity.setter
    def ast_node_interactivity(self, mode: str) -> None:
        self._session.interactivity = mode

    def ev(self, expression: str) -> object:
        return self._session.evaluate(expression, is_shown=False)

    ex = ev

    def push(self, names: dict[str, Any]) -> None:
        self._session.names.update(names)

    def reset(self, **_options: Any) -> None:
        self._session.reset()

    def set_next_input(self, text: str, replace: bool = False) -> None:
        """There is no next cell to be filled."""


class Config(dict[str, Any]):
    """Settings by their names, as IPython's: what is not there yet begins empty."""

    def __getattr__(self, name: str) -> Any:
        if name[:1].isupper():  # a class, which has settings
            return self.setdefault(name, Config())
        if name in self:
            return self[name]
        raise AttributeError(f"'Config' object has no attribute {name!r}", name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


class ExecutionResult:
    """What became of the code that `run_cell` ran."""

    def __init__(self, execution_count: int) -> None:
        self.execution_count = execution_count
        self.error_before_exec: BaseException | None = None
        self.error_in_exec: BaseException | None = None
        self.result: object = None

    @property
    def success(self) -> bool:
        return self.error_before_exec is None and self.error_in_exec is None

    def raise_error(self) -> None:
        """Raise what the code has raised, if it has."""
        error = self.error_before_exec or self.error_in_exec
        if error is not None:
            raise error

    def __repr__(self) -> str:
        told = ("execution_count", "error_before_exec", "error_in_exec", "result")
        fields = " ".join(f"{name}={getattr(self, name)!r}" for name in told)
        return f"<ExecutionResult object at {id(self):x}, {fields}>"


class _Events:
    """Cells are not announced here: what is registered is not called."""

    def register(self, event: str, function: Callable[..., Any]) -> None:
        """Accept it."""

    unregister = trigger = register
