"""
IPython's `display` and what belongs to it, led to our own channel.

Where IPython is installed its objects (`HTML`, `Image`, `Audio`) are its own; three functions of
its are replaced by ours, and the package itself is loaded only when more of it is asked for than
its submodules: all of it takes a tenth of a second and reads files, `IPython.display` 4 ms. Where
it is not installed, `IPython.display` is `displayed.py`, which has what models use of it.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, cast

from sanderling.kernel import displayed
from sanderling.kernel.hooks import after_import, do_nothing

_SUBMODULES = frozenset({"core", "display", "lib", "utils", "testing", "terminal", "paths"})
_RELEASE = frozenset({"__version__", "version_info"})

_modules = sys.modules


class IPython:
    """Leads IPython here, when it is imported."""

    def __init__(
        self,
        display: Callable[..., Any],
        publish: Callable[..., Any],
        clear: Callable[..., Any],
        capture_output: type,
    ) -> None:
        self._display, self._publish, self._clear = display, publish, clear
        self._capture_output = capture_output

    def install(self) -> None:
        """Do so from the next import on."""
        after_import(
            {
                "IPython.core.display_functions": self._wrap_functions,
                "IPython.core.getipython": _wrap_getipython,
                "IPython.utils.capture": self._wrap_capture,
                "matplotlib_inline.backend_inline": _wrap_inline_backend,
                "tqdm.notebook": _wrap_tqdm,
            }
        )
        sys.meta_path.insert(0, cast("Any", _Finder(self._wrap_functions)))

    def _wrap_capture(self, module: ModuleType) -> None:
        cast("Any", module).capture_output = self._capture_output

    def _wrap_functions(self, module: ModuleType) -> None:
        functions: Any = module
        display, publish, clear = self._display, self._publish, self._clear

        def publish_display_data(
            data: Any, metadata: Any = None, source: Any = None, **options: Any
        ) -> None:
            del source
            publish(data, metadata, **options)

        functions.display = display
        functions.publish_display_data = publish_display_data
        functions.clear_output = clear


class _Finder:
    """Finds the package `IPython` as one that loads itself late, or ours in its place."""

    def __init__(self, wrap_functions: Callable[[ModuleType], None]) -> None:
        self._wrap_functions = wrap_functions

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "IPython" and not name.startswith("IPython."):
            return None
        if name == "IPython":
            real = importlib.machinery.PathFinder.find_spec(name, path, target)
            if real is not None and real.loader is not None:
                real.loader = cast("Any", _LateLoader(real.loader))
                return real
            return _stand_in(name, is_package=True)
        if isinstance(getattr(_modules["IPython"], "__loader__", None), _StandInLoader):
            if name == "IPython.core":
                return _stand_in(name, is_package=True)
            if name in displayed.MODULES:
                return _stand_in(name, displayed, self._wrap_functions)
        return None


def _stand_in(
    name: str,
    ours: ModuleType | None = None,
    wrap: Callable[[ModuleType], None] | None = None,
    *,
    is_package: bool = False,
) -> importlib.machinery.ModuleSpec:
    loader: Any = _StandInLoader(ours, wrap)
    return importlib.machinery.ModuleSpec(name, loader, is_package=is_package)


class _LateLoader:
    """Loads a package when one of its names is asked for; submodules are found before."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: Any) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        is_loaded = False

        def find(name: str) -> Any:
            nonlocal is_loaded
            if name == "get_ipython":
                return _get_ipython
            if name in _SUBMODULES:
                return importlib.import_module(f"IPython.{name}")
            if name in _RELEASE:
                release = importlib.import_module("IPython.core.release")
                return getattr(release, name.strip("_") if name == "__version__" else name)
            if is_loaded or (name.startswith("__") and name.endswith("__")):
                raise AttributeError(f"module 'IPython' has no attribute '{name}'", name=name)
            is_loaded = True
            self._loader.exec_module(module)
            return getattr(module, name)

        module.__getattr__ = find  # type: ignore[method-assign]


class _StandInLoader:
    """Loads a module of ours under a name of IPython's."""

    def __init__(
        self,
        ours: ModuleType | None = None,
        wrap: Callable[[ModuleType], None] | None = None,
    ) -> None:
        self._ours = ours
        self._wrap = wrap

    def create_module(self, spec: Any) -> None:
        del spec

    def exec_module(self, module: ModuleType) -> None:
        if self._ours is None:
            names: Any = module
            names.get_ipython = _get_ipython
            names.__version__ = "0"
            names.__path__ = []
            names.__getattr__ = _find_stand_in
            return
        for name in displayed.NAMES:
            setattr(module, name, getattr(self._ours, name))
        if self._wrap is not None:
            self._wrap(module)
            displayed.lead_to(module)


def _find_stand_in(name: str) -> Any:
    if name in ("display", "core"):
        return importlib.import_module(f"IPython.{name}")
    raise AttributeError(f"module 'IPython' has no attribute '{name}'", name=name)


def _get_ipython() -> Any:
    """Return the shell of notebooks, as far as there is one here."""
    find: Callable[[], Any] | None = getattr(builtins, "get_ipython", None)
    return None if find is None else find()


def _wrap_getipython(module: ModuleType) -> None:
    cast("Any", module).get_ipython = _get_ipython


def _wrap_inline_backend(module: ModuleType) -> None:
    """Its functions would start a whole IPython; pictures are PNG here whatever they say."""
    backend: Any = module
    backend.set_matplotlib_formats = backend.set_matplotlib_close = do_nothing


def _wrap_tqdm(module: ModuleType) -> None:
    """A bar of widgets cannot be shown: take the one of text."""
    standard: Any = importlib.import_module("tqdm.std")
    notebook: Any = module
    notebook.tqdm = notebook.tqdm_notebook = standard.tqdm
    notebook.trange = notebook.tnrange = standard.trange
