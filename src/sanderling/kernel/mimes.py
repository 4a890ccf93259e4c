"""
In which ways a value can be seen: IPython's rules for `_repr_html_` and its like.

An object says so by methods of these names. What is asked of an object that has an answer to
everything (a mock) is not believed, and a class is not taken for one of its instances.
"""

from __future__ import annotations

import base64
import binascii
import inspect
import json
import sys
import types
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sanderling.kernel import displayed, protocol
from sanderling.kernel.formatters import FORMATTERS
from sanderling.kernel.tracebacks import describe

TEXT, _FORMULA = "text/plain", "text/latex"
PICTURES = ("image/png", "image/jpeg", "image/svg+xml", "image/gif", "image/webp")

# What each method may return.
_METHODS: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "text/html": ("_repr_html_", (str,)),
    "text/markdown": ("_repr_markdown_", (str,)),
    "text/latex": ("_repr_latex_", (str,)),
    "image/svg+xml": ("_repr_svg_", (str,)),
    "image/png": ("_repr_png_", (bytes, str)),
    "image/jpeg": ("_repr_jpeg_", (bytes, str)),
    "application/json": ("_repr_json_", (dict, list)),
    "application/javascript": ("_repr_javascript_", (str,)),
}
_IPYTHONS = ("IPython.", displayed.__name__)
_CANARY = "_ipython_canary_method_should_not_exist_"

Bundle = dict[str, Any]
Kinds = Collection[str] | None


def method_of(value: object, name: str) -> Callable[..., Any] | None:
    """Return a method by which `value` shows itself, if it means it."""
    try:
        if getattr(value, _CANARY, None) is not None:
            return None  # it has everything
        method = getattr(value, name, None)
    except Exception:  # noqa: BLE001 - user code
        return None
    if inspect.isclass(value) and not isinstance(method, types.MethodType):
        return None
    return method if callable(method) else None


def bundle_of(value: object, include: Kinds = None, exclude: Kinds = None) -> Bundle:
    """
    Return what `value` offers beside its text, by media type; what fails is told on stderr.

    Raises:
        OSError: an object of IPython's was given a file that cannot be read.
    """
    bundle: Bundle = {}
    method = method_of(value, "_repr_mimebundle_")
    if method is not None:
        is_ipythons = str(type(value).__module__).startswith(_IPYTHONS)
        offered = _result_of(
            lambda: method(include=include, exclude=exclude), is_ipythons=is_ipythons
        )
        if isinstance(offered, dict):
            bundle = {k: v for k, v in offered.items() if _is_wanted(k, include, exclude)}
    for mime, (name, kinds) in _METHODS.items():
        if mime in bundle or not _is_wanted(mime, include, exclude):
            continue
        if mime in PICTURES and _FORMULA in bundle:
            continue  # a formula is read: of a picture of it nothing would be text
        render = FORMATTERS.function_for(mime, value) or method_of(value, name)
        if render is not None:
            offered = _result_of(render)
            if isinstance(offered, kinds):
                bundle[mime] = offered
    return bundle


def picture_in(bundle: Bundle) -> tuple[str, bytes] | None:
    """Return (mime, data) of the best picture in a bundle."""
    for mime in PICTURES:
        data = _bytes_of(bundle.get(mime), is_text=mime == "image/svg+xml")
        if data:
            return mime, data
    return None


def is_picture(bundle: Bundle) -> bool:
    """Whether a bundle is shown as a picture."""
    return picture_in(bundle) is not None


def parts_of(bundle: Bundle) -> tuple[list[tuple[str, bytes]], int]:
    """Return (mime, data) of what can travel beside the text, and the bytes that were too many."""
    parts: list[tuple[str, bytes]] = []
    room, left_out = protocol.PARTS_BYTES_MAX, 0
    for mime, offered in bundle.items():
        if mime == TEXT or mime in PICTURES[:2] or mime in PICTURES[3:]:
            continue
        data = _part(mime, offered)
        if data is None or not protocol.is_mime(mime) or len(parts) == protocol.PARTS_MAX:
            continue
        if len(data) > room:
            left_out += len(data)
            continue
        room -= len(data)
        parts.append((mime, data))
    return parts, left_out


def _part(mime: str, offered: object) -> bytes | None:
    if isinstance(offered, str):
        return offered.encode("utf-8", "backslashreplace")
    if mime.endswith("json") and isinstance(offered, dict | list):
        try:
            return json.dumps(offered, ensure_ascii=False, default=str).encode("utf-8", "replace")
        except (TypeError, ValueError, RecursionError):
            return None
    return None


def _is_wanted(mime: object, include: Kinds, exclude: Kinds) -> bool:
    if not isinstance(mime, str) or (exclude and mime in exclude):
        return False
    return not include or mime in include


def _result_of(render: Callable[[], Any], *, is_ipythons: bool = False) -> Any:
    """Return what a method does, without metadata; None, and words on stderr, if it fails."""
    try:
        offered = render()
    except NotImplementedError:
        return None
    except Exception as error:  # user code; as in notebooks, its text is shown
        if is_ipythons and isinstance(error, OSError):
            raise error from None
        sys.stderr.write(describe(error).text)
        return None
    return offered[0] if isinstance(offered, tuple) and len(offered) == 2 else offered


def _bytes_of(offered: object, *, is_text: bool) -> bytes | None:
    """What an object gave as its picture: bytes, text, or base64 as notebooks have it."""
    if isinstance(offered, bytes):
        return offered
    if not isinstance(offered, str):
        return None
    if is_text:
        return offered.encode("utf-8", "backslashreplace")
    try:
        return base64.b64decode("".join(offered.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
