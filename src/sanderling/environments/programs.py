"""
Programs of the operating system that code in boxes may start, where this machine has them.

A box's /usr is the machine's own, so nothing is installed for boxes: whatever the operator installs
is there when the next zygote is started.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping

# What models write calls these, or a package that does; program -> package of Debian and Ubuntu.
PROGRAMS: Mapping[str, str] = {
    "tesseract": "tesseract-ocr",  # pytesseract
    "ffmpeg": "ffmpeg",  # pydub, matplotlib's films
    "dot": "graphviz",  # graphviz, pydot
    "pdftoppm": "poppler-utils",  # pdf2image
    "antiword": "antiword",  # old .doc
}
# Where boxes find programs (`sandbox/wall`); not this process's own PATH.
_PATH = "/usr/local/bin:/usr/bin:/bin"


def missing(path: str = _PATH) -> dict[str, str]:
    """Return the programs that are not there, with the package that has each."""
    return {
        name: package for name, package in PROGRAMS.items() if not shutil.which(name, path=path)
    }


def remedy(lacking: Mapping[str, str]) -> str:
    """Return the command that installs what is lacking."""
    return "apt install --no-install-recommends " + " ".join(dict.fromkeys(lacking.values()))
