"""A named environment on disk that nobody built: its papers, and this very Python."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path


def plant(folder: Path, name: str, *, preload: str | None = None) -> Path:
    """Put the environment `name` into `folder`, in place of one that is there; return its path."""
    stage = folder / f".{name}.planted"
    (stage / "bin").mkdir(parents=True)
    os.symlink(sys.executable, stage / "bin" / "python")
    facts = {
        "lock_digest": "0" * 64,
        "version": list(sys.version_info[:3]),
        "implementation": "cpython",
        "base_executable": os.path.realpath(sys.executable),
        "folders": [],
        "packages": {"humanize": "4.0"},
    }
    record = {
        "name": name,
        "requirements": "humanize\n",
        "is_bare": True,
        "preload": preload,
        "digest": "0" * 64,
        "built_at": 1.0,
        "bytes": 1 << 20,
    }
    (stage / "sanderling.json").write_text(json.dumps({**facts, "named": record}))
    target = folder / name
    if target.exists():
        shutil.rmtree(target)
    stage.rename(target)
    return target
