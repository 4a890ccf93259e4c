"""
The notebook commands that models write without thinking, at work: `%time`, `%%capture`, `!ls`.

`notation.py` makes them calls of `Magics`. Unknown commands end the cell with an error that says
so.
"""

from __future__ import annotations

import builtins
import cProfile
import functools
import importlib
import itertools
import os
import re
import shlex
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from sanderling.kernel import (
    captured,
    inspection,
    pretty,
    reloading,
    running,
    shell,
    timing,
)
from sanderling.kernel.channel import Channel
from sanderling.kernel.shell import SList

# They set up a notebook's own screen; here there is nothing to set up.
_WITHOUT_EFFECT = frozenset(
    "autosave colors gui logoff logstart logstop matplotlib pdb pprint reload_ext "
    "unload_ext xmode".split()
)
_SHELL_NAMES = {
    **dict.fromkeys("cat cp mv rm mkdir rmdir head tail grep wc man less more".split(), ""),
    "ls": "ls -F",
    "ll": "ls -F -o",
}
_EXTENSIONS = frozenset({"autoreload", "storemagic"})
_RICH = {
    "html": ("HTML", "_repr_html_"),
    "javascript": ("Javascript", "_repr_javascript_"),
    "js": ("Javascript", "_repr_javascript_"),
    "latex": ("Latex", "_repr_latex_"),
    "markdown": ("Markdown", "_repr_markdown_"),
    "svg": ("SVG", "_repr_svg_"),
}
_NOT_FILLED_IN = frozenset({"time", "timeit", "prun", "history", "hist"})

_OURS = __name__.rpartition(".")[0]  # where frames are the kernel's

_modules = sys.modules


class UsageError(Exception):
    """A notebook command that does not exist here, or that was written wrongly."""

    __module__ = "builtins"  # in a traceback its name alone says enough


class Scope(NamedTuple):
    """Where a command stands: the names it sees, and its line."""

    names: dict[str, Any]
    line: int


class Evaluator(Protocol):
    """What commands need of the session that runs them."""

    names: dict[str, Any]
    sources: list[str]
    channel: Channel | None
    interactivity: str | None

    def evaluate(
        self, source: str, *, is_shown: bool, call: Callable[..., object] | None = None
    ) -> object:
        """Run `source` as a part of the running cell; return the value of its last expression."""
        ...

    def body_of_cell(self, body: str) -> str:
        """Return `body` moved down to where it stands in the running cell."""
        ...

    def user_names(self) -> dict[str, Any]:
        """Return what the user has defined."""
        ...

    def reset(self) -> None:
        """Forget what the user has defined."""
        ...


class Magics:
    """The commands, at work for one session."""

    def __init__(self, session: Evaluator) -> None:
        self._session = session
        self._scope = Scope(session.names, 1)
        self._folders: list[str] = []
        self.reloader = reloading.Reloader(session.names)

    # Made when the first command is met: few cells have one, and each box would have copies of the
    # pages that some fifty functions lie on.

    @functools.cached_property
    def _lines(self) -> dict[str, Callable[[str], object]]:
        return {
            "autoreload": self.reloader.configure,
            "cd": self._change_folder,
            "conda": lambda arguments: self._shell(f"conda {arguments}"),
            "config": self._configure,
            "env": self._environment,
            "hist": self._history,
            "history": self._history,
            "load_ext": self._load_extension,
            "lsmagic": lambda _: "  ".join(f"%{name}" for name in sorted(self._lines)),
            "pdef": lambda name: self._tell(name, lambda v: inspection.signature(v, name), end=""),
            "pdoc": lambda name: self._tell(name, inspection.documentation),
            "pinfo": lambda name: self._explain(name, is_long=False),
            "pinfo2": lambda name: self._explain(name, is_long=True),
            "pip": lambda arguments: self._shell(f"pip {arguments}"),
            "precision": self._precision,
            "prun": lambda arguments: self._profile(arguments, None),
            "psource": lambda name: self._tell(name, lambda v: inspection.source(v, name)),
            "pwd": lambda _: os.getcwd(),
            "pycat": lambda path: print(_text_of(path)),
            "reset": self._reset,
            "reset_selective": self._reset_selected,
            "run": self._run_file,
            "set_env": self._environment,
            "sx": self._shell_lines,
            "system": self._shell_lines,
            "time": self._time,
            "timeit": lambda arguments: self._measure(arguments, None),
            "who": lambda kinds: self._list_names(kinds.split()),
            "who_ls": lambda kinds: inspection.names_of(self._session.user_names(), kinds.split()),
            "whos": lambda kinds: self._list_names(kinds.split(), is_table=True),
        }

    @functools.cached_property
    def _cells(self) -> dict[str, Callable[[str, str], object]]:
        return {
            "!": lambda _, body: self._shell_lines(body),
            "capture": self._capture,
            "file": self._write_file,
            "prun": self._profile,
            "script": lambda words, body: self._script(words.partition(" "), body),
            "sx": lambda _, body: self._shell_lines(body),
            "system": lambda _, body: self._shell_lines(body),
            "time": self._time_cell,
            "timeit": self._measure,
            "writefile": self._write_file,
        }

    # ---- what cells call -----------------------------------------------------------------------

    def line(self, name: str, arguments: str) -> object:
        """Do `%name arguments`; return what an expression in its place would be worth."""
        scope = self._enter()
        if name not in _NOT_FILLED_IN:
            arguments = shell.filled_in(arguments, scope.names)
        if name in _WITHOUT_EFFECT:
            if name == "matplotlib" and not arguments:
                print("Using matplotlib backend: inline")
            return None
        if name in _SHELL_NAMES:
            self._shell(f"{_SHELL_NAMES[name] or name} {arguments}")
            return None
        command = self._lines.get(name)
        if command is None:
            raise UsageError(f"There is no command `%{name}` here. Use plain Python instead.")
        return command(arguments)

    def cell(self, name: str, arguments: str, body: str) -> object:
        """Do `%%name arguments` with the rest of the cell."""
        scope = self._enter()
        if name not in _NOT_FILLED_IN:
            arguments = shell.filled_in(arguments, scope.names)
        if name.lower() in _RICH:
            return getattr(builtins, "display")(_rich(name.lower(), body))  # noqa: B009 - not Python's
        if name in ("bash", "sh", "zsh", "perl", "ruby", "python", "python3"):
            self._script((name, " ", arguments), body)
            return None
        command = self._cells.get(name)
        if command is None:
            raise UsageError(f"There is no command `%%{name}` here. Use plain Python instead.")
        return command(arguments, body)

    def shell(self, command: str) -> None:
        """Run a command line in /bin/sh; its output goes where every program's goes."""
        self._shell(shell.filled_in(command, self._enter().names))

    def shell_lines(self, command: str) -> SList:
        """Run a command line; return the lines it writes."""
        return self._shell_lines(shell.filled_in(command, self._enter().names))

    def explain(self, name: str, *, is_long: bool) -> None:
        """Do `name?`."""
        self._enter()
        self._explain(name, is_long=is_long)

    def _enter(self) -> Scope:
        """Note where the running command stands: in the frame nearest to us that is not ours."""
        frame: Any = sys._getframe(2)  # noqa: SLF001 - inspect's is as private
        while frame.f_globals.get("__name__", "").startswith(_OURS) and frame.f_back is not None:
            frame = frame.f_back
        names = frame.f_globals
        if frame.f_locals is not names:
            names = {**names, **frame.f_locals}
        self._scope = Scope(names, frame.f_lineno)
        return self._scope

    # ---- the shell and files -------------------------------------------------------------------

    def _shell(self, command: str) -> None:
        self._session.names["_exit_code"] = shell.run(command)

    def _shell_lines(self, command: str) -> SList:
        lines, self._session.names["_exit_code"] = shell.lines_of(command)
        return lines

    def _script(self, command: tuple[str, str, str], body: str) -> None:
        program, _, arguments = command
        shell.Script(shell.interpreter(program), arguments).run(body, self._session.names)

    def _change_folder(self, arguments: str) -> None:
        words = shlex.split(arguments)
        is_quiet = words[:1] == ["-q"]
        target = " ".join(words[1:] if is_quiet else words) or "~"
        if target == "-":
            if not self._folders:
                raise UsageError("%cd -: no previous folder.")
            target = self._folders[-1]
        before = os.getcwd()
        os.chdir(os.path.expanduser(target))
        self._folders.append(before)
        if not is_quiet:
            print(os.getcwd())

    def _environment(self, arguments: str) -> object:
        if not arguments:
            return dict(os.environ)
        name, is_set, value = arguments.partition("=" if "=" in arguments else " ")
        name, value = name.strip(), value.strip()
        if not is_set:
            if name not in os.environ:
                raise UsageError(f"Environment does not have key: {name}")
            return os.environ[name]
        os.environ[name] = value
        print(f"env: {name}={value}")
        return None

    def _write_file(self, arguments: str, body: str) -> None:
        words = arguments.split()
        is_appended = words[:1] in (["-a"], ["--append"])
        path = os.path.expanduser(" ".join(words[1:] if is_appended else words).strip("'\""))
        if not path:
            raise UsageError("the following arguments are required: filename")
        verb = "Overwriting" if os.path.exists(path) else "Writing"
        print(f"{'Appending to' if is_appended else verb} {path}")
        with open(path, "a" if is_appended else "w", encoding="utf-8") as file:
            file.write(body if body.endswith("\n") else body + "\n")

    def _run_file(self, arguments: str) -> None:
        words = shlex.split(arguments)
        options = list(itertools.takewhile(lambda word: word.startswith("-"), words))
        words = words[len(options) :]
        if not words:
            raise UsageError("`%run` needs the name of a file.")
        if "-m" in options:
            running.run_module(words[0], words[1:], self._session.names)
            return
        path = os.path.expanduser(words[0])
        path = path if os.path.exists(path) or path.endswith(".py") else f"{path}.py"
        running.run_file(path, words[1:], self._session.names, is_inside="-i" in options)

    # ---- time ----------------------------------------------------------------------------------

    def _time(self, arguments: str) -> object:
        source = "\n" * (self._scope.line - 1) + arguments
        return self._timed(source)

    def _time_cell(self, arguments: str, body: str) -> object:
        if not body.strip() and not arguments:
            raise UsageError("%%time is of the whole cell, and there is nothing in it.")
        body = self._session.body_of_cell(body)
        # A statement behind `%%time` runs as well: it stands on the first line.
        source = body.replace("\n", f"{arguments}\n", 1) if arguments else body
        return self._timed(source)

    def _timed(self, source: str) -> object:
        value = timing.timed(lambda: self._session.evaluate(source, is_shown=False))
        return None if source.rstrip().endswith(";") else value

    def _profile(self, arguments: str, body: str | None) -> object:
        options, statement = timing.profile_options_of(arguments)
        source = "\n" * (self._scope.line - 1) + statement
        if body is not None:
            source = f"{statement}\n{body}" if statement else self._session.body_of_cell(body)
        profile = cProfile.Profile()
        try:
            self._session.evaluate(source, is_shown=False, call=profile.runcall)
        finally:
            stats = timing.told_of(profile, options)
        return stats if "r" in options else None

    def _measure(self, arguments: str, body: str | None) -> object:
        options, rest = timing.options_of(arguments)
        if body is None and not rest:
            return None
        statement, setup = (rest, "") if body is None else (body, rest)
        return timing.measure(statement, setup, options, self._session.names)

    # ---- names, sources, results ---------------------------------------------------------------

    def _list_names(self, kinds: list[str], *, is_table: bool = False) -> None:
        names = self._session.user_names()
        found = inspection.names_of(names, kinds)
        if is_table:
            inspection.print_table(names, found, kinds)
        else:
            inspection.print_names(found, kinds)

    def _explain(self, name: str, *, is_long: bool) -> None:
        if "*" in name:
            print(inspection.matching(name, [*self._scope.names, *vars(builtins)]))
            return
        self._tell(name, lambda value: inspection.describe(value, name, is_long=is_long))

    def _tell(self, name: str, tell: Callable[[Any], str], end: str = "\n") -> None:
        if name.startswith("%"):
            known = name.lstrip("%") in {*self._lines, *self._cells}
            print(f"`{name}` is a command of notebooks{'' if known else ', not known here'}.")
            return
        try:
            value = builtins.eval(name, {**self._scope.names})  # noqa: S307 - the user's own
        except Exception:  # noqa: BLE001 - IPython says the same of all
            print(f"Object `{name}` not found.")
            return
        print(tell(value), end=end)

    def _reset(self, arguments: str) -> None:
        if "-f" not in arguments.split():
            raise UsageError("`%reset` asks before it forgets all variables; `%reset -f` does not.")
        self._session.reset()

    def _reset_selected(self, arguments: str) -> None:
        pattern = arguments.replace("-f", "", 1).strip()
        for name in [n for n in self._session.user_names() if re.search(pattern, n)]:
            del self._session.names[name]

    def _history(self, arguments: str) -> None:
        spans = re.findall(r"(\d+)(?:-(\d+))?", arguments)
        last = len(self._session.sources) - 1
        wanted = [n for a, b in spans for n in range(int(a), int(b or a) + 1)] or range(1, last + 1)
        for number in wanted:
            if 0 < number <= last:
                source = self._session.sources[number]
                gap = "\n" if "\n" in source else " "
                print(f"{number:>4}:{gap}{source}" if "-n" in arguments.split() else source)

    def _precision(self, arguments: str) -> str:
        numpy: Any = _modules.get("numpy")
        template = arguments or "%r"
        if "%" not in template:
            if not template.isdigit():
                raise ValueError(f"Precision must be int or format string, not {template!r}")
            template = f"%.{int(arguments)}f"
        template % 3.14159  # raises if it is no template for a number
        if numpy is not None and "%" not in arguments:
            numpy.set_printoptions(precision=int(arguments or 8))
        pretty.format_floats(template if arguments else None)
        return template

    def _configure(self, arguments: str) -> None:
        """Of what can be set with `%config`, do what has an effect here."""
        name, _, value = arguments.partition("=")
        if name.strip().endswith("Shell.ast_node_interactivity"):
            self._session.interactivity = value.strip().strip("'\"")

    def _load_extension(self, name: str) -> None:
        if name not in _EXTENSIONS:
            importlib.import_module(name)

    def _capture(self, arguments: str, body: str) -> None:
        """Run the cell; keep what it writes and shows under the name given."""
        words = arguments.split()
        wanted = {part: f"--no-{part}" not in words for part in ("stdout", "stderr", "display")}
        names = [word for word in words if word.isidentifier()]
        channel = self._session.channel
        assert channel is not None
        source = self._session.body_of_cell(body)
        try:
            with captured.capturing(
                channel,
                out=wanted["stdout"],
                err=wanted["stderr"],
                shown=wanted["display"],
                is_cell=True,
            ) as kept:
                self._session.evaluate(source, is_shown=True)
        finally:
            if names:
                self._session.names[names[0]] = kept


class _Rich:
    """What `%%html` and its like show."""

    def __init__(self, kind: str, text: str) -> None:
        self._kind, self.data = kind, text

    def __repr__(self) -> str:
        return f"<IPython.core.display.{self._kind} object>"


def _rich(name: str, text: str) -> object:
    kind, method = _RICH[name]
    made = type(kind, (_Rich,), {method: lambda self: self.data})
    return made(kind, text)


def _text_of(path: str) -> str:
    with open(os.path.expanduser(path), encoding="utf-8") as file:
        return file.read()
