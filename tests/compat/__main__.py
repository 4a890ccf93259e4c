"""`python -m tests.compat [SESSION …]`: print every difference, also those that are listed."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from sanderling.environments import locate
from tests.compat import comparison, jupyter, sessions


def main() -> int:
    python = locate.find(locate.default_env_dir()).python
    with tempfile.TemporaryDirectory() as folder:
        links = Path(folder) / "overlay"
        links.mkdir()
        jupyter.overlay(links)
        jupyter.list_fonts(python, links)
        for name in sys.argv[1:] or sessions.names():
            cells = sessions.cells(name)
            bench = comparison.Bench(python, links, Path(folder) / name)
            pairs = list(zip(cells, *bench.both(cells), strict=True))
            unlike = [pair for pair in pairs if pair[1].unlike(pair[2])]
            print(f"======== {name}: {len(cells)} cells, {len(unlike)} differ")
            for pair in unlike:
                print(comparison.report(*pair))
    return 0


if __name__ == "__main__":
    sys.exit(main())
