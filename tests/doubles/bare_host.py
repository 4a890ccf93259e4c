"""The sandbox host with real boxes and nothing preloaded: it starts in a fraction of the time."""

from __future__ import annotations

import sys
from pathlib import Path

from sanderling.sandbox import host
from sanderling.sandbox.options import HostOptions
from sanderling.sandbox.spawner import Spawner


async def start(options: HostOptions) -> Spawner:
    return await Spawner.start(
        env=Path(options.env),
        disk_bytes=options.disk_bytes,
        logs_bytes_max=options.logs_bytes_max,
        preload=(),
    )


if __name__ == "__main__":
    sys.exit(host.main(start=start))
