"""
What a Jupyter kernel takes for the same; run with the peer's own Python, prints JSON.

It needs ipykernel and jupyter_client beside the same data libraries, which `bench/__main__.py`
installs into an environment of its own.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from jupyter_client.manager import start_new_kernel  # type: ignore[import-not-found]

IMPORTS = "import pandas, numpy, matplotlib.pyplot as plt; print(pandas.__version__)"
PLOT = "plt.plot([1, 2, 3]); plt.show()"


def run(client: Any, code: str) -> None:
    reply = client.execute_interactive(code, output_hook=lambda _: None, timeout=120)
    if reply["content"]["status"] != "ok":
        raise RuntimeError(f"{code!r} failed: {reply['content']}")


def private_mib(pid: int) -> float:
    kib = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean:", "Private_Dirty:")):
            kib += int(line.split()[1])
    return kib / 1024


def main(count: int) -> None:
    result: dict[str, list[float]] = {
        "first_print": [],
        "first_import": [],
        "first_plot": [],
        "round_trip": [],
        "idle_mib": [],
        "interrupt": [],
    }

    def note(name: str, started: float) -> None:
        result[name].append((time.perf_counter() - started) * 1000)

    for _ in range(count):
        started = time.perf_counter()
        manager, client = start_new_kernel()
        run(client, "print(1)")
        note("first_print", started)
        run(client, IMPORTS)
        note("first_import", started)
        result["idle_mib"].append(private_mib(manager.provisioner.pid))
        run(client, PLOT)
        note("first_plot", started)
        for _ in range(50):
            begun = time.perf_counter()
            run(client, "x = 1")
            note("round_trip", begun)
        client.execute("print('on', flush=True)\nwhile True: pass")
        while True:
            message = client.get_iopub_msg(timeout=60)
            if message["msg_type"] == "stream" and "on" in message["content"]["text"]:
                break
        begun = time.perf_counter()
        manager.interrupt_kernel()
        client.get_shell_msg(timeout=60)
        note("interrupt", begun)
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main(int(sys.argv[1]))
