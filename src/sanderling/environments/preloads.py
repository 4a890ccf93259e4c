"""
Which modules are loaded once, before boxes are forked: the list as an operator writes it.

Names with commas or spaces between. `default` stands for the usual list, of which what is not
installed is left out; whatever else is named must be there. `none` is nothing at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sanderling.errors import SetupError

DEFAULT = "default"
NONE = "none"
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
_MODULES_MAX = 64
_NAME_CHARS_MAX = 100


@dataclass(frozen=True, slots=True)
class Preload:
    """required: modules that must be there. has_usual: the usual list too, as far as it is."""

    required: tuple[str, ...]
    has_usual: bool

    def modules(self, usual: tuple[str, ...]) -> tuple[str, ...]:
        """Return every module to load, in order; `usual` is the usual list."""
        return tuple(dict.fromkeys((*(usual if self.has_usual else ()), *self.required)))


def parse(text: str) -> Preload:
    """
    Read a list; an empty text means the usual list.

    Raises:
        SetupError: a word in it is not the name of a module.
    """
    words = [word for word in re.split(r"[,\s]+", text) if word]
    if words == [NONE]:
        return Preload((), has_usual=False)
    for word in words:
        if _MODULE.fullmatch(word) is None or len(word) > _NAME_CHARS_MAX or word == NONE:
            raise SetupError(
                f"{word!r} in the preload list is not the name of a module; write names with "
                "commas between, such as: numpy, pandas."
            )
    if len(words) > _MODULES_MAX:
        raise SetupError(f"The preload list has more than {_MODULES_MAX} modules.")
    required = tuple(dict.fromkeys(word for word in words if word != DEFAULT))
    return Preload(required, has_usual=not words or DEFAULT in words)
