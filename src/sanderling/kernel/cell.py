"""
One cell: compile it, run it in `__main__`, show its last expression, tell how it failed.

The rules are the notebook's, because models learned them there: the value of a last expression is
shown unless it is None or the cell ends in `;`, `_` is the last value shown, `await` works at the
top level, and a traceback begins at the user's own line.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import linecache
import sys
import tokenize
import traceback
import types
from collections.abc import Coroutine
from dataclasses import dataclass
from io import StringIO
from typing import Any, Literal

from sanderling.kernel import escapes
from sanderling.kernel.display import Display

TRACEBACK_CHARS_MAX = 60_000
_TOP_LEVEL_AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_compile, _eval = compile, eval  # a cell may replace the builtins; not these
_CO_COROUTINE = 0x80  # inspect.CO_COROUTINE
_COMMENTS = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER, tokenize.DEDENT}

Status = Literal["ok", "error", "interrupted"]


class InputUnavailable(EOFError):
    """input() cannot be answered: this code runs without a terminal."""


@dataclass(frozen=True)
class Failure:
    """The exception that ended a cell, as text."""

    name: str
    message: str
    traceback: str


class Session:
    """The namespace of a kernel and the cells that ran in it."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._loop: asyncio.AbstractEventLoop | None = None
        self._module = types.ModuleType("__main__")
        sys.modules["__main__"] = self._module
        self._names = self._module.__dict__
        self._inputs: list[str] = [""]
        self._outputs: dict[int, Any] = {}
        self._names.update(
            __builtins__=builtins,
            display=display.show,
            In=self._inputs,
            Out=self._outputs,
            _="",
            __="",
            ___="",
        )
        setattr(builtins, "input", _no_input)  # noqa: B010 - a replacement, as mypy sees it too
        escapes.install(self._names)

    def run(self, number: int, source: str) -> tuple[Status, Failure | None]:
        """Run the cell `number`. Whatever it raises becomes the returned failure."""
        filename = f"<cell {number}>"
        self._inputs.append(source)
        try:
            tree = self._parse(source, filename)
            value = self._run_tree(tree, filename)
            if value is not None and not _is_silenced(source):
                self._remember(number, value)
                self._display.show_one(value)
        except SystemExit as leaving:
            if leaving.code in (None, 0):
                return "ok", None
            return "error", Failure("SystemExit", str(leaving.code), f"SystemExit: {leaving.code}")
        except KeyboardInterrupt as interrupt:
            return "interrupted", _failure(interrupt)
        except BaseException as error:  # noqa: BLE001 - the user's code may raise anything
            return "error", _failure(error)
        return "ok", None

    def _parse(self, source: str, filename: str) -> ast.Module:
        linecache.cache[filename] = (
            len(source),
            None,
            source.splitlines(keepends=True),
            filename,
        )
        try:
            return ast.parse(source, filename)
        except SyntaxError:
            translated = escapes.translate(source)
            if translated is None:
                raise
            return ast.parse(translated, filename)

    def _run_tree(self, tree: ast.Module, filename: str) -> Any:
        """Run the statements; return the value of the last one if it is an expression."""
        last = tree.body[-1] if tree.body else None
        if not isinstance(last, ast.Expr):
            self._run_code(_compile(tree, filename, "exec", flags=_TOP_LEVEL_AWAIT))
            return None
        statements = ast.Module(tree.body[:-1], tree.type_ignores)
        self._run_code(_compile(statements, filename, "exec", flags=_TOP_LEVEL_AWAIT))
        expression = ast.Expression(last.value)
        return self._run_code(_compile(expression, filename, "eval", flags=_TOP_LEVEL_AWAIT))

    def _run_code(self, code: types.CodeType) -> Any:
        result = _eval(code, self._names)
        if code.co_flags & _CO_COROUTINE:  # it awaits at the top level
            return self._run_coroutine(result)
        return result

    def _run_coroutine(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(coroutine)
        try:
            return self._loop.run_until_complete(task)
        except BaseException:
            if not task.done():  # interrupted from outside the task
                task.cancel()
                self._loop.run_until_complete(asyncio.wait([task]))
            raise

    def _remember(self, number: int, value: Any) -> None:
        names = self._names
        names["___"], names["__"], names["_"] = names.get("__"), names.get("_"), value
        names[f"_{number}"] = value
        self._outputs[number] = value


def _no_input(prompt: object = "") -> str:
    del prompt
    raise InputUnavailable(
        "input() cannot be answered: this code runs without a terminal. "
        "Put the value into the code, or read it from a file in /mnt/data."
    )


def _is_silenced(source: str) -> bool:
    """Return whether the last token that is not a comment is a semicolon."""
    try:
        tokens = [
            token.string
            for token in tokenize.generate_tokens(StringIO(source).readline)
            if token.type not in _COMMENTS
        ]
    except (tokenize.TokenError, SyntaxError):
        return source.rstrip().endswith(";")
    return bool(tokens) and tokens[-1] == ";"


def _failure(error: BaseException) -> Failure:
    name = _type_name(error)
    try:
        message = str(error)
    except BaseException as second:  # noqa: BLE001 - its own __str__ raised
        message = f"<no message: str() raised {type(second).__name__}>"
    try:
        text = _traceback(error)
    except BaseException:  # noqa: BLE001 - a hostile exception; its name and message must do
        text = f"{name}: {message}"
    return Failure(name, message, _shorten(text))


def _type_name(error: BaseException) -> str:
    name = type(error).__name__
    return name if type(name) is str else "Exception"


def _traceback(error: BaseException) -> str:
    """The traceback from the user's own first line on, chained causes included, without colours."""
    report = traceback.TracebackException(type(error), error, error.__traceback__, limit=None)
    seen: list[traceback.TracebackException] = []
    pending: list[traceback.TracebackException | None] = [report]
    while pending:
        one = pending.pop()
        if one is None or any(one is other for other in seen):
            continue
        seen.append(one)
        _drop_kernel_frames(one.stack)
        pending += [one.__cause__, one.__context__, *(one.exceptions or [])]
    return "".join(report.format()).rstrip("\n")


def _drop_kernel_frames(stack: traceback.StackSummary) -> None:
    """Remove our own frames: those before the first line of a cell, and those of the kernel."""
    own = __file__.rsplit("/", 1)[0]
    first = next((i for i, f in enumerate(stack) if f.filename.startswith("<cell ")), len(stack))
    has_cell = first < len(stack)
    stack[:] = [
        frame
        for index, frame in enumerate(stack)
        if not frame.filename.startswith(own) and (index >= first or not has_cell)
    ]


def _shorten(text: str) -> str:
    if len(text) <= TRACEBACK_CHARS_MAX:
        return text
    half = TRACEBACK_CHARS_MAX // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half:,} characters left out …]\n{text[-half:]}"
