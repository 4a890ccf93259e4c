"""
The reference: ipykernel, as Jupyter starts it, on the packages of the guest environment.

ipykernel and what it needs are installed for the tests only. A folder of links shows the reference
just these, behind the guest's own packages: what the guest lacks is missing there too.
"""

from __future__ import annotations

import importlib.metadata
import os
import queue
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import write_connection_file
from jupyter_core.utils import ensure_event_loop

from tests.compat.outcome import Normal, Outcome, once

DEADLINE_S = 60.0

_START = """
import sys
overlay = sys.argv.pop(1)
sys.path[:] = [p for p in sys.path if p] + [overlay]
from ipykernel import kernelapp
kernelapp.launch_new_instance()
"""
_FRAME = re.compile(r"(?:Cell )?In ?\[(\d+)\], line (\d+)")
_PICTURES = ("image/png", "image/jpeg", "image/svg+xml")


def overlay(folder: Path) -> Path:
    """Fill `folder` with links to ipykernel and all that it needs; return it."""
    for name in _closure("ipykernel"):
        for path in importlib.metadata.distribution(name).files or ():
            top = path.parts[0]
            target = folder / top
            if top not in ("..", "__pycache__") and not target.is_symlink():
                target.symlink_to(Path(str(path.locate())).parents[len(path.parts) - 1] / top)
    return folder


def _closure(name: str) -> set[str]:
    known: set[str] = set()
    waiting = [name]
    while waiting:
        each = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        try:
            needs = importlib.metadata.requires(each) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system, or an extra
        if each not in known:
            known.add(each)
            waiting += [re.split(r"[\s\[<>=!~;(]", n)[0] for n in needs if "extra ==" not in n]
    return known


class JupyterKernel:
    """One Jupyter kernel. Use as a context manager, in a thread without an event loop."""

    def __init__(self, python: Path, overlay: Path, folder: Path, home: Path) -> None:
        self._normal = Normal(folder)
        self._number = 0
        self._cells: dict[int, int] = {}  # what it calls a cell → its number
        connection, _ = write_connection_file(
            str(home / "connection.json"), transport="ipc", ip=str(home / "socket"), key=b"key"
        )
        self._log = (home / "log").open("wb")
        self.process = subprocess.Popen(
            [str(python), "-c", _START, str(overlay), "-f", connection, "--colors=nocolor"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={
                "PATH": f"{python.parent}:{os.environ['PATH']}",
                "HOME": str(folder),
                "LANG": "C.UTF-8",
                "IPYTHONDIR": str(home / "ipython"),
                "JUPYTER_RUNTIME_DIR": str(home),
                "OPENBLAS_NUM_THREADS": "1",
                "OMP_NUM_THREADS": "1",
            },
        )
        self._client = BlockingKernelClient(connection_file=connection)
        self._client.load_connection_file()
        self._client.start_channels(hb=False)
        try:
            self._client.wait_for_ready(timeout=DEADLINE_S)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.stop_channels()
        self._client.context.destroy()
        self.process.kill()
        self.process.wait()
        self._log.close()
        ensure_event_loop().close()  # jupyter_client's, of this thread

    def run(self, code: str) -> Outcome:
        self._number += 1
        request = self._client.execute(code, store_history=True, allow_stdin=False)
        texts: dict[str, str] = {"stdout": "", "stderr": ""}
        results: list[str] = []
        kinds: list[tuple[str, ...]] = []
        images = 0
        error: Any = None
        for kind, content in self._shown(request):
            if kind == "stream":
                texts[content["name"]] += content["text"]
            elif kind in ("execute_result", "display_data"):
                has_picture = any(mime in content["data"] for mime in _PICTURES)
                images += has_picture
                kinds.append(tuple(sorted({*content["data"]} - {"text/plain", *_PICTURES})))
                results += [] if has_picture else [content["data"].get("text/plain", "")]
            elif kind == "error":
                error = content
            elif kind == "execute_input":  # it does not count an empty cell
                self._cells[content["execution_count"]] = self._number
        for page in self._pages(request):
            texts["stdout"] += page + "\n"
        told = "\n".join(error["traceback"]) if error else ""
        told = re.sub(r"\x1b\[[0-9;]*m", "", told)
        known = self._cells
        return Outcome(
            stdout=self._normal.text(texts["stdout"]),
            stderr=self._normal.text(texts["stderr"]),
            results=tuple(map(self._normal.text, results)),
            kinds=tuple(filter(None, kinds)),
            images=images,
            error=self._normal.error(error["ename"], error["evalue"]) if error else None,
            # What `run_cell` ran has a number there that is no cell's of ours.
            lines=once(
                [(known[int(c)], int(n)) for c, n in _FRAME.findall(told) if int(c) in known]
            ),
        )

    def _pages(self, request: str) -> list[str]:
        """What a notebook shows below its cells: the help of `f?`."""
        while (reply := self._client.get_shell_msg(timeout=DEADLINE_S)) is not None:
            if reply["parent_header"].get("msg_id") == request:
                break
        found = reply["content"].get("payload") or []
        return [page["data"]["text/plain"] for page in found if page["source"] == "page"]

    def _shown(self, request: str) -> list[tuple[str, dict[str, Any]]]:
        """What arrives for `request` until the kernel is idle again."""
        shown: list[tuple[str, dict[str, Any]]] = []
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            try:
                message = self._client.get_iopub_msg(timeout=1.0)
            except queue.Empty:
                if self.process.poll() is not None:
                    raise RuntimeError("The reference has ended.") from None
                continue
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["content"].get("execution_state") == "idle":
                return shown
            shown.append((message["msg_type"], message["content"]))
        raise TimeoutError(shown)


def list_fonts(python: Path, overlay: Path) -> None:
    """Have matplotlib make its list of fonts, beside the overlay."""
    cache = overlay.parent / "cache"
    cache.mkdir()
    environ = {**os.environ, "HOME": str(overlay.parent), "XDG_CACHE_HOME": str(cache)}
    subprocess.run(
        [python, "-c", "import matplotlib.font_manager"],
        env=environ,
        stderr=subprocess.DEVNULL,
        check=True,
    )


def is_of_our_python(python: Path) -> bool:
    """Whether what is installed for the tests can be loaded by `python`."""
    question = "import sys; print(*sys.version_info[:2])"
    said = subprocess.run([python, "-c", question], capture_output=True, text=True, check=True)
    return said.stdout.split() == [str(part) for part in sys.version_info[:2]]
