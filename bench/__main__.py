"""`make bench`: measure, set beside ipykernel, print one table."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import uv

from bench.figures import Row, Samples, show
from bench.ours import Boxes, over_http
from sanderling.environments.environment import Environment
from sanderling.environments.locate import find

PEER_PACKAGES = ["ipykernel==7.4.0", "jupyter_client==8.10.0"]


def peer_python(folder: Path, environment: Environment) -> Path:
    """Return a Python with ipykernel and the guest's own versions of the libraries."""
    python = folder / "bin/python"
    if not (folder / "ready").exists():
        print("Installing ipykernel beside the same libraries …", flush=True)
        pinned = [f"{n}=={environment.packages[n]}" for n in ("numpy", "pandas", "matplotlib")]
        base = [uv.find_uv_bin(), "--quiet"]
        venv = ["venv", "--clear", "--python", str(environment.python.resolve()), str(folder)]
        subprocess.run([*base, *venv], check=True)
        install = ["pip", "install", "--compile-bytecode", "--python", str(python)]
        subprocess.run([*base, *install, *PEER_PACKAGES, *pinned], check=True)
        (folder / "ready").touch()
    return python


def measure_peer(python: Path, count: int) -> dict[str, Samples]:
    script = Path(__file__).with_name("ipykernel_peer.py")
    answer = subprocess.run(
        [python, script, str(count)], check=True, stdout=subprocess.PIPE, text=True
    )
    return {
        name: Samples("MiB" if name.endswith("mib") else "ms", values)
        for name, values in json.loads(answer.stdout).items()
    }


async def measure_ours(env: Path, count: int) -> dict[str, Samples]:
    async with Boxes.open(env) as boxes:
        await boxes.from_pool(3)
        result = {
            "from_pool": await boxes.from_pool(count),
            "without_pool": await boxes.without_pool(count),
            "first_plot": await boxes.first_plot(max(5, count // 5)),
            "round_trip": await boxes.round_trips(count * 20),
            "respawn": await boxes.respawns(count),
            "interrupt": await boxes.interrupts(count),
            "idle_mib": await boxes.idle_memory(count),
            "lives": await boxes.lives_per_second(count * 4),
        }
    executions, runs = await over_http(env, count * 4)
    return result | {"http": executions, "run": runs}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--count", type=int, default=50, help="samples per row")
    parser.add_argument("--env", type=Path, help="guest environment; default: the one set up")
    parser.add_argument("--peer", type=Path, default=Path(".sanderling/bench-env"))
    arguments = parser.parse_args()
    environment = find(arguments.env)
    python = peer_python(arguments.peer.absolute(), environment)
    print("Measuring ipykernel …", file=sys.stderr, flush=True)
    peer = measure_peer(python, max(3, arguments.count // 10))
    print("Measuring Sanderling …", file=sys.stderr, flush=True)
    ours = asyncio.run(measure_ours(environment.path, arguments.count))
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}"
    show(
        [
            Row("box from the pool → pandas imported", ours["from_pool"], peer["first_import"],
                "p50 ≤ 1 ms, p99 ≤ 10 ms"),
            Row("box without pool → first output", ours["without_pool"], peer["first_print"],
                "p50 ≤ 10 ms"),
            Row("box without pool → first plot", ours["first_plot"], peer["first_plot"],
                "≤ 100 ms"),
            Row("execution, host to kernel and back", ours["round_trip"], peer["round_trip"],
                "p50 ≤ 0.1 ms"),
            Row("execution over HTTP", ours["http"], peer["round_trip"], "p50 ≤ 3 ms"),
            Row("one run over HTTP, one code call", ours["run"], None, "≤ 25 ms of ours"),
            Row("new kernel after a kill, files kept", ours["respawn"], peer["first_print"],
                "≤ 15 ms"),
            Row("interrupt `while True`", ours["interrupt"], peer["interrupt"], "≤ 10 ms"),
            Row("private memory, libraries loaded", ours["idle_mib"], peer["idle_mib"],
                "≤ 4 MiB"),
            Row("create + execute + destroy", ours["lives"], None, "≥ 130 /s"),
        ],
        machine,
    )  # fmt: skip


if __name__ == "__main__":
    main()
