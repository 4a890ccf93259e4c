"""
What is shown of a value: a picture if it is one, its text otherwise.

Figures need no ceremony: `plt.show()` shows what is open at that moment, the end of a cell shows
the rest, and what was shown is closed. Figures that the code saved as well carry the path, so that
the host need not keep the same picture twice.
"""

from __future__ import annotations

import io
import os
import re
import sys
import unicodedata
from collections.abc import Callable
from typing import Any

from sanderling.kernel import protocol
from sanderling.kernel.capture import Channel

WORKSPACE = "/mnt/data"
TITLE_CHARS_MAX = 60
_SAVED = "_sanderling_saved_path"
_HOOKED = "_sanderling_hooked"
_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp"}


class Display:
    """Shows values on a channel. One per kernel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._images = 0
        self._shown_figures: list[Any] = []

    def show(self, *values: object) -> None:
        """What `display()` is in a cell."""
        for value in values:
            self.show_one(value)

    def show_one(self, value: object) -> None:
        """Show one value as a picture or as text."""
        if _is_figure(value):
            self._show_figure(value)
            return
        picture = _picture(value)
        if picture is not None:
            mime, data = picture
            self._show_image(mime, data, None, None)
            return
        self.show_text(repr(value))

    def show_text(self, text: str) -> None:
        """Show text as a result."""
        self._channel.show("result", {}, text.encode("utf-8", "backslashreplace"))

    def show_open_figures(self) -> None:
        """Show and close every open figure that was not shown yet; what `plt.show()` does."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        for number in pyplot.get_fignums():
            figure = pyplot.figure(number)
            if not any(figure is shown for shown in self._shown_figures):
                self._show_figure(figure)
        pyplot.close("all")
        self._shown_figures.clear()

    def hook_matplotlib(self) -> None:
        """Make matplotlib, once it is loaded, show figures here and remember where it saved them."""
        figure_module = sys.modules.get("matplotlib.figure")
        pyplot = sys.modules.get("matplotlib.pyplot")
        if figure_module is not None and not hasattr(figure_module, _HOOKED):
            figure_class = figure_module.Figure
            figure_class.savefig = _remembering(figure_class.savefig)
            figure_class.show = lambda figure, warn=True: self._show_figure(figure)
            setattr(figure_module, _HOOKED, True)
        if pyplot is not None and not hasattr(pyplot, _HOOKED):
            pyplot.show = self._pyplot_show
            setattr(pyplot, _HOOKED, True)

    def _pyplot_show(self, *_: object, **__: object) -> None:
        self.show_open_figures()

    def _show_figure(self, figure: Any) -> None:
        data = io.BytesIO()
        saved = getattr(figure, _SAVED, None)
        figure.savefig(data, format="png", bbox_inches="tight")
        self._shown_figures.append(figure)
        self._show_image("image/png", data.getvalue(), saved, _title(figure))

    def _show_image(
        self, mime: str, data: bytes, saved_path: str | None, title: str | None
    ) -> None:
        if len(data) > protocol.VALUE_BYTES_MAX:
            size = len(data) >> 20
            self.show_text(f"[an image of {size} MiB is too large to show; save it to a file]")
            return
        self._images += 1
        if saved_path is not None:
            name = os.path.basename(saved_path)
        else:
            stem = _slug(title or "") or f"figure_{self._images}"
            name = f"{stem}.{_EXTENSIONS.get(mime, 'img')}"
        fields = {
            "mime": mime,
            "name": name[: protocol.NAME_CHARS_MAX],
            "saved_path": saved_path,
        }
        self._channel.show("image", fields, data)


def _is_figure(value: object) -> bool:
    module = sys.modules.get("matplotlib.figure")
    return module is not None and isinstance(value, module.Figure)


def _picture(value: object) -> tuple[str, bytes] | None:
    """Return the value as a picture, if it offers itself as one by the notebook's conventions."""
    if isinstance(value, type):
        return None
    for mime, method_name in (("image/png", "_repr_png_"), ("image/jpeg", "_repr_jpeg_")):
        method = getattr(value, method_name, None)
        if not callable(method):
            continue
        try:
            data = method()
        except Exception:  # noqa: S112 - the value's own code; its text is still there to show
            continue
        if isinstance(data, tuple):  # data and metadata
            data = data[0]
        if isinstance(data, bytes) and data:
            return mime, data
    return None


def _remembering(savefig: Callable[..., Any]) -> Callable[..., Any]:
    def remembering_savefig(figure: Any, fname: Any, *args: Any, **kwargs: Any) -> Any:
        result = savefig(figure, fname, *args, **kwargs)
        if isinstance(fname, str | os.PathLike):
            path = os.path.abspath(os.fspath(fname))
            if isinstance(path, str) and path.startswith(WORKSPACE + "/"):
                if not os.path.splitext(path)[1]:
                    path += ".png"  # what matplotlib itself appends
                setattr(figure, _SAVED, path)
        return result

    remembering_savefig.__doc__ = savefig.__doc__
    return remembering_savefig


def _title(figure: Any) -> str | None:
    suptitle = getattr(figure, "_suptitle", None)
    titles = [suptitle.get_text()] if suptitle is not None else []
    titles += [axes.get_title() for axes in figure.axes]
    return next((t for t in titles if isinstance(t, str) and t.strip()), None)


def _slug(title: str) -> str:
    """Return a title as the stem of a file name: letters and digits of any script, underscores."""
    text = unicodedata.normalize("NFKC", title).lower()
    return re.sub(r"[^\w]+", "_", text).strip("_")[:TITLE_CHARS_MAX].strip("_")
