"""Commands that would install packages, answered: which are there, and why none can be added."""

from __future__ import annotations

import difflib
import importlib.metadata
import re
from collections.abc import Sequence

from sanderling.kernel import network

# Options of pip that the next word belongs to.
_WITH_VALUE = frozenset(
    "-c -e -f -i -r -t --constraint --editable --extra-index-url --find-links --index-url "
    "--prefix --requirement --root --target --timeout --trusted-host".split()
)
_SIMILAR_MAX = 3

# Packages that do much the same, best first. Only those that are installed are named.
_ALTERNATIVES = {
    "pymupdf": "pymupdf pypdf pdfplumber",
    "fitz": "pymupdf pypdf pdfplumber",
    "pdfminer": "pdfminer-six pdfplumber pypdf",
    "camelot": "pdfplumber pypdf",
    "camelot-py": "pdfplumber pypdf",
    "tabula": "pdfplumber pypdf",
    "tabula-py": "pdfplumber pypdf",
    "pypdf2": "pypdf pdfplumber",
    "pikepdf": "pypdf pdfplumber",
    "fpdf": "fpdf2 reportlab",
    "weasyprint": "reportlab",
    "docx2pdf": "reportlab python-docx",
    "docx2txt": "python-docx",
    "mammoth": "python-docx",
    "cv2": "opencv-python opencv-python-headless scikit-image pillow",
    "opencv-python": "opencv-python-headless scikit-image pillow",
    "skimage": "scikit-image opencv-python pillow",
    "imageio": "imageio pillow",
    "plotly": "plotly matplotlib",
    "bokeh": "bokeh matplotlib",
    "altair": "altair matplotlib",
    "polars": "polars pandas",
    "dask": "dask pandas",
    "modin": "pandas",
    "pyarrow": "pyarrow fastparquet",
    "xlwt": "openpyxl xlsxwriter",
    "pyxlsb": "python-calamine pyxlsb",
    "odf": "odfpy python-calamine",
    "torch": "torch scikit-learn numpy",
    "tensorflow": "tensorflow torch scikit-learn",
    "keras": "keras torch scikit-learn",
    "xgboost": "xgboost lightgbm scikit-learn",
    "lightgbm": "lightgbm xgboost scikit-learn",
    "catboost": "catboost scikit-learn",
    "prophet": "prophet statsmodels",
    "pmdarima": "pmdarima statsmodels",
    "pingouin": "pingouin scipy statsmodels",
    "nltk": "nltk textblob scikit-learn",
    "spacy": "spacy nltk scikit-learn",
    "wordcloud": "wordcloud matplotlib",
    "geopandas": "geopandas shapely",
    "toml": "tomli",
    "simplejson": "ujson orjson",
    "html5lib": "html5lib lxml",
}
# Modules of other Pythons, and what this one has.
_STANDARD_INSTEAD = {
    "imp": "importlib",
    "distutils": "shutil, sysconfig or setuptools",
    "asyncore": "asyncio",
    "cgi": "urllib.parse or html",
    "pipes": "shlex and subprocess",
    "tkinter": "matplotlib: there is no screen",
    "ConfigParser": "configparser",
    "Queue": "queue",
    "urllib2": "urllib.request",
    "StringIO": "io.StringIO",
    "cPickle": "pickle",
}


def answer(words: Sequence[str]) -> tuple[str, int]:
    """What an installer says that is told to do `words` (`install -q x`), and its status."""
    there = installed()
    order, names = words[0], _names(words[1:])
    if order in ("list", "freeze"):
        return "\n".join(f"{name}=={version}" for name, version in sorted(there.items())), 0
    if order == "show":
        return "\n".join(map(_shown, names)), 0 if any(_key(name) in there for name in names) else 1
    is_needless = (
        order == "install" and names != [] and all(_is_there(name, there) for name in names)
    )
    names = [re.split(r"[\[=<>!~; ]", name)[0] for name in names]
    return f"{refusal()}{_notes(names, there)}", 0 if is_needless else 1


def refusal() -> str:
    """That nothing can be installed, and what to do instead."""
    return f"{_refusal()} `%pip list` lists them."


def of_missing(module: str) -> str | None:
    """The sentence about a module that cannot be imported, if there is something to say."""
    root = module.partition(".")[0]
    there = installed()
    if instead := _STANDARD_INSTEAD.get(root):
        return f"`{root}` is not a module of this Python. Use {instead}."
    modules = importlib.metadata.packages_distributions()
    if root in modules:
        return None  # the package is there, a part of it is not; Python has said so
    if (name := _key(root)) in there:
        imports = sorted(m for m, of in modules.items() if name in map(_key, of) and m[0] != "_")
        if imports:
            return f"`{name}` is installed; it is imported as `{imports[0]}`."
    similar = _similar(root, there)
    similar += [m for m in difflib.get_close_matches(root, modules, cutoff=0.8) if m not in similar]
    note = f" Installed: {', '.join(similar[:_SIMILAR_MAX])}." if similar else ""
    return f"{_refusal()}{note}"


def installed() -> dict[str, str]:
    """Name and version of each package."""
    return {_key(d.name): d.version for d in importlib.metadata.distributions() if d.name}


def _names(words: Sequence[str]) -> list[str]:
    """The packages named among the words of a command."""
    before = ["", *words]
    return [w for b, w in zip(before, words, strict=False) if w[:1] != "-" and b not in _WITH_VALUE]


def _is_there(requirement: str, there: dict[str, str]) -> bool:
    """Whether a package is installed, in the version that is asked for."""
    name, _, version = requirement.partition("==")
    found = there.get(_key(re.split(r"[\[<>!~; ]", name)[0]))
    return found is not None and version in ("", found)


def _refusal() -> str:
    why = "" if network.has_proxy() else ": there is no network"
    return f"Packages cannot be installed{why}."


def _notes(names: list[str], there: dict[str, str]) -> str:
    known = [f"{name} {there[_key(name)]}" for name in names if _key(name) in there]
    note = f" Already installed: {', '.join(known)}." if known else ""
    for name in names:
        if _key(name) not in there and (similar := _similar(name, there)):
            note += f" Instead of {name} there is {', '.join(similar)}."
    return note


def _similar(name: str, there: dict[str, str]) -> list[str]:
    """Installed packages that may do instead."""
    others = [other for other in _ALTERNATIVES.get(_key(name), "").split() if other in there]
    if not others:
        others = difflib.get_close_matches(_key(name), there, n=_SIMILAR_MAX, cutoff=0.75)
    return others[:_SIMILAR_MAX]


def _shown(name: str) -> str:
    try:
        about = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return f"WARNING: Package(s) not found: {name}"
    return "\n".join(f"{key}: {about[key]}" for key in ("Name", "Version", "Summary"))


def _key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
