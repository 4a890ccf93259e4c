"""
matplotlib figures as pictures: shown by `plt.show()`, by a cell's end, or as a cell's result.

Works on matplotlib itself, not as a backend of it: `plt.show`, `Figure.show` and `Figure.savefig`
are wrapped when their modules are loaded, so it makes no difference which backend a cell selects.
A picture of a figure is shown once per cell. Where it was saved during the cell travels with it, so
that the picture and the file can be recognised as one.
"""

from __future__ import annotations

import functools
import io
import math
import os
import re
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

from sanderling.kernel import protocol
from sanderling.kernel.charts import Charts
from sanderling.kernel.hooks import after_import

# What may stand for a shown picture: a chart saved as PDF is a file, not the picture.
_PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg"})
_SLUG_CHARS_MAX = 60
PIXELS_MAX = 25_000_000  # of a picture that is shown; a file may be finer

_modules = sys.modules


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to be shown. `name` is a file name proposed for it; `parts` are (mime, data)."""

    mime: str
    data: bytes
    name: str
    saved_path: str | None = None
    parts: tuple[tuple[str, bytes], ...] = ()


class Figures:
    """The figures of one kernel. Rendering runs user code: cross the border for it."""

    def __init__(self, data_folder: str, emit: Callable[[Picture], None]) -> None:
        self._data_folder = data_folder
        self._emit = emit
        self._count = 0
        # For the running cell: figure -> path, and figure -> the picture of it that was shown.
        self._saved: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self._shown: weakref.WeakKeyDictionary[Any, bytes] = weakref.WeakKeyDictionary()
        self._savefig: Callable[..., object] | None = None
        self._charts = Charts()

    def install(self) -> None:
        """Wrap matplotlib: now if it is loaded, else when it will be."""
        after_import(
            {
                "matplotlib.figure": self._wrap_figure,
                "matplotlib.pyplot": self._wrap_pyplot,
                "matplotlib.axes._axes": self._charts.wrap_axes,
            }
        )

    def begin(self) -> None:
        """A new cell: nothing has been saved or shown in it."""
        self._saved.clear()
        self._shown.clear()

    @property
    def has_open(self) -> bool:
        """Whether a figure is open. Cheap, and runs no user code."""
        module = _modules.get("matplotlib._pylab_helpers")
        return module is not None and bool(module.Gcf.figs)

    def is_figure(self, value: object) -> bool:
        """Whether `value` is a matplotlib figure."""
        module = _modules.get("matplotlib.figure")
        return module is not None and isinstance(value, module.Figure)

    def show(self, figure: Any, *, is_wanted: bool = True) -> None:
        """
        Render a figure and show it.

        is_wanted: False: only if the cell has not shown just this picture of it before.
        """
        buffer = io.BytesIO()
        assert self._savefig is not None
        # Cut to what is drawn, as notebooks do: labels outside the axes are not lost.
        self._savefig(figure, buffer, format="png", bbox_inches="tight", dpi=_dpi(figure))
        data = buffer.getvalue()
        if not is_wanted and self._shown.get(figure) == data:
            return
        self._shown[figure] = data
        self._count += 1
        name = picture_name(self._saved.get(figure), _title(figure), f"figure_{self._count}")
        parts = self._charts.part_of(figure)
        self._emit(Picture("image/png", data, name, self._saved.get(figure), parts))

    def show_open(self) -> None:
        """
        Show what is open and not shown yet as it is now, oldest first, and close it all.

        Raises:
            Exception: the first that a figure raised; the others are shown all the same.
        """
        pyplot = _modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        errors: list[Exception] = []
        try:
            for number in pyplot.get_fignums():
                figure = pyplot.figure(number)
                if not _has_content(figure):
                    continue
                try:
                    self.show(figure, is_wanted=False)
                except Exception as error:  # noqa: BLE001 - whatever drawing raises
                    errors.append(error)
        finally:
            pyplot.close("all")
        if errors:
            raise errors[0]

    # ---- wrapping matplotlib -------------------------------------------------------------------

    def _wrap_figure(self, module: ModuleType) -> None:
        figure_class: Any = module.Figure  # type: ignore[attr-defined,unused-ignore]
        savefig, show = figure_class.savefig, figure_class.show
        self._savefig = savefig

        @functools.wraps(savefig)
        def savefig_and_remember(figure: Any, fname: Any, *args: Any, **kwargs: Any) -> object:
            result = savefig(figure, fname, *args, **kwargs)
            path = self._path_of(figure, fname, kwargs.get("format"))
            if path is not None:
                self._saved[figure] = path
            return result

        @functools.wraps(show)
        def show_here(figure: Any, *_args: Any, **_kwargs: Any) -> None:
            self.show(figure, is_wanted=False)

        figure_class.savefig, figure_class.show = savefig_and_remember, show_here

    def _wrap_pyplot(self, module: ModuleType) -> None:
        @functools.wraps(cast("Any", module).show)
        def show_here(*_args: Any, **_kwargs: Any) -> None:
            self.show_open()

        cast("Any", module).show = show_here

    def _path_of(self, figure: Any, fname: Any, format: str | None) -> str | None:
        """Return the absolute path of a saved picture if it lies below the data folder."""
        try:
            name = os.fspath(fname)
        except TypeError:
            return None  # an open file
        if not isinstance(name, str):
            return None
        if not os.path.splitext(name)[1] and format is None:
            name = f"{name.rstrip('.')}.{figure.canvas.get_default_filetype()}"  # its own rule
        path = os.path.abspath(name)
        is_inside = path.startswith(self._data_folder.rstrip("/") + "/")
        if not is_inside or len(path) > protocol.PATH_CHARS_MAX or not protocol.is_clean(path):
            return None
        return path if os.path.splitext(path)[1].lower() in _PICTURE_SUFFIXES else None


def picture_name(
    saved_path: str | None, title: str, otherwise: str, *, suffix: str = ".png"
) -> str:
    """Propose a file name: the one it was saved under, else its title, else `otherwise`."""
    if saved_path is not None and os.path.splitext(saved_path)[1].lower() == suffix:
        return os.path.basename(saved_path)[: protocol.NAME_CHARS_MAX]
    if saved_path is not None:
        title = os.path.splitext(os.path.basename(saved_path))[0]
    slug = re.sub(r"\W+", "_", title.casefold())[:_SLUG_CHARS_MAX].strip("_")
    return (slug or otherwise) + suffix


def _title(figure: Any) -> str:
    """The figure's heading, or the first of its axes'."""
    suptitle = getattr(figure, "_suptitle", None)
    texts = [suptitle.get_text() if suptitle is not None else ""]
    texts += [axes.get_title() for axes in figure.axes]
    texts.append(str(figure.get_label()))  # the name of its window
    return protocol.clean(next((text for text in texts if text.strip()), ""))


def _dpi(figure: Any) -> Any:
    """The figure's own resolution, unless its picture would be enormous."""
    width, height = figure.get_size_inches()
    most = math.sqrt(PIXELS_MAX / max(width * height, 1e-6))
    return "figure" if figure.dpi <= most else most


def _has_content(figure: Any) -> bool:
    return any(child is not figure.patch for child in figure.get_children())
