"""
Has the zygote's Python find the guest environment's packages, once it stands behind its wall.

An environment's own `python` would look at its site-packages as it starts, before a line of ours,
and run what it finds in `.pth` files. So the interpreter that the environment is built on is
started instead (`zygotes.py`), told what it is to take itself for, and this does the rest.
"""

from __future__ import annotations

import os
import site
import sys


def activate() -> None:
    """
    Be the Python that `sys.executable` names: its prefix, its packages, its `.pth` files.

    Without an effect if it is that Python already: an environment may have a copy, not a link.
    """
    if sys.prefix != sys.base_prefix:
        return
    # Not by sysconfig, which would remember the prefix that it finds when it is first asked.
    library = os.path.dirname(os.__file__)
    own = (library, os.path.join(library, "lib-dynload"))
    base = [path for path in sys.path if path not in own and not path.endswith(".zip")]
    sys.path[:] = [path for path in sys.path if path not in base]
    site.venv(set())
    if len(site.PREFIXES) > 1:  # the environment is to see its base's packages too
        sys.path += base
