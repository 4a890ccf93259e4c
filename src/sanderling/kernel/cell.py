"""
One cell of Python: compiled, run in the user's `__main__`, its last expression shown.

The rules are IPython's where models expect them: a trailing `;` shows nothing, `_` and `Out` keep
results, `await` works at top level, on one event loop for the kernel's whole life. The source of a
cell stays known to Python under the name `<cell N>`, so that tracebacks show it.
"""

from __future__ import annotations
import __future__

import ast
import asyncio
import builtins
import functools
import inspect
import io
import linecache
import operator
import os
import sys
from collections.abc import Callable, Coroutine
from types import CodeType, ModuleType, TracebackType
from typing import Any

from sanderling.kernel import eventloop, notation
from sanderling.kernel.channel import Channel
from sanderling.kernel.magics import Magics
from sanderling.kernel.notebook import Notebook
from sanderling.kernel.tracebacks import CELL_PREFIX

OUT_MAX = 1000  # results that stay reachable as `Out[n]`; IPython's number

INTERACTIVITY, LAST_EXPRESSION = "ast_node_interactivity", "last_expr"

_ASYNC = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_FUTURES = functools.reduce(
    operator.or_, (getattr(__future__, n).compiler_flag for n in __future__.all_feature_names)
)
_UNDERSCORES = ("_", "__", "___")
_OURS = frozenset({"In", "Out"})

# Taken now: `builtins` and `sys` belong to the user as much as to us.
_compile, _eval, _modules = builtins.compile, builtins.eval, sys.modules
_cache = linecache.cache


class Session:
    """The user's variables and what belongs to them. All methods run user code: cross first."""

    def __init__(self, show: Callable[[object], None], channel: Channel | None = None) -> None:
        self.channel = channel
        self.sources = [""]
        self._show = show
        self._main = ModuleType("__main__")
        self.names: dict[str, Any] = self._main.__dict__
        self._results: dict[int, object] = {}
        self._recent: list[object] = ["", "", ""]
        self._last: object = ""  # what we have put into `_`
        self._inputs = ("", "", "")  # what was run before, newest first
        self.count = 0  # cells that were run
        self.interactivity: str | None = None  # what the user has set of IPython's setting
        self._number = 0
        self._part = 0  # of the cell, that stands nowhere in it
        self._file = ""
        self._source = ""
        self._futures = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_async = False  # a cell has spoken of asyncio
        self._magics = Magics(self)
        self._name_ours()
        notebook = Notebook(self, self._magics)
        setattr(builtins, notation.CALLS, self._magics)
        setattr(builtins, "get_ipython", lambda: notebook)  # noqa: B010 - it is not Python's own
        eventloop.install()

    def run(self, source: str, number: int) -> None:
        """Run one cell. Raises whatever the cell raises."""
        self._number = number
        self._part = 0
        self._file = f"{CELL_PREFIX}{number}>"
        self.count += 1
        _modules["__main__"] = self._main
        self.names.setdefault("__name__", "__main__")  # the cell before may have cleared it all
        # A warning is given once per line of a file; each cell is a new file with the old lines.
        self.names.pop("__warningregistry__", None)
        self._remember(source)
        if self._magics.reloader.is_on:
            self._magics.reloader.reload()
        if self._is_async or "asyncio" in source:
            self._is_async = True
            eventloop.seem_to_run(self._ready_loop(), lambda: self._evaluate(source, is_shown=True))
        else:
            self._evaluate(source, is_shown=True)

    def user_names(self) -> dict[str, Any]:
        """Return what the user has defined."""
        names = self.names.items()
        return {name: value for name, value in names if name[0] != "_" and name not in _OURS}

    def reset(self) -> None:
        """Forget what the user has defined, and all results."""
        for name in [n for n in self.names if n[:2] != "__"]:
            del self.names[name]
        self._results.clear()
        self._recent, self._last = ["", "", ""], ""
        self._name_ours()

    def _name_ours(self) -> None:
        self.names.update(In=self.sources, Out=self._results, _ih=self.sources, _oh=self._results)
        self.names.update(_="", __="", ___="", _dh=[os.getcwd()])
        self.names["__builtins__"] = builtins

    def evaluate(
        self, source: str, *, is_shown: bool, call: Callable[..., object] | None = None
    ) -> object:
        """
        Run `source` as a part of the running cell; return the value of its last expression.

        call: calls what it is given to run, to see it at work.
        """
        if self._is_of_cell(source):
            return self._evaluate(source, is_shown=is_shown, call=call)
        file = self._file
        self._part += 1
        self._file = f"{CELL_PREFIX}{self._number}, part {self._part}>"
        self._keep_source(source)
        try:
            return self._evaluate(source, is_shown=is_shown, call=call)
        finally:
            self._file = file

    def _is_of_cell(self, source: str) -> bool:
        """Whether each line of `source` is what the running cell has there, or its end."""
        lines = self._source.split("\n")
        parts = source.split("\n")
        return len(parts) <= len(lines) + 1 and all(
            line.endswith(part) for line, part in zip([*lines, ""], parts, strict=False)
        )

    def body_of_cell(self, body: str) -> str:
        """Return `body` moved down to where it stands in the running cell."""
        return "\n" * (self._source.count("\n") - body.count("\n")) + body

    def _remember(self, source: str) -> None:
        self._source = source
        names, inputs = self.names, self._inputs
        names["_i"], names["_ii"], names["_iii"] = inputs
        names[f"_i{self._number}"] = source
        self._inputs = (source, inputs[0], inputs[1])
        if len(self.sources) <= self._number:
            missing = self._number - len(self.sources)
            self.sources.extend([""] * missing + [source])
        else:
            self.sources[self._number] = source
        self._keep_source(source)

    def _keep_source(self, source: str) -> None:
        """Have Python know the source of what is compiled next."""
        # Split where Python's own reader splits: at no other kind of line end.
        lines = list(io.StringIO(source, newline=None))
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        # A time of None keeps linecache from looking for a file of this name.
        _cache[self._file] = (len(source), None, lines, self._file)
        linecache.cache = _cache

    def _evaluate(
        self, source: str, *, is_shown: bool, call: Callable[..., object] | None = None
    ) -> object:
        tree, source = self._parse(source)
        if len(tree.body) == 1 and self._is_bare_command(tree.body[0], source):
            tree, source = self._parse(notation.bare_command(source) or source)
        mode = self._interactivity() if is_shown else LAST_EXPRESSION
        if mode == "last_expr_or_assign":
            _add_assigned(tree)
        elif mode != LAST_EXPRESSION:
            self._run_each(tree, mode, source)
            return None
        last = tree.body[-1] if tree.body else None
        if not isinstance(last, ast.Expr):
            self._execute(self._compiled(tree, "exec"), call)
            return None
        # Both are compiled before either runs: a cell with an error in its last line does nothing.
        expression = self._compiled(ast.Expression(last.value), "eval")
        if expression.co_flags & inspect.CO_COROUTINE:
            self._ready_loop()  # before anything happens: half made by an interrupt, it complains
        del tree.body[-1]
        if tree.body:
            self._execute(self._compiled(tree, "exec"), call)
        value = self._execute(expression, call)
        if is_shown and value is not None and not _ends_with_semicolon(source, last):
            self._keep(value)
            self._show(value)
        return value

    def _is_bare_command(self, statement: ast.stmt, source: str) -> bool:
        """Whether this Python is `ls -l /mnt/data` to everybody who wrote it."""
        if not isinstance(statement, ast.Expr) or statement.lineno != statement.end_lineno:
            return False
        word = source.split(None, 1)[0]
        return (
            word in notation.BARE_COMMANDS
            and word not in self.names
            and not isinstance(statement.value, ast.Call)
        )

    # ---- compiling -----------------------------------------------------------------------------

    def _parse(self, source: str) -> tuple[ast.Module, str]:
        """Return the tree, and the source it was read from: commands made calls, if any."""
        if source.startswith("In ["):  # a prompt; to Python it would be an annotation
            source = notation.rewrite(source)
        try:
            return self._parsed(source), source
        except SyntaxError as error:
            rewritten = notation.rewrite(source)
            word = source.split(None, 1)[0] if source.strip() else ""
            if rewritten == source and word not in self.names:
                rewritten = notation.bare_command(source) or source
            if rewritten != source:
                return self._parse_rewritten(rewritten, source), rewritten
            if isinstance(error, IndentationError) and source.lstrip("\n")[:1].isspace():
                tree = self._parse_indented(source)
                if tree is not None:
                    return tree, source
            raise

    def _parsed(self, source: str) -> ast.Module:
        flags = ast.PyCF_ONLY_AST | _ASYNC | self._futures
        tree = _compile(source, self._file, "exec", flags, dont_inherit=True)
        assert isinstance(tree, ast.Module)
        return tree

    def _parse_rewritten(self, rewritten: str, source: str) -> ast.Module:
        try:
            return self._parsed(rewritten)
        except SyntaxError as error:
            lines = source.split("\n")
            if error.lineno is not None and 0 < error.lineno <= len(lines):
                error.text = lines[error.lineno - 1]  # the user's own, not our call
            raise

    def _parse_indented(self, source: str) -> ast.Module | None:
        """A cell that was cut out of a deeper place: run it as what it was a part of."""
        try:
            block = self._parsed("if True:\n" + source).body
        except SyntaxError:
            return None
        if len(block) != 1 or not isinstance(block[0], ast.If):
            return None
        tree = ast.Module(block[0].body, type_ignores=[])
        ast.increment_lineno(tree, -1)
        return tree

    def _compiled(self, tree: ast.Module | ast.Expression | ast.Interactive, mode: str) -> CodeType:
        code = _compile(tree, self._file, mode, _ASYNC | self._futures, dont_inherit=True)
        assert isinstance(code, CodeType)
        # `from __future__ import …` holds for the cells that follow, as at Python's own prompt.
        self._futures |= code.co_flags & _FUTURES
        return code

    # ---- running -------------------------------------------------------------------------------

    def _execute(self, code: CodeType, call: Callable[..., object] | None = None) -> object:
        if code.co_flags & inspect.CO_COROUTINE:
            return self._wait_for(code)
        return _eval(code, self.names) if call is None else call(_eval, code, self.names)

    def _interactivity(self) -> str:
        """Which statements show their values: what code has set for IPython, which has the name."""
        module: Any = _modules.get("IPython.core.interactiveshell")
        its = None if module is None else vars(module.InteractiveShell).get(INTERACTIVITY)
        return self.interactivity or (its if isinstance(its, str) else LAST_EXPRESSION)

    def _run_each(self, tree: ast.Module, mode: str, source: str) -> None:
        """Run statement by statement; show the values of some, as Python's own prompt does."""
        if mode not in ("all", "last", "none"):
            raise ValueError(f"Interactivity was {mode!r}")
        last = tree.body[-1] if tree.body else None
        is_quiet = isinstance(last, ast.Expr) and _ends_with_semicolon(source, last)
        steps = []
        for statement in tree.body:
            is_shown = mode == "all" or (mode == "last" and statement is last)
            shown, plain = ast.Interactive([statement]), ast.Module([statement], type_ignores=[])
            steps.append(
                self._compiled(shown, "single") if is_shown else self._compiled(plain, "exec")
            )

        def show(value: object) -> None:
            if value is not None and not is_quiet:
                self._keep(value)
                self._show(value)

        before, sys.displayhook = sys.displayhook, show
        try:
            for code in steps:
                self._execute(code)
        finally:
            sys.displayhook = before

    def _ready_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        return self._loop

    def _wait_for(self, code: CodeType) -> object:
        loop = self._ready_loop()
        asyncio.set_event_loop(loop)
        coroutine: Coroutine[Any, Any, object] = _eval(code, self.names)
        try:
            task = loop.create_task(coroutine)
        except BaseException:
            coroutine.close()  # interrupted before it began; else Python warns of it
            raise
        try:
            return loop.run_until_complete(task)
        except BaseException as error:
            if task.done():
                if not task.cancelled():
                    task.exception()  # else asyncio complains that nobody has seen it
                raise
            # It came while the loop was idle: have the cell's own `finally` clauses run, and say
            # where the cell stood, not the loop.
            task.cancel()
            loop.run_until_complete(asyncio.wait([task]))
            raise error.with_traceback(_where_it_stopped(task) or error.__traceback__) from None

    def _keep(self, value: object) -> None:
        """Make the result known as `_`, `_N` and `Out[N]`, unless the user has taken `_`."""
        # Theirs if it is not what we put there; in `builtins` it would be gettext's.
        is_theirs = self.names.get("_", self._last) is not self._last or hasattr(builtins, "_")
        self._recent = [value, *self._recent[:2]]
        if not is_theirs:
            self._last = value
            self.names.update(zip(_UNDERSCORES, self._recent, strict=True))
        if value is self._results:
            return
        self.names[f"_{self._number}"] = value
        self._results[self._number] = value
        if len(self._results) > OUT_MAX:
            oldest = next(iter(self._results))
            del self._results[oldest]
            self.names.pop(f"_{oldest}", None)


def _add_assigned(tree: ast.Module) -> None:
    """Add the name that the last statement gives a value to, so that it is shown."""
    match tree.body[-1:]:
        case [ast.Assign(targets=[ast.Name(id=name)])]:
            pass
        case [ast.AugAssign(target=ast.Name(id=name)) | ast.AnnAssign(target=ast.Name(id=name))]:
            pass
        case _:
            return
    shown = ast.Expr(ast.Name(name, ast.Load()))
    tree.body.append(ast.fix_missing_locations(ast.copy_location(shown, tree.body[-1])))


def forget_cells() -> None:
    """Take the sources of all cells out of Python's own memory."""
    for name in [n for n in _cache if n.startswith(CELL_PREFIX)]:
        del _cache[name]


def _where_it_stopped(task: asyncio.Task[object]) -> TracebackType | None:
    try:
        task.result()
    except BaseException as stop:  # noqa: BLE001 - whatever the cell made of its cancellation
        return stop.__traceback__
    return None


def _ends_with_semicolon(source: str, last: ast.Expr) -> bool:
    """Whether a `;` follows the last expression. Only a comment can stand there besides."""
    if ";" not in source:
        return False
    assert last.end_lineno is not None
    assert last.end_col_offset is not None
    lines = list(io.StringIO(source, newline=None))
    if last.end_lineno > len(lines):
        return False
    # Offsets count bytes of UTF-8.
    rest = lines[last.end_lineno - 1].encode("utf-8", "replace")[last.end_col_offset :]
    return rest.lstrip().startswith(b";")
