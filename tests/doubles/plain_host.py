"""The sandbox host with the spawner that has no wall: a real process for the launcher's tests."""

from __future__ import annotations

import sys

from sanderling.errors import MachineUnfit
from sanderling.sandbox import host
from sanderling.sandbox.options import HostOptions
from tests.doubles.plain_spawner import PlainSpawner


async def start(options: HostOptions) -> PlainSpawner:
    if options.env.endswith("unfit"):
        raise MachineUnfit("This machine has no namespaces: do this about it.")
    if options.env.endswith("crashing"):
        raise RuntimeError("a bug")
    return await PlainSpawner.start(logs_bytes_max=options.logs_bytes_max)


if __name__ == "__main__":
    sys.exit(host.main(start=start))
