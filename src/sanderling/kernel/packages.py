"""Commands that would install packages, answered: which are there, and why none can be added."""

from __future__ import annotations

import difflib
import importlib.metadata
import re

from sanderling.kernel import network

_INSTALLER = re.compile(
    r"(?:\S*python[\d.]*[ \t]+-m[ \t]+)?(?:pip3?|conda|mamba|uv pip)\b(.*)", re.DOTALL
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


def is_installer(command: str) -> bool:
    """Whether a command of the shell is one that installs packages."""
    return _INSTALLER.match(command.strip()) is not None


def answer(command: str) -> str:
    """What is printed for `pip install x`, `pip list`."""
    match = _INSTALLER.match(command.strip())
    words = match[1].split() if match else []
    there = installed()
    if words[:1] in (["list"], ["freeze"]):
        return "\n".join(f"{name}=={version}" for name, version in sorted(there.items()))
    names = [re.split(r"[\[=<>!~; ]", word.strip("'\""))[0] for word in words[1:]]
    names = [name for name in names if name and name[0] != "-"]
    if words[:1] == ["show"]:
        return "\n".join(_shown(name) for name in names)
    return f"{_refusal()} `%pip list` lists them.{_notes(names, there)}"


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
