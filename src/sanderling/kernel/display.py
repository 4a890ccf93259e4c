"""
How a value is shown: as a picture if it has one, else as its text; with it, what people may be
shown instead (HTML, LaTeX, JSON).

`Display.show` serves the last expression of a cell, the builtin `display(…)` and IPython's alike.
One value is one message, whatever it offers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, cast

from sanderling.kernel import mimes, protocol
from sanderling.kernel.captured import capture_output_on
from sanderling.kernel.channel import Channel
from sanderling.kernel.figures import Figures, Picture
from sanderling.kernel.formatters import FORMATTERS
from sanderling.kernel.hooks import after_import
from sanderling.kernel.interactive import Interactive
from sanderling.kernel.ipython import IPython
from sanderling.kernel.pretty import pretty
from sanderling.kernel.windows import Windows

_SUFFIXES = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/svg+xml": ".svg",
    "image/gif": ".gif",
    "image/webp": ".webp",
}
# Of exactly these kinds a value has nothing but its text.
_PLAIN = frozenset({int, float, str, bool, bytes, complex, list, tuple, dict, set, frozenset})
_DISPLAY_IDS_MAX = 10_000


class DisplayHandle:
    """What `display(…, display_id=True)` returns: shows other values in the same place."""

    def __init__(self, display: Display, display_id: str) -> None:
        self.display_id = display_id
        self._display = display

    def display(self, value: object, **options: Any) -> None:
        """Show a value under this identity."""
        self._display.display(value, display_id=self.display_id, **options)

    def update(self, value: object, **options: Any) -> None:
        """Show a value in the place of the one before."""
        self._display.update(value, display_id=self.display_id, **options)

    def __repr__(self) -> str:
        return f"<DisplayHandle display_id={self.display_id}>"


class Display:
    """Shows values on one channel. Everything here may run user code: cross the border for it."""

    def __init__(self, channel: Channel, data_folder: str) -> None:
        self.figures = Figures(data_folder, self.show_picture)
        self.interactive = Interactive(data_folder, self.show_bundle)
        self._windows = Windows(self.show_picture, self.show, self._identified)
        self._ipython = IPython(self.display, self.publish, self.clear, capture_output_on(channel))
        self._channel = channel
        self._count = 0
        self._identity: tuple[str | None, bool] = (None, False)
        self._known: dict[str, None] = {}  # display ids that were shown
        self._seen: object = None  # what the cell has shown under another shape

    def install(self) -> None:
        """Have figures and pictures shown wherever libraries would open a window."""
        self.figures.install()
        self.interactive.install()
        self._windows.install()
        self._ipython.install()
        after_import({"pandas": _set_for_notebooks})

    def begin(self) -> None:
        """A new cell: nothing has been shown in it."""
        self._seen = None
        self.figures.begin()
        self.interactive.begin()
        self._windows.begin()

    def show(self, value: object, *, is_wanted: bool = True) -> None:
        """
        Show one value. Raises whatever its own code raises.

        is_wanted: False: leave out a figure whose picture the cell has shown already.
        """
        if type(value) in _PLAIN and not FORMATTERS.is_in_use:
            self.show_text(pretty(value))
        elif self.figures.is_figure(value):
            self.figures.show(value, is_wanted=is_wanted)
        elif not self.interactive.show(value):
            self._show_rich(value, None, None)

    def show_result(self, value: object) -> None:
        """Show the value of a cell's last expression."""
        if value is not self._seen:
            self.show(value, is_wanted=False)

    def note_seen(self, value: object) -> None:
        """Do not show `value` as the running cell's result: the cell has shown it, or more."""
        self._seen = value

    def display(
        self,
        *values: Any,
        include: mimes.Kinds = None,
        exclude: mimes.Kinds = None,
        display_id: object = None,
        raw: bool = False,
        clear: bool = False,
        **options: Any,
    ) -> DisplayHandle | None:
        """Show each value at this moment; as IPython's function of this name."""
        if clear:
            self.clear(wait=True)
        if display_id is True:
            display_id = os.urandom(16).hex()
        if not values and display_id is None and options and not raw:
            return None
        with self._identified(display_id, is_update=bool(options.get("update"))) as is_shown:
            for value in values if is_shown else ():
                if raw:
                    self.show_bundle(dict(value))
                elif include or exclude:
                    self._show_rich(value, include, exclude)
                else:
                    self.show(value)
        return None if display_id is None else DisplayHandle(self, str(display_id))

    def update(self, value: object, *, display_id: object, **options: Any) -> None:
        """Show a value in the place of the last of that identity; nowhere, if there was none."""
        self.display(value, display_id=display_id, **{**options, "update": True})

    def publish(
        self, data: Any, metadata: object = None, *, transient: Any = None, **options: Any
    ) -> None:
        """Show a bundle of media types as it is; as IPython's `publish_display_data`."""
        del metadata
        display_id = (transient or {}).get("display_id")
        with self._identified(display_id, is_update=bool(options.get("update"))) as is_shown:
            if is_shown:
                self.show_bundle(dict(data))

    def clear(self, wait: bool = False) -> None:
        """Take back what the cell has shown: at once, or when it shows something next."""
        self._channel.clear(is_waiting=bool(wait))

    # ---- one message a value -------------------------------------------------------------------

    def show_text(self, text: str) -> None:
        """Show a text as it is, cut to what one value may carry."""
        self._send_text(text, ())

    def show_picture(self, picture: Picture) -> None:
        """Show a picture, or say that it is too large to be shown."""
        if len(picture.data) > protocol.VALUE_BYTES_MAX - protocol.PARTS_BYTES_MAX:
            size = f"{len(picture.data) / 1e6:.1f} MB"
            self.show_text(f"[{picture.name} is too large to be shown: {size}]")
            return
        display_id, is_update = self._identity
        self._channel.send(
            "image",
            picture.data + b"".join(data for _, data in picture.parts),
            mime=picture.mime,
            name=protocol.clean(picture.name, protocol.NAME_CHARS_MAX),
            saved_path=picture.saved_path,
            parts=[[mime, len(data)] for mime, data in picture.parts],
            display_id=display_id,
            is_update=is_update,
        )

    def show_bundle(self, bundle: mimes.Bundle, *, name: str | None = None) -> None:
        """Show what a bundle has: a picture if there is one, else the text; the rest beside it."""
        parts, left_out = mimes.parts_of(bundle)
        picture = mimes.picture_in(bundle)
        if picture is not None:
            mime, data = picture
            self._count += 1
            name = name or f"image_{self._count}{_SUFFIXES[mime]}"
            others = tuple((m, d) for m, d in parts if m != mime)
            self.show_picture(Picture(mime, data, name, parts=others))
            return
        text = bundle.get(mimes.TEXT)
        text = text if isinstance(text, str) else ""
        if left_out:
            text += (
                f"\n[too large to be shown: {left_out / 1e6:.1f} MB. Save it as a file instead.]"
            )
        if text or parts or mimes.TEXT in bundle:
            self._send_text(text, parts)

    def _show_rich(self, value: object, include: mimes.Kinds, exclude: mimes.Kinds) -> None:
        show_itself = mimes.method_of(value, "_ipython_display_")
        if show_itself is not None:
            try:
                show_itself()
            except NotImplementedError:
                pass
            else:
                return
        try:
            bundle = mimes.bundle_of(value, include, exclude)
        except OSError:  # of IPython's own, which was given a file that is not there
            self.show_text(pretty(value))
            raise
        if mimes.TEXT not in bundle and not mimes.is_picture(bundle):
            is_wanted = not (include and mimes.TEXT not in include)
            if is_wanted and not (exclude and mimes.TEXT in exclude):
                bundle[mimes.TEXT] = pretty(value)
        self.show_bundle(bundle)

    def _send_text(self, text: str, parts: Any) -> None:
        data = text.encode("utf-8", "backslashreplace")
        room = protocol.VALUE_BYTES_MAX - sum(len(part) for _, part in parts)
        if len(data) > room:
            note = f"\n[… cut: {len(data):,} bytes in all …]".encode()
            # The cut may fall inside a character; what is left of it goes.
            data = data[: room - len(note)].decode("utf-8", "ignore").encode() + note
        display_id, is_update = self._identity
        if not parts and display_id is None:
            self._channel.send("result", data)
            return
        self._channel.send(
            "display",
            data + b"".join(part for _, part in parts),
            parts=[[mime, len(part)] for mime, part in parts],
            display_id=display_id,
            is_update=is_update,
        )

    @contextmanager
    def _identified(self, display_id: object, *, is_update: bool) -> Iterator[bool]:
        """Give what is shown meanwhile an identity; yield whether it is to be shown at all."""
        if display_id is None:
            yield True
            return
        name = protocol.clean(str(display_id), protocol.NAME_CHARS_MAX)
        before = self._identity
        self._identity = (name, is_update)
        try:
            yield not is_update or name in self._known
        finally:
            self._identity = before
            if not is_update:
                self._known[name] = None
                if len(self._known) > _DISPLAY_IDS_MAX:
                    del self._known[next(iter(self._known))]


def _set_for_notebooks(pandas: ModuleType) -> None:
    """Have tables shown as in a notebook: wide ones in blocks, not cut to a terminal's width."""
    set_option: Callable[..., None] = cast("Any", pandas).set_option
    set_option("display.max_columns", 20)
