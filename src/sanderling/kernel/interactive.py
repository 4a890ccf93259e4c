"""
Figures of plotly, altair and bokeh: each becomes an HTML file that needs nothing else to be seen.

The file lies below the data folder under the figure's title, so it is collected and cited like any
file. People also get the figure's own JSON, the model a sentence that says what was made; altair
can draw a picture without a browser, and then there is one. A figure is shown once per cell, and
one that code has saved as HTML itself is not saved again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

from sanderling.kernel import mimes, protocol
from sanderling.kernel.figures import picture_name
from sanderling.kernel.hooks import after_import, do_nothing

_KEPT_MAX = 200  # figures of which is known where they were saved
_SCALE = 2  # of pictures: sharp on every screen

_modules = sys.modules

Show = Callable[..., None]


@dataclass(frozen=True, slots=True)
class _Drawn:
    """
    What a library makes of a figure.

    what: in words. write: makes the HTML file. picture: makes a PNG, if that can be done.
    spec: its JSON, of the type `mime`; or, without a `mime`, what tells it from others in a cell.
    """

    what: str
    title: str
    mime: str | None
    spec: str
    write: Callable[[str], None]
    picture: Callable[[], bytes] | None = None


class Interactive:
    """The interactive figures of one kernel. Drawing runs user code: cross the border for it."""

    def __init__(self, data_folder: str, show_bundle: Show) -> None:
        self._data_folder = data_folder
        self._show_bundle = show_bundle
        self._saved: dict[str, str] = {}  # digest of a figure's JSON -> path of its HTML
        self._saved_in_cell: dict[str, str] = {}  # the same of those that have no JSON
        self._shown: dict[str, object] = {}  # digests in the running cell

    def install(self) -> None:
        """Wrap the libraries, now or when they are loaded."""
        after_import(
            {
                "plotly.basedatatypes": self._wrap_plotly,
                "plotly.io._html": self._wrap_plotly_html,
                "plotly.io._renderers": self._wrap_plotly_io,
                "plotly.offline.offline": _wrap_plotly_offline,
                "altair.vegalite.v5.api": self._wrap_altair,
                "altair.vegalite.v6.api": self._wrap_altair,
                "bokeh.io.showing": self._wrap_bokeh,
                "bokeh.io.saving": self._wrap_bokeh_saving,
                "bokeh.io.output": _wrap_bokeh_output,
            }
        )

    def begin(self) -> None:
        """A new cell: nothing was shown in it."""
        self._shown.clear()
        self._saved_in_cell.clear()

    def show(self, value: object) -> bool:
        """Show `value` if it is such a figure; return whether it is."""
        drawn = _drawn(value)
        if drawn is not None:
            self._show_drawn(value, drawn)
        return drawn is not None

    def _show_drawn(self, value: object, drawn: _Drawn, wanted_path: str | None = None) -> None:
        """`wanted_path`: where the code says that it wants the file."""
        digest = _digest(drawn)
        if digest in self._shown and wanted_path is None:
            return
        self._shown[digest] = value
        path = self._saved_in_cell.get(digest) or self._saved.get(digest)
        if wanted_path is not None or path is None or not os.path.exists(path):
            path = wanted_path or self._free_path(drawn.title)
            drawn.write(path)
        self._remember(drawn, path)
        title = f' "{drawn.title}"' if drawn.title else ""
        bundle: mimes.Bundle = {mimes.TEXT: f"[interactive {drawn.what}{title}, saved as {path}]"}
        if drawn.mime is not None and len(drawn.spec) < protocol.PARTS_BYTES_MAX // 2:
            bundle[drawn.mime] = drawn.spec  # else the file has it
        name = None
        if drawn.picture is not None:
            bundle["image/png"] = drawn.picture()
            name = f"{os.path.splitext(os.path.basename(path))[0]}.png"
        self._show_bundle(bundle, name=name)

    def _free_path(self, title: str) -> str:
        name = picture_name(None, title, "chart", suffix=".html")
        stem = name.removesuffix(".html")
        number = 1
        path = os.path.join(self._data_folder, name)
        while os.path.lexists(path):
            number += 1
            path = os.path.join(self._data_folder, f"{stem}_{number}.html")
        return path

    def _remember(self, drawn: _Drawn, path: str) -> None:
        """Note that the file at `path` now has this figure, and no other."""
        for known in (self._saved, self._saved_in_cell):
            for digest in [d for d, its_path in known.items() if its_path == path]:
                del known[digest]
        (self._saved if drawn.mime else self._saved_in_cell)[_digest(drawn)] = path
        if len(self._saved) > _KEPT_MAX:
            del self._saved[next(iter(self._saved))]

    def _note_saved(self, value: object, file: object) -> None:
        """Note that code has saved a figure itself, if people can find the file."""
        path = self._path_below(file)
        if path is not None:
            with contextlib.suppress(Exception):  # it is saved, whatever its own code says now
                drawn = _drawn(value)
                if drawn is not None:
                    self._remember(drawn, path)

    def _path_below(self, file: object) -> str | None:
        """Return the absolute path of a file below the data folder."""
        if not isinstance(file, str | os.PathLike):
            return None
        path = os.path.abspath(os.fsdecode(file))
        return path if path.startswith(self._data_folder.rstrip("/") + "/") else None

    # ---- the libraries' own ways to show -------------------------------------------------------

    def _method(self) -> Callable[..., None]:
        """Return what becomes a class's method `show`."""

        def show(this: object, *_args: object, **_options: object) -> None:
            self.show(this)

        return show

    def _wrap_plotly(self, module: ModuleType) -> None:
        figure: Any = cast("Any", module).BaseFigure
        figure.show = figure._ipython_display_ = self._method()

    def _wrap_plotly_html(self, module: ModuleType) -> None:
        names: Any = module
        write_html = names.write_html

        @functools.wraps(write_html)
        def write_html_and_note(fig: Any, file: Any, *args: Any, **options: Any) -> None:
            write_html(fig, file, *args, **options)
            self._note_saved(_plotly_figure(fig), file)

        names.write_html = write_html_and_note

    def _wrap_plotly_io(self, module: ModuleType) -> None:
        def show(fig: Any, *_args: object, **_options: object) -> None:
            self.show(_plotly_figure(fig))

        cast("Any", module).show = show

    def _wrap_altair(self, module: ModuleType) -> None:
        chart: Any = cast("Any", module).TopLevelMixin
        save = chart.save

        @functools.wraps(save)
        def save_and_note(
            this: Any, fp: Any, format: Any = None, *args: Any, **options: Any
        ) -> Any:
            result = save(this, fp, format, *args, **options)
            if format == "html" or (format is None and str(fp).endswith(".html")):
                self._note_saved(this, fp)
            return result

        chart.save, chart.show = save_and_note, self._method()
        chart.display = chart.show

    def _wrap_bokeh(self, module: ModuleType) -> None:
        def show(obj: object, *_args: object, **_options: object) -> None:
            drawn = _drawn(obj)
            if drawn is None:
                raise TypeError(f"{type(obj).__name__} cannot be shown here.")
            # What `output_file` was told. Bokeh writes it again with every `show`.
            file: Any = cast("Any", importlib.import_module("bokeh.io.state")).curstate().file
            self._show_drawn(obj, drawn, None if file is None else self._path_below(file.filename))

        cast("Any", module).show = show

    def _wrap_bokeh_saving(self, module: ModuleType) -> None:
        names: Any = module
        write = getattr(names, "_save_helper", None)
        if write is None:
            return

        # Not `save`: its warnings name the line that called it, which is to be the user's.
        @functools.wraps(write)
        def write_and_note(obj: Any, filename: Any, *args: Any, **options: Any) -> None:
            write(obj, filename, *args, **options)
            self._note_saved(obj, filename)

        names._save_helper = write_and_note  # noqa: SLF001 - bokeh has no other place for it


def _wrap_plotly_offline(module: ModuleType) -> None:
    cast("Any", module).init_notebook_mode = do_nothing


def _wrap_bokeh_output(module: ModuleType) -> None:
    cast("Any", module).output_notebook = do_nothing


# ---- what each library makes of a figure --------------------------------------------------------


def _drawn(value: object) -> _Drawn | None:
    """Return what its library makes of `value`, if it is such a figure."""
    if isinstance(value, type):
        return None
    for kind in type(value).__mro__:  # of a class that code has derived as well
        home: object = kind.__module__  # which a class may have set to anything
        draw = _DRAWINGS.get(home.partition(".")[0]) if isinstance(home, str) else None
        if draw is not None:
            return draw(value)
    return None


def _digest(drawn: _Drawn) -> str:
    """The same for the same figure, however its library orders its JSON this time."""
    spec = drawn.spec
    if drawn.mime is not None:
        spec = json.dumps(json.loads(spec), sort_keys=True)
    return hashlib.sha256(spec.encode("utf-8", "replace")).hexdigest()


def _plotly_figure(given: Any) -> Any:
    """The figure that a dict describes; plotly's functions take either."""
    if not isinstance(given, dict):
        return given
    return cast("Any", importlib.import_module("plotly.graph_objects")).Figure(given)


def _plotly(value: Any) -> _Drawn | None:
    base = _modules.get("plotly.basedatatypes")
    if base is None or not isinstance(value, cast("Any", base).BaseFigure):
        return None
    kinds = list(dict.fromkeys(trace.type for trace in value.data))
    count = len(value.data)
    traces = f" of {count} {'trace' if count == 1 else 'traces'} ({', '.join(kinds)})"
    title = value.layout.title.text or ""
    return _Drawn(
        what=f"plotly figure{traces}",
        title=_plain(title),
        mime="application/vnd.plotly.v1+json",
        spec=value.to_json(),
        write=lambda path: value.write_html(path, include_plotlyjs=True, auto_open=False),
    )


def _altair(value: Any) -> _Drawn | None:
    api = next((_modules[n] for n in _modules if n in _ALTAIR_APIS), None)
    if api is None or not isinstance(value, cast("Any", api).TopLevelMixin):
        return None
    spec = value.to_dict()
    title = spec.get("title", "")
    title = title.get("text", "") if isinstance(title, dict) else title
    version = cast("Any", api).__name__.split(".")[2]
    has_converter = importlib.util.find_spec("vl_convert") is not None
    convert: Any = importlib.import_module("vl_convert") if has_converter else None
    draw = None
    if convert is not None:

        def draw() -> bytes:
            data: bytes = convert.vegalite_to_png(json.dumps(spec), scale=_SCALE)
            return data

    return _Drawn(
        what="altair chart",
        title=_plain(title if isinstance(title, str) else " ".join(title)),
        mime=f"application/vnd.vegalite.{version}+json",
        spec=json.dumps(spec),
        write=lambda path: value.save(path, format="html", inline=convert is not None),
        picture=draw,
    )


def _bokeh(value: Any) -> _Drawn | None:
    layouts = _modules.get("bokeh.models.layouts") or _modules.get("bokeh.models.ui")
    if layouts is None or not isinstance(value, cast("Any", layouts).LayoutDOM):
        return None
    embed: Any = __import__("bokeh.embed", fromlist=["file_html"])
    resources: Any = __import__("bokeh.resources", fromlist=["INLINE"])
    heading = getattr(getattr(value, "title", None), "text", "") or ""
    title = _plain(heading if isinstance(heading, str) else "")

    def write(path: str) -> None:
        page = embed.file_html(value, resources.INLINE, title or "Figure")
        with open(path, "w", encoding="utf-8") as file:
            file.write(page)

    return _Drawn(
        what="bokeh figure",
        title=title,
        mime=None,
        spec=f"bokeh {value.id}",
        write=write,
    )


def _plain(title: str) -> str:
    """Return a title on one line, without tags, of a length for a sentence."""
    title = re.sub(r"</?\w[^>]*>", "", re.sub(r"<br[^>]*>", " ", title))
    return protocol.clean(" ".join(title.split()), 80)


_ALTAIR_APIS = frozenset({"altair.vegalite.v5.api", "altair.vegalite.v6.api"})
_DRAWINGS: dict[str, Callable[[Any], _Drawn | None]] = {
    "plotly": _plotly,
    "altair": _altair,
    "bokeh": _bokeh,
}
