"""
Peers whose session is one process with a pipe, differing in the command that starts it.

Plain Python, Python behind bubblewrap or gVisor, a bare IPython shell, codeboxapi, Pyodide in Node:
each answers lines of JSON (`child.py`, `child.mjs`), which is the least that keeps variables.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from bench.peers.base import CellFailed, Peer, Place, Session, Venv

_CHILD = Path(__file__).with_name("child.py")
JUPYTER = Venv(
    "jupyter", ("ipykernel==7.4.0", "jupyter_client==8.10.0", "jupyter_kernel_gateway==3.0.1")
)
# As root, and also where control groups are not ours to write.
_RUNSC = ["runsc", "--platform=ptrace", "--network=none", "--ignore-cgroups", "do"]


class PipeSession:
    """A process that answers lines of JSON."""

    def __init__(self, command: list[str], environ: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environ,
            text=True,
        )

    async def run(self, code: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"error": "it ended"}')
        if "error" in answer:
            raise CellFailed(answer["error"])
        return str(answer["output"])

    async def close(self) -> None:
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()


class _ProcessPeer(Peer):
    """One that starts a command for each session."""

    _place: Place
    _environ: Mapping[str, str]

    async def open(self, place: Place) -> None:
        self._place = place
        folder = str(place.mpl_config)
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "TMPDIR": folder,
            "IPYTHONDIR": folder,
            "MPLCONFIGDIR": folder,
            "MPLBACKEND": "agg",
        }

    def _command(self) -> list[str]:
        return [sys.executable, "-I", str(_CHILD), "plain"]

    async def session(self) -> Session:
        return PipeSession(self._command(), self._environ)

    def version(self) -> str:
        return f"Python {sys.version.split()[0]}"


class PlainPython(_ProcessPeer):
    key, title, isolation = "python", "Python process, a pipe", "none"


class StatelessPython(_ProcessPeer):
    key, title, isolation = "python-c", "`python -c`, one per cell", "none"
    remark = "Nothing is kept between cells: the next execution is a new process."
    cannot = {"memory": "no process stays"}

    async def session(self) -> Session:
        return _OneShot(self._environ)


class _OneShot:
    """No session at all."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    async def run(self, code: str) -> str:
        command = [sys.executable, "-I", "-c", code]
        done = subprocess.run(
            command, env=self._environ, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise CellFailed(done.stderr)
        return done.stdout

    async def close(self) -> None:
        pass


class Bubblewrap(_ProcessPeer):
    key, title, isolation = "bwrap", "bubblewrap + Python", "namespaces"

    def missing(self) -> str | None:
        return None if shutil.which("bwrap") else "apt-get install bubblewrap"

    def _command(self) -> list[str]:
        wall = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session"]
        wall += ["--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108
        system = ["/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache"]
        # Sorted, so that a folder is there before one inside it.
        for folder in sorted({*system, *self._place.prefixes, str(_CHILD.parent)}):
            wall += ["--ro-bind-try", folder, folder]
        folder = str(self._place.mpl_config)
        return [*wall, "--bind", folder, folder, *super()._command()]

    def version(self) -> str:
        return _first_line("bwrap", "--version")


class GVisor(_ProcessPeer):
    key, title, isolation = "runsc", "gVisor `runsc do` + Python", "gVisor, ptrace"
    remark = "Its memory is its own kernel's, shared between its processes: see the second figure."

    def missing(self) -> str | None:
        if not shutil.which("runsc"):
            return "apt-get install runsc"
        return None if os.geteuid() == 0 else "runsc do needs root"

    def _command(self) -> list[str]:
        return [*_RUNSC, *super()._command()]

    def version(self) -> str:
        return _first_line("runsc", "--version")


class BareIPython(_ProcessPeer):
    key, title, isolation = "ipython", "IPython in a bare process", "none"
    python = JUPYTER

    def _command(self) -> list[str]:
        return [sys.executable, "-I", str(_CHILD), "ipython"]

    def version(self) -> str:
        return package_version("ipython")


class CodeBox(_ProcessPeer):
    key, title, isolation = "codebox", "codeboxapi LocalBox", "none"
    python = Venv("codebox", ("codeboxapi==0.2.6", "ipython==9.18.1"))
    remark = "One box to a process, so each session is a process of its own here."

    def _command(self) -> list[str]:
        return [sys.executable, "-I", str(_CHILD), "codebox"]

    def version(self) -> str:
        return package_version("codeboxapi")


class Pyodide(_ProcessPeer):
    key, title, isolation = "pyodide", "Pyodide in Node", "WebAssembly"
    has_libraries = False
    remark = "Memory is without any library."
    cannot = {
        "imports": "its packages come from a CDN, not from npm",
        "plot": "its packages come from a CDN, not from npm",
        "burst": "left out: 20 at once take over a minute of two cores",
        "lives": "left out: a life takes 3 s of a core",
    }
    _package = "pyodide@314.0.7"

    def missing(self) -> str | None:
        have = shutil.which("node") and shutil.which("npm")
        return None if have else "apt-get install nodejs npm"

    def install(self, place: Place) -> None:
        folder = place.peers / "bench-env-pyodide"
        if not (folder / "node_modules/pyodide").exists():
            folder.mkdir(parents=True, exist_ok=True)
            command = ["npm", "install", "--silent", "--no-audit", "--no-fund", self._package]
            subprocess.run(command, cwd=folder, check=True)

    def _command(self) -> list[str]:
        package = self._place.peers / "bench-env-pyodide/node_modules/pyodide"
        return ["node", str(_CHILD.with_suffix(".mjs")), str(package)]

    def version(self) -> str:
        return f"{self._package}, node {_first_line('node', '--version')}"


def package_version(name: str) -> str:
    """The version of an installed package, with its name."""
    return f"{name} {metadata.version(name)}"


def _first_line(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[0]
