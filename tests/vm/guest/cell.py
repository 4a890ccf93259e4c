"""
Runs one cell as `sanderling exec` would, in a box of a zygote that has loaded nothing.

Prints what the cell shows, or in a sentence why no box can be made; then the exit code is 1.
"""

from __future__ import annotations

import asyncio
import sys

from sanderling.errors import SandboxError
from sanderling.sandbox.local import LocalSandbox
from tests.vm.guest.checks import OPTIONS, Bench, quick


async def main() -> None:
    sandbox = LocalSandbox(OPTIONS, quick)
    await sandbox.open()
    try:
        bench = Bench("", sandbox)
        await bench.fresh()
        shown, _ = await bench.run("print(6 * 7)")
        print(shown)
    finally:
        await sandbox.end()


try:
    asyncio.run(main())
except SandboxError as error:
    sys.exit(error.message)
