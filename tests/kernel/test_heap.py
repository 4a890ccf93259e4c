"""The heap that all boxes share: whole after the move, and nobody's to write."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import sanderling


def run(code: str) -> Any:
    """Run a script that has `heap`; return what it printed as JSON."""
    root = str(Path(sanderling.__file__).parents[1])
    start = f"import sys; sys.path.insert(0, {root!r})\nfrom sanderling.kernel import heap\n"
    done = subprocess.run(
        [sys.executable, "-I", "-c", start + "import json, os\n" + code],
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


def test_what_was_on_the_heap_is_there_after_the_move_and_can_be_changed() -> None:
    code = (
        "values = {str(n): [n] for n in range(100_000)}; text = 'x' * 5_000_000\n"
        "heap.share()\n"
        "moved = sum('/memfd:heap' in line for line in open('/proc/self/maps')) > 0\n"
        "values.update({str(n): [n, n] for n in range(50_000, 150_000)})\n"
        "right = all(values[str(n)] == [n] * (1 + (n >= 50_000)) for n in range(150_000))\n"
        "print(json.dumps([moved, right, text == 'x' * 5_000_000]))"
    )

    assert run(code) == [True, True, True]


def test_what_a_child_writes_is_its_own() -> None:
    code = (
        "values = list(range(200_000, 500_000)); heap.share()\n"
        "read_end, write_end = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    values[:] = [0] * len(values)\n"
        "    os.write(write_end, json.dumps(sum(values)).encode())\n"
        "    os._exit(0)\n"
        "print(json.dumps([json.loads(os.read(read_end, 99)), values[0], values[-1]]))"
    )

    assert run(code) == [0, 200_000, 499_999]


def test_nobody_can_write_to_the_file_behind_it() -> None:
    # Only the machine's root gets at the file at all, by a name that the kernel gives it.
    code = (
        "heap.share()\n"
        "area = next(l.split()[0] for l in open('/proc/self/maps') if '/memfd:heap' in l)\n"
        "refusals = []\n"
        "def write(flags, how):\n"
        "    try:\n"
        "        how(os.open(f'/proc/self/map_files/{area}', flags))\n"
        "    except PermissionError:\n"
        "        refusals.append(how.__name__)\n"
        "def overwrite(fd): os.pwrite(fd, bytes(9), 0)\n"
        "def shorten(fd): os.ftruncate(fd, 0)\n"
        "write(os.O_RDWR, overwrite); write(os.O_RDWR, shorten)\n"
        "print(json.dumps(refusals))"
    )

    assert run(code) == ["overwrite", "shorten"]
