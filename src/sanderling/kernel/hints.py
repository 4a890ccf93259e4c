"""
What helps after an error, in one sentence or two: the columns there are, the files, the packages.

It is written for a model that will try again, so it says what exists, closest first and bounded,
and nothing that the traceback says already. Objects of the user's are looked at, which may run
their code: call it on the far side of the border.
"""

from __future__ import annotations

import bdb
import difflib
import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

from sanderling.kernel import gone, installers, packages, protocol

_NAMES_MAX = 12  # that are listed
_LABELS_MAX = 2000  # that are compared
_ENTRIES_MAX = 5000  # of folders that are looked through for a file, in all
_LABEL_CHARS_MAX = 60
_COMPARED_CHARS_MAX = 60_000  # of names made of the same few letters that takes 0.3 s
_PATH_CHARS_MAX = 300
_ENCODINGS = ("cp1252", "latin-1")

_NUMERIC_ONLY = "Only columns of numbers can be used: numeric_only=True, or choose columns."
_CONVERTING = frozenset({"astype", "map", "apply"})
_TO_NUMERIC = 'pd.to_numeric(values, errors="coerce") makes NaN of what is not a number.'


def hint(error: BaseException, *, data_folder: str, is_first_cell: bool) -> str | None:
    """Return what helps after `error`, if anything does. May run user code, and raise."""
    told = None
    match error:
        case KeyError() if "pandas" in sys.modules:
            told = _of_labels(error)
        case ModuleNotFoundError() if error.name:
            told = packages.of_missing(error.name)
        case ImportError():
            told = _of_import(error)
        case FileNotFoundError() | NotADirectoryError() | PermissionError() if started := _started(
            error
        ):
            told = _of_program(error, started, data_folder)
        case FileNotFoundError() | NotADirectoryError():
            told = _of_files(error.filename, data_folder)
        case PermissionError() if isinstance(error.filename, str):
            told = f"Files can be written in {data_folder}, /tmp and /home/user."
        case UnicodeDecodeError():
            told = _of_encoding(error)
        case AttributeError():
            told = _of_attribute(error)
        case UnboundLocalError():
            pass  # Python has said it
        case NameError():
            told = _of_name(error, is_first_cell=is_first_cell)
        case TypeError():
            told = _of_arguments(error)
        case ValueError():
            told = _of_numbers(error)
        case subprocess.CalledProcessError() if installers.is_installer(error.cmd):
            told = packages.refusal()
        case bdb.BdbQuit():
            told = "Nobody can type commands of the debugger here. Print the values."
    return None if told is None else protocol.clean(told, protocol.ERROR_MESSAGE_CHARS_MAX)


# ---- tables -------------------------------------------------------------------------------------


def _frames(error: BaseException) -> Iterator[FrameType]:
    """The frames the error went through, the one that raised it first."""
    frames: list[FrameType] = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    return reversed(frames)


def _is_of_pandas(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith("pandas.")


def _locals_of(error: BaseException, kinds: tuple[type, ...]) -> Iterator[tuple[str, Any]]:
    """What pandas' own frames call `self`, `obj` or `left`, if it is one of `kinds`."""
    for place, frame in enumerate(_frames(error)):
        if not _is_of_pandas(frame):
            if place == 0:
                return  # code of the user's that pandas called: its error is its own
            continue
        for name in ("self", "obj", "left"):
            value = frame.f_locals.get(name)
            if isinstance(value, kinds):
                yield frame.f_code.co_name, value


def _of_labels(error: KeyError) -> str | None:
    """The columns, or labels of the index, among which a key was not found."""
    pandas: Any = sys.modules["pandas"]
    kinds = (pandas.DataFrame, pandas.Series, pandas.Index)
    key = error.args[0] if error.args else None
    searched: Any = None
    for function, value in _locals_of(error, kinds):
        if isinstance(value, pandas.Index):
            if searched is None or isinstance(key, tuple):
                searched = value  # of the levels of a MultiIndex a tuple is in none
        elif isinstance(value, pandas.DataFrame):
            is_row = searched is not None and searched is not value.columns and function == "xs"
            axis, what = (value.index, "rows") if is_row else (value.columns, "columns")
            if searched is None or searched.equals(axis):
                rows = _rows_of(error, value, key) if axis is value.columns else ""
                return _labels(axis, f"The {what} are", key) + rows
        elif searched is None or searched.equals(value.index):
            return _labels(value.index, "The labels are", key)
    return None if searched is None else _labels(searched, "The labels are", key)


def _rows_of(error: KeyError, table: Any, key: object) -> str:
    """The rows too, if `table.loc[a, b]` may have meant one of several levels."""
    is_loc = any(frame.f_code.co_name == "_getitem_lowerdim" for frame in _frames(error))
    is_meant = is_loc and table.index.nlevels > 1
    return f" {_labels(table.index, 'The rows are', key)}" if is_meant else ""


def _labels(index: Any, what: str, key: object) -> str:
    count = len(index)
    if count == 0:
        return f"{what}: none."
    if type(index).__name__ == "RangeIndex" or (count > _NAMES_MAX and index.dtype.kind in "iufM"):
        return f"{what} {_label(index[0])} to {_label(index[-1])} ({count:,})."
    listed = _closest(list(index[:_LABELS_MAX]), key, f"{count:,}")
    return f"{what}: {listed}."


def _closest(labels: list[Any], key: object, count: str) -> str:
    """List labels, those first that are like the key. `count`: how many there are."""
    wanted = str(key).strip("[]'\"").casefold()
    texts = {str(label).casefold().strip(): label for label in labels}
    close = [texts[t] for t in _close_matches(wanted, texts, cutoff=0.6)]
    stem = wanted.partition(".")[0]
    close += [v for t, v in texts.items() if t and wanted and (wanted in t or t in wanted)]
    close += [v for t, v in texts.items() if t.partition(".")[0] == stem]
    shown: list[Any] = []
    for label in [*close, *labels]:
        if not any(label is other for other in shown):
            shown.append(label)
    more = f", … ({count} in all)" if len(shown) > _NAMES_MAX else ""
    return ", ".join(_label(label) for label in shown[:_NAMES_MAX]) + more


def _close_matches(wanted: str, texts: Iterable[str], *, cutoff: float) -> list[str]:
    """At most three texts that are like `wanted`, of those that can be compared in a moment."""
    compared: dict[str, str] = {}
    room = _COMPARED_CHARS_MAX
    for text in texts:
        start = text[:_LABEL_CHARS_MAX]
        room -= len(start)
        if room < 0:
            break
        compared[start] = text
    close = difflib.get_close_matches(wanted[:_LABEL_CHARS_MAX], compared, n=3, cutoff=cutoff)
    return [compared[start] for start in close]


def _label(label: object, chars_max: int = _LABEL_CHARS_MAX) -> str:
    text = repr(label) if isinstance(label, (bool, int, float, str)) else str(label)
    return text if len(text) <= chars_max else f"{text[:chars_max]}…"


# ---- files --------------------------------------------------------------------------------------


def _of_files(path: object, data_folder: str) -> str | None:
    """The files that are where one was not found, and where there is one of its name."""
    if not isinstance(path, str) or not path:
        return None
    wanted = os.path.basename(path.rstrip("/"))
    folder = os.path.dirname(os.path.abspath(path))
    elsewhere = [p for p in _named(wanted, data_folder) if os.path.dirname(p) != folder]
    if elsewhere:
        return f"There is {', '.join(_label(p, _PATH_CHARS_MAX) for p in elsewhere[:3])}."
    is_there = os.path.isdir(folder)
    looked_at = folder if is_there else data_folder
    names = [e.name + "/" * e.is_dir() for e in _entries(looked_at, _LABELS_MAX + 1)]
    start = "" if is_there else f"There is no folder {_label(folder, _PATH_CHARS_MAX)}. "
    if not names:
        return f"{start}{looked_at} is empty."
    count = f"{len(names):,}"
    if len(names) > _LABELS_MAX:
        count, names = f"more than {_LABELS_MAX:,}", names[:_LABELS_MAX]
    names.sort()
    return f"{start}In {looked_at}: {_closest(names, wanted, count)}."


def _entries(folder: str, most: int) -> list[os.DirEntry[str]]:
    """At most so many of what is in a folder, less what is hidden."""
    try:
        with os.scandir(folder) as entries:
            seen = (e for e in itertools.islice(entries, _ENTRIES_MAX) if e.name[:1] != ".")
            return list(itertools.islice(seen, most))
    except OSError:
        return []


def _named(name: str, data_folder: str) -> list[str]:
    """Paths below the data folder whose last part is `name`, in any case of letters."""
    found: list[str] = []
    folders, room = [data_folder], _ENTRIES_MAX
    for folder in folders:  # which grows: what lies deep comes last
        for entry in _entries(folder, room):
            room -= 1
            if entry.name.casefold() == name.casefold():
                found.append(entry.path)
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
        room -= 1
        if room <= 0:
            break
    return sorted(found)


def _started(error: OSError) -> FrameType | None:
    """The frame of `subprocess` in which a program was to be started."""
    for frame in _frames(error):
        if frame.f_code is subprocess.Popen._execute_child.__code__:  # type: ignore[attr-defined,unused-ignore]  # noqa: SLF001
            return frame
    return None


def _of_program(error: OSError, started: FrameType, data_folder: str) -> str | None:
    """What to do about a program that cannot be started."""
    program, folder = error.filename, started.f_locals.get("cwd")
    if not isinstance(program, str) or not program:
        return None
    if folder is not None and os.fspath(folder) == program and not os.path.isdir(program):
        return _of_files(program, data_folder)
    name = _label(program)
    if isinstance(error, PermissionError):
        return f"{name} cannot be executed: start its interpreter (bash, python3) with it."
    words = program.split()
    if len(words) > 1 and shutil.which(words[0]):
        return f"Without shell=True a command is a list: {str(words)[:_PATH_CHARS_MAX]}."
    if os.path.exists(program):
        return f"{name} is there, but the interpreter that its first line names is not."
    if "/" in program:
        return _of_files(program, data_folder)
    return f"The program {name} is not installed, and none can be. Use what Python has."


def _of_encoding(error: UnicodeDecodeError) -> str | None:
    """An encoding that reads what is not UTF-8."""
    data = error.object
    if not isinstance(data, bytes) or "utf" not in error.encoding.lower():
        return None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return 'It begins as UTF-16 does: encoding="utf-16" reads it.'
    if b"\x00" in data[:1000]:
        return "It is not text: the file has a format of its own, or is compressed."
    for encoding in _ENCODINGS:
        try:
            data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return f'It is not UTF-8. encoding="{encoding}" reads it, if the letters come out right.'
    return None


# ---- names --------------------------------------------------------------------------------------


def _of_attribute(error: AttributeError) -> str | None:
    name: Any = error.name
    owner: Any = error.obj
    if not isinstance(name, str):
        return None
    if isinstance(owner, type(sys)):
        return _of_module(owner, name)
    if instead := gone.attribute([c.__name__ for c in type(owner).__mro__], name):
        return instead
    pandas: Any = sys.modules.get("pandas")
    if pandas is not None and isinstance(owner, pandas.DataFrame):
        columns = [str(column) for column in owner.columns[:_LABELS_MAX]]
        if _close_matches(name.casefold(), [c.casefold() for c in columns], cutoff=0.6):
            return _labels(owner.columns, "The columns are", name)
    return None


def _of_import(error: ImportError) -> str | None:
    """What is called nearly so where a name cannot be imported from."""
    found = re.match(r"cannot import name '(\w+)' from '([\w.]+)'", str(error))
    module = sys.modules.get(found[2]) if found else None
    return None if found is None or module is None else _of_module(module, found[1])


def _of_module(module: Any, name: str) -> str | None:
    """What a module has instead of a name."""
    if instead := gone.attribute([module.__name__], name):
        return instead
    if f"{module.__name__}.{name}" in sys.modules:
        return None
    close = _close_matches(name, dir(module), cutoff=0.75)
    return f"Similar names there: {', '.join(close)}." if close else None


def _of_name(error: NameError, *, is_first_cell: bool) -> str | None:
    pandas: Any = sys.modules.get("pandas")
    if pandas is not None and type(error).__name__ == "UndefinedVariableError":
        for _, value in _locals_of(error, (pandas.DataFrame,)):
            return _labels(value.columns, "The columns are", str(error).partition("'")[2])
        return None
    if is_first_cell:
        return "This is the first cell of a new kernel: it knows no names of earlier cells."
    return None


def _of_arguments(error: TypeError) -> str | None:
    text = str(error)
    found = re.match(r"(?:(\S+)\(\) )?got an unexpected keyword argument '(\w+)'", text)
    if found:
        return gone.argument(found[1] or "", found[2])
    if "agg function failed" in text or "does not support operation" in text:
        return _NUMERIC_ONLY
    if "Cannot perform reduction" in text:
        return _of_text(error)
    return None


def _of_numbers(error: ValueError) -> str | None:
    """What to do about text where pandas needs numbers."""
    is_text = str(error).startswith(
        ("could not convert string to float", "invalid literal for int")
    )
    return _of_text(error) if is_text else None


def _of_text(error: BaseException) -> str | None:
    """What to do about text where numbers are needed, by what pandas was asked for."""
    run = itertools.takewhile(_is_of_pandas, _frames(error))
    asked = [frame.f_code.co_name for frame in run if frame.f_code.co_name != "wrapper"]
    if not asked:
        return None
    if asked[-1] in ("__array__", "to_numpy"):
        return "Only numbers can be used: choose columns, or encode text (pd.get_dummies)."
    pandas: Any = sys.modules["pandas"]
    has_columns = any(True for _ in _locals_of(error, (pandas.DataFrame,)))
    return _NUMERIC_ONLY if has_columns and asked[-1] not in _CONVERTING else _TO_NUMERIC
