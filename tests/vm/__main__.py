"""
Tries the sandbox in a virtual machine with a stock Debian 12: `make test-vm`.

    python -m tests.vm                      the checks, in every situation
    python -m tests.vm delegated plain      in these
    python -m tests.vm -- COMMAND           any shell command, as root
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from sanderling.environments import locate
from tests.vm import image, machine

TOP = Path(__file__).resolve().parents[2]
FOLDER = TOP / ".sanderling" / "vm"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.vm", description=__doc__.splitlines()[1])
    parser.add_argument("--rebuild", action="store_true", help="build the image anew")
    parser.add_argument("--deadline", type=float, default=3600.0, metavar="SECONDS")
    parser.add_argument("--append", default="", help="added to the kernel's command line")
    parser.add_argument("situations", nargs="*", help="all of them unless named")
    own, _, command = " ".join(sys.argv[1:]).partition("-- ")
    asked = parser.parse_args(own.split())
    built = image.build(FOLDER, Path(sys.prefix), locate.find(None), anew=asked.rebuild)
    began = time.monotonic()
    try:
        code = machine.run(
            built,
            command or f"sh tests/vm/guest/situations.sh {' '.join(asked.situations)}",
            log=FOLDER / "console.log",
            deadline_s=asked.deadline,
            kernel_arguments=asked.append,
        )
    except machine.Unfinished as error:
        print(error, file=sys.stderr)
        return 1
    print(f"--- exit code {code} after {time.monotonic() - began:.0f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
