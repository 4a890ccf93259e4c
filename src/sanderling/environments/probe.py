"""
Run by any Python, says as one JSON object which Python it is and what it needs to run.

A script, never imported: it has to work in an interpreter that has none of our packages and may be
older than we support, so it uses little of the language and only the standard library.

`folders` are the places this interpreter reads outside its environment: prefixes, standard library,
each folder that the chain of links from the environment's `python` passes through, and the folders
of shared libraries that are mapped once the usual extension modules are loaded.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import os
import sys
import sysconfig

# Extension modules of the standard library that bring shared libraries of their own.
LINKED = ("ssl", "ctypes", "sqlite3", "lzma", "bz2", "zlib", "readline", "decimal", "hashlib")


def link_chain(path: str) -> list[str]:
    """Return the folder of `path` and of every link after it, until it is a file."""
    folders = [os.path.dirname(path)]
    while os.path.islink(path):
        path = os.path.join(os.path.dirname(path), os.readlink(path))
        folders.append(os.path.normpath(os.path.dirname(path)))
    return folders


def mapped_folders() -> list[str]:
    """Return the folders of the shared libraries that this process has mapped."""
    for name in LINKED:
        # A Python built without the module needs no library for it.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with open("/proc/self/maps") as maps:
        files = {line.split(None, 5)[5].strip() for line in maps if line.count("/")}
    return [os.path.dirname(name) for name in files if ".so" in os.path.basename(name)]


def needed_folders() -> list[str]:
    """Return the folders outside the environment that this interpreter reads."""
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    paths += [sys.base_prefix, sys.base_exec_prefix]
    paths += link_chain(sys.executable) + mapped_folders()
    paths += [os.path.realpath(path) for path in paths]
    own = (sys.prefix, os.path.realpath(sys.prefix)) if sys.prefix != sys.base_prefix else ()
    return sorted(
        path
        for path in set(paths)
        if not any(path == prefix or path.startswith(prefix + os.sep) for prefix in own)
    )


def packages() -> dict[str, str]:
    """Return name in lower case -> version of every installed distribution."""
    found = importlib.metadata.distributions()
    return {item.metadata["Name"].lower(): item.version for item in found}


print(
    json.dumps(
        {
            "version": list(sys.version_info[:3]),
            "implementation": sys.implementation.name,
            "base_executable": os.path.realpath(getattr(sys, "_base_executable", sys.executable)),
            "folders": needed_folders(),
            "packages": packages(),
        }
    )
)
