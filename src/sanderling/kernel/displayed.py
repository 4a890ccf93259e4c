"""
`IPython.display` where IPython is not installed: the objects that models make with it.

Each holds data or a file's content and says how it wants to be seen; nothing is fetched from the
network. Loaded in the place of IPython's module by `ipython.py`, which also sets `display`,
`publish_display_data` and `clear_output`.
"""

from __future__ import annotations

import base64
import html
import io
import json
import mimetypes
import os
import wave
from types import ModuleType
from typing import Any, ClassVar

MODULES = frozenset({"IPython.display", "IPython.core.display", "IPython.core.display_functions"})
NAMES = (
    "Audio Code DisplayObject FileLink FileLinks HTML IFrame Image JSON Javascript Latex Markdown "
    "Math Pretty SVG Video YouTubeVideo display_html display_markdown display_latex display_png "
    "display_svg display_json set_matplotlib_formats update_display DisplayHandle"
).split()

_home: Any = None  # the module that stands for IPython's


def lead_to(module: ModuleType) -> None:
    """Have what is here show values by the functions of `module`."""
    global _home  # noqa: PLW0603 - set once, when the module is loaded
    _home = module


class DisplayObject:
    """Data that is seen in a way of its own."""

    _is_binary = False

    def __init__(
        self, data: Any = None, url: str | None = None, filename: Any = None, **options: Any
    ) -> None:
        if isinstance(data, os.PathLike):
            data, filename = None, data
        self.url = url
        self.filename = None if filename is None else os.fspath(filename)
        self.metadata = options.pop("metadata", {})
        self.options = options
        self.data = data
        if data is None and self.filename is not None:
            self.reload()

    def reload(self) -> None:
        """Read the file again."""
        assert self.filename is not None
        if self._is_binary:
            with open(self.filename, "rb") as binary:
                self.data = binary.read()
        else:
            with open(self.filename, encoding="utf-8") as text:
                self.data = text.read()

    def __repr__(self) -> str:
        return f"<IPython.core.display.{type(self).__name__} object>"


class Pretty(DisplayObject):
    """Plain text."""

    def _repr_pretty_(self, printer: Any, _is_cycle: bool) -> None:
        printer.text(self.data)


class HTML(DisplayObject):
    """HTML."""

    def _repr_html_(self) -> Any:
        return self.data

    __html__ = _repr_html_


class Markdown(DisplayObject):
    """Markdown."""

    def _repr_markdown_(self) -> Any:
        return self.data


class Latex(DisplayObject):
    """LaTeX with text around it."""

    def _repr_latex_(self) -> Any:
        return self.data


class Math(DisplayObject):
    """A formula."""

    def _repr_latex_(self) -> Any:
        return f"$\\displaystyle {self.data.strip('$')}$"


class SVG(DisplayObject):
    """A drawing."""

    def _repr_svg_(self) -> Any:
        return self.data


class Javascript(DisplayObject):
    """A script, which nobody runs here."""

    def _repr_javascript_(self) -> Any:
        return self.data


class JSON(DisplayObject):
    """A tree of data."""

    def _repr_json_(self) -> Any:
        return json.loads(self.data) if isinstance(self.data, str) else self.data


class Code(DisplayObject):
    """Source code."""

    def __repr__(self) -> str:
        return str(self.data)


class _Media(DisplayObject):
    """Bytes of a file, or a name of one."""

    _is_binary = True
    _kind: ClassVar[str] = ""

    def __init__(self, data: Any = None, **options: Any) -> None:
        self.format = options.pop("format", None)
        is_name = isinstance(data, str) and os.path.exists(data)
        if isinstance(data, str) and data.startswith(("http:", "https:")):
            super().__init__(url=data, **options)
        elif is_name:
            super().__init__(filename=data, **options)
        else:
            super().__init__(data, **options)

    def _mime(self) -> str:
        guessed = mimetypes.guess_type(self.filename or "")[0]
        return str(self.options.get("mimetype") or guessed or self._kind)

    def _source(self) -> str:
        return str(self.url or f"data:{self._mime()};base64,{self._encoded()}")

    def _encoded(self) -> str:
        return base64.b64encode(bytes(self.data)).decode("ascii")


class Image(_Media):
    """A picture."""

    _kind = "image/png"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        del include, exclude
        if self.data is None:
            return {"text/html": f'<img src="{html.escape(self.url or "")}"/>'}
        if isinstance(self.data, str):
            if "<svg" not in self.data:
                raise FileNotFoundError(f"No such file or directory: '{self.data}'")
            return {"image/svg+xml": self.data}
        return {_picture_mime(self.data) or self._mime(): self._encoded()}


class Audio(_Media):
    """Sound: bytes, a file, or samples with their `rate`."""

    _kind = "audio/wav"

    def __init__(self, data: Any = None, rate: int | None = None, **options: Any) -> None:
        if rate is not None and data is not None:
            data = _wave(data, rate)
        super().__init__(data, **options)
        if self.data is not None and not isinstance(self.data, bytes):
            raise ValueError(
                "rate must be specified when data is a numpy array or list of audio samples."
            )

    def _repr_html_(self) -> str:
        source = self._source()
        return f'<audio controls src="{html.escape(source)}"></audio>'


class Video(_Media):
    """Moving pictures."""

    _kind = "video/mp4"

    def _repr_html_(self) -> str:
        source = self._source()
        return f'<video controls src="{html.escape(source)}"></video>'


class IFrame:
    """A page inside another."""

    def __init__(self, src: str, width: Any = "100%", height: Any = 400, **_options: Any) -> None:
        self.src, self.width, self.height = src, width, height

    def _repr_html_(self) -> str:
        size = f'width="{self.width}" height="{self.height}"'
        return f'<iframe {size} src="{html.escape(self.src)}"></iframe>'


class YouTubeVideo(IFrame):
    """A video by its id."""

    def __init__(self, id: str, **options: Any) -> None:
        super().__init__(f"https://www.youtube.com/embed/{id}", **options)


class FileLink:
    """A name of a file."""

    def __init__(self, path: Any, **_options: Any) -> None:
        self.path = os.fspath(path)

    def __repr__(self) -> str:
        return str(os.path.abspath(self.path))


class FileLinks(FileLink):
    """The names of the files in a folder."""

    def __repr__(self) -> str:
        found = [os.path.join(f, n) for f, _, names in os.walk(self.path) for n in sorted(names)]
        return "\n".join([f"{self.path}/", *found])


class DisplayHandle:
    """An identity under which values are shown in one place."""

    def __init__(self, display_id: str | None = None) -> None:
        self.display_id = display_id or os.urandom(16).hex()

    def display(self, value: Any, **options: Any) -> None:
        """Show a value under it."""
        _home.display(value, display_id=self.display_id, **options)

    def update(self, value: Any, **options: Any) -> None:
        """Show a value in the place of the one before."""
        update_display(value, display_id=self.display_id, **options)


def update_display(value: Any, *, display_id: str, **options: Any) -> None:
    """Show a value in the place of the one with this identity."""
    _home.display(value, display_id=display_id, **{**options, "update": True})


def set_matplotlib_formats(*_formats: str, **_options: Any) -> None:
    """Accept it: figures are shown as PNG."""


def _shower(kind: type[DisplayObject]) -> Any:
    def show(*values: Any, raw: bool = False, **_options: Any) -> None:
        for value in values:
            _home.display(kind(value) if raw else value)

    return show


display_html, display_markdown, display_latex = map(_shower, (HTML, Markdown, Latex))
display_svg, display_json, display_png = _shower(SVG), _shower(JSON), _shower(Image)


def _picture_mime(data: bytes) -> str | None:
    heads = {
        b"\x89PNG": "image/png",
        b"\xff\xd8\xff": "image/jpeg",
        b"GIF8": "image/gif",
        b"RIFF": "image/webp",
    }
    return next((mime for head, mime in heads.items() if data.startswith(head)), None)


def _wave(samples: Any, rate: int) -> bytes:
    """Return samples as a file of sound: one channel or one row per channel, 16 bits."""
    numpy: Any = __import__("numpy")
    rows = numpy.atleast_2d(numpy.asarray(samples, dtype=float))
    most = numpy.abs(rows).max() or 1.0
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(len(rows))
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes((rows.T / most * 32767).astype("<i2").tobytes())
    return file.getvalue()
