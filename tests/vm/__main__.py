"""
Tries the sandbox in a virtual machine with a stock Debian 12: `make test-vm`.

    python -m tests.vm                      all, in every situation
    python -m tests.vm user-scope plain     in these (guest/situations.sh)
    python -m tests.vm -- COMMAND           any shell command, as root
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

from sanderling.environments import locate
from tests.vm import image, machine

TOP = Path(__file__).resolve().parents[2]
SITUATIONS = "tests/vm/guest/situations.sh"
FOLDER = TOP / ".sanderling" / "vm"


# How a kernel is started, and what is tried in it (`guest/situations.sh`).
STARTS = {
    "": "root service user-scope user-service container plain settings",
    "systemd.unified_cgroup_hierarchy=0": "hybrid hybrid-plain",
    "lsm=yama,apparmor": "no-landlock",
    "cgroup_disable=memory": "no-memory-controller",
}


def main() -> int:
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(prog="python -m tests.vm", description=__doc__.splitlines()[1])
    parser.add_argument("--rebuild", action="store_true", help="build the image anew")
    parser.add_argument("--deadline", type=float, default=3600.0, metavar="SECONDS")
    parser.add_argument(
        "--check", default="", metavar="TEXT", help="only checks with it in the name"
    )
    parser.add_argument("--append", default="", help="added to the kernel's command line")
    parser.add_argument("situations", nargs="*", help="all of them unless named")
    asked = parser.parse_args(arguments[:end])
    disk = image.build(FOLDER, Path(sys.prefix), locate.find(None), anew=asked.rebuild)
    if end < len(arguments):
        return run(disk, asked, " ".join(arguments[end + 1 :]))
    failed = 0
    for start, situations in STARTS.items():
        wanted = [s for s in situations.split() if not asked.situations or s in asked.situations]
        if wanted:
            command = f"CHECK={shlex.quote(asked.check)} sh {SITUATIONS} {' '.join(wanted)}"
            failed += run(disk, asked, command, start)
    return failed


def run(disk: image.Image, asked: argparse.Namespace, command: str, start: str = "") -> int:
    """Boot and run a command; return its exit code, 1 if it did not come to an end."""
    began = time.monotonic()
    print(f"--- a machine started with {start or 'nothing special'}", flush=True)
    try:
        code = machine.run(
            disk,
            command,
            log=FOLDER / "console.log",
            deadline_s=asked.deadline,
            kernel_arguments=f"{start} {asked.append}",
        )
    except machine.Unfinished as error:
        print(error, file=sys.stderr)
        return 1
    print(f"--- exit code {code} after {time.monotonic() - began:.0f} s", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
