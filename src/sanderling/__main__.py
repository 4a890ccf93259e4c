"""The `sanderling` command, also as `python -m sanderling`."""

from __future__ import annotations

from sanderling.cli.main import main

if __name__ == "__main__":
    main()
