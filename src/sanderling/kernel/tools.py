"""
The modules `ace_tools` and `caas_jupyter_tools`: what models were taught to show tables with.

They are nowhere on the disk. A finder behind all others makes them when something imports them, so
they cost nothing before, and a real package of the name goes first.
"""

from __future__ import annotations

import importlib
import logging
import mimetypes
import os
import re
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Protocol, cast

from sanderling.kernel import protocol
from sanderling.kernel.figures import Figures, Picture, picture_name

MODULES = frozenset({"ace_tools", "caas_jupyter_tools"})
_NAME_CHARS_MAX = 60  # of four bytes at most; a file's name has 255
_COPIES_MAX = 1000
_PICTURES = frozenset({"image/png", "image/jpeg", "image/svg+xml"})


class Shower(Protocol):
    """What these functions need of the kernel's display."""

    figures: Figures

    def show(self, value: object) -> None: ...
    def note_seen(self, value: object) -> None: ...
    def show_picture(self, picture: Picture) -> None: ...


class Tools:
    """The functions of the modules, and the finder and loader of both."""

    def __init__(self, display: Shower, data_folder: str) -> None:
        self._display = display
        self._folder = data_folder

    def install(self) -> None:
        """Let the modules be found wherever nothing else has their names."""
        sys.meta_path.append(cast("Any", self))

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of one of our modules."""
        del path, target
        return ModuleSpec(name, cast("Any", self)) if name in MODULES else None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Take Python's own module."""

    def exec_module(self, module: ModuleType) -> None:
        """Fill a module with its functions."""
        for function in (
            self.display_dataframe_to_user,
            self.display_chart_to_user,
            self.display_matplotlib_image_to_user,
            self.log_exception,
            self.log_matplotlib_img_fallback,
        ):
            setattr(module, function.__name__, function)

    def display_dataframe_to_user(self, name: str, dataframe: Any, **_options: object) -> Any:
        """Show a table, write it to `/mnt/data/<name>.csv`, and return its first rows."""
        table = _table(dataframe)
        is_numbered = type(table.index).__name__ == "RangeIndex"
        with open(self._free_place(name, ".csv"), "x", encoding="utf-8", newline="") as file:
            table.to_csv(file, index=not is_numbered)
        self._display.show(table)
        head = table.head()
        self._display.note_seen(head)
        return head

    def display_chart_to_user(
        self, path: str, title: str = "", chart_type: str = "", **_options: object
    ) -> None:
        """Show the picture in the file `path`; any other file is the user's to open."""
        del chart_type
        place = os.path.join(self._folder, os.path.expanduser(os.fspath(path)))
        kind = mimetypes.guess_type(place)[0]
        if kind not in _PICTURES:
            os.stat(place)  # a chart that is not there is an error either way
            print(f"{title}: {place}" if title else place)
            return
        if os.path.getsize(place) > protocol.VALUE_BYTES_MAX:
            print(f"{place} is too large to be shown.")
            return
        with open(place, "rb") as file:
            data = file.read()
        suffix = os.path.splitext(place)[1].lower()
        is_saved = os.path.abspath(place).startswith(self._folder.rstrip("/") + "/")
        saved_path = os.path.abspath(place) if is_saved and protocol.is_clean(place) else None
        name = picture_name(saved_path, title, "chart", suffix=suffix)
        self._display.show_picture(Picture(kind, data, name, saved_path))

    def display_matplotlib_image_to_user(
        self, title: str = "", reason: str = "", exception_ids: object = None, **_options: object
    ) -> None:
        """Show every figure that is open."""
        del title, reason, exception_ids
        self._display.figures.show_open()

    def log_exception(self, message: object = "", exception_id: object = None) -> None:
        """Note what went wrong, where logging is listened to."""
        logging.getLogger("caas_jupyter_tools").info("%s %s", exception_id, message)

    def log_matplotlib_img_fallback(
        self, reason: object = "", exception_ids: object = None, **_options: object
    ) -> None:
        """Note why a picture was shown instead of a chart, where logging is listened to."""
        logging.getLogger("caas_jupyter_tools").info("%s %s", exception_ids, reason)

    def _free_place(self, name: object, suffix: str) -> str:
        """Return a path in the data folder that nothing has yet."""
        stem = re.sub(r"[^\w .()+-]+", "_", os.path.splitext(str(name))[0])
        stem = stem[:_NAME_CHARS_MAX].strip(" ._") or "table"
        for number in range(1, _COPIES_MAX):
            tail = suffix if number == 1 else f"_{number}{suffix}"
            path = os.path.join(self._folder, stem + tail)
            if not os.path.lexists(path):
                return path
        raise FileExistsError(f"There are {_COPIES_MAX} files called {stem} already.")


def _table(value: Any) -> Any:
    """Return the pandas table that `value` is, or can be made into."""
    if hasattr(value, "to_frame") and not hasattr(value, "columns"):
        return value.to_frame()  # a Series or an Index
    if hasattr(value, "to_csv") and hasattr(value, "columns"):
        return value
    if hasattr(value, "to_pandas"):
        return value.to_pandas()  # polars, pyarrow, duckdb
    pandas: Any = importlib.import_module("pandas")
    return pandas.DataFrame(value)
