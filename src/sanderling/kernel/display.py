"""
How a value is shown: as a picture if it has one, else as the text of its repr.

`Display.show` serves the last expression of a cell and the builtin `display(…)` alike.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

from sanderling.kernel import figures, protocol
from sanderling.kernel.channel import Channel
from sanderling.kernel.figures import Figures, Picture


class Display:
    """Shows values on one channel. Everything here may run user code: cross the border for it."""

    def __init__(self, channel: Channel, data_folder: str) -> None:
        self.figures = Figures(data_folder, self.show_picture)
        self._channel = channel
        self._count = 0

    def install(self) -> None:
        """Have figures and pictures shown wherever libraries would open a window."""
        self.figures.install()
        figures.after_import({"PIL.ImageShow": self._wrap_viewer})

    def show(self, value: object, *, is_wanted: bool = True) -> None:
        """
        Show one value. Raises whatever its own code raises.

        is_wanted: False: leave out a figure whose picture the cell has shown already.
        """
        if self.figures.is_figure(value):
            self.figures.show(value, is_wanted=is_wanted)
            return
        picture = self._picture(value)
        if picture is not None:
            self.show_picture(picture)
        else:
            self.show_text(repr(value))

    def show_result(self, value: object) -> None:
        """Show the value of a cell's last expression."""
        self.show(value, is_wanted=False)

    def display(self, *values: object, **_options: object) -> None:
        """Show each value at this moment. Options of IPython's function are accepted, unused."""
        for value in values:
            self.show(value)

    def show_text(self, text: str) -> None:
        """Show a text as it is, cut to what one value may carry."""
        data = text.encode("utf-8", "backslashreplace")
        if len(data) > protocol.VALUE_BYTES_MAX:
            note = f"\n[… cut: {len(data):,} bytes in all …]".encode()
            # The cut may fall inside a character; what is left of it goes.
            whole = data[: protocol.VALUE_BYTES_MAX - len(note)].decode("utf-8", "ignore")
            data = whole.encode() + note
        self._channel.send("result", data)

    def show_picture(self, picture: Picture) -> None:
        """Show a picture, or say that it is too large to be shown."""
        if len(picture.data) > protocol.VALUE_BYTES_MAX:
            size = f"{len(picture.data) / 1e6:.1f} MB"
            self.show_text(f"[{picture.name} is too large to be shown: {size}]")
            return
        self._channel.send(
            "image",
            picture.data,
            mime=picture.mime,
            name=protocol.clean(picture.name, protocol.NAME_CHARS_MAX),
            saved_path=picture.saved_path,
        )

    def _picture(self, value: object) -> Picture | None:
        if isinstance(value, type):
            return None  # the class of pictures is not one
        for mime, offered in figures.pictures_of(value):
            data = _bytes_of(offered, is_text=mime == "image/svg+xml")
            if data:
                self._count += 1
                suffix = {"image/png": ".png", "image/jpeg": ".jpg"}.get(mime, ".svg")
                return Picture(mime, data, f"image_{self._count}{suffix}")
        return None

    def _wrap_viewer(self, module: ModuleType) -> None:
        """`Image.show()` of PIL looks for a program with a window; here it finds us first."""
        show: Callable[[object], None] = self.show

        class Viewer(cast("Any", module).Viewer):  # type: ignore[misc]
            def show(self, image: object, **_options: object) -> int:
                show(image)
                return 1

        cast("Any", module).register(Viewer, 0)


def _bytes_of(offered: object, *, is_text: bool) -> bytes | None:
    """What an object gave as its picture: bytes, text, or base64 as notebooks have it."""
    if isinstance(offered, bytes):
        return offered
    if not isinstance(offered, str):
        return None
    if is_text:
        return offered.encode("utf-8", "backslashreplace")
    try:
        return base64.b64decode(offered, validate=True)
    except binascii.Error:
        return None
