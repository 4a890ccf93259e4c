"""
Writing that matplotlib's own fonts lack (Chinese, Arabic, emoji): drawn with what the system has.

matplotlib looks for each character in the fonts of a text in turn. The system's are put behind
those that a style asks for, so no style changes how anything looks that it could draw itself.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from sanderling.kernel.hooks import after_import

# Looked for by name; what is not installed is left out. Emoji come without colours: matplotlib
# draws outlines only.
FALLBACKS = (
    "Noto Sans CJK JP",
    "Noto Sans Arabic",
    "Noto Sans Hebrew",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Symbola",
)


def install() -> None:
    """Put the fonts in place: now if matplotlib is loaded, else when it will be."""
    after_import({"matplotlib.font_manager": _wrap_manager})


def _wrap_manager(module: ModuleType) -> None:
    manager: Any = module.FontManager  # type: ignore[attr-defined,unused-ignore]
    find = getattr(manager, "_find_fonts_by_props", None)
    if find is None:
        return  # a matplotlib that has no fallback, or another one than we know

    # Now, not with the first text: a zygote then looks for all its boxes.
    known = _paths_of(module.fontManager)  # type: ignore[attr-defined,unused-ignore]

    @functools.wraps(find)
    def find_and_fall_back(
        self: Any, prop: Any, fontext: str = "ttf", *rest: Any, **named: Any
    ) -> list[Any]:
        found: list[Any] = find(self, prop, fontext, *rest, **named)
        if fontext == "ttf":
            found += [path for path in known if path not in found]
        return found

    manager._find_fonts_by_props = find_and_fall_back  # noqa: SLF001 - it has no public way


def _paths_of(manager: Any) -> list[Any]:
    """Return a path, as the manager itself returns them, for each fallback that there is."""
    there = {entry.name for entry in manager.ttflist}
    return [manager.findfont(name) for name in FALLBACKS if name in there]
