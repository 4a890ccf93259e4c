"""
What runsc is told of a box: its root, its folders, its first process. Pure.

One bundle serves the template that is checkpointed and every box restored from it: what differs
between boxes (their files, their sockets) lies behind the same names, each in a mount namespace of
its own. The names are those of the agent's mount namespace (`agent.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sanderling.sandbox.wall import mounts, rlimits

ROOT = "/run/rootfs"
PLACE = "/run/place"  # the one tmpfs of a box, with a folder for each of WRITABLE
WRITABLE = {"data": "/mnt/data", "tmp": "/tmp", "home": mounts.HOME}  # noqa: S108
# gVisor's own, memory like any other of the box. Two processes that wait for each other at a named
# semaphore meet only there: of a file outside, gVisor takes the two names that it has for a moment
# for two files, and who waits at the one is not woken at the other.
_SHARED_MEMORY = "/dev/shm"  # noqa: S108
_SHARED_MEMORY_BYTES_MAX = 64 << 20  # beside the quota of files

# Run by the guest's Python as the first thing inside. The modules come through the socket on
# descriptor 0 and never lie on a disk the box can see.
_BOOTSTRAP = """
import importlib.abc, importlib.util, json, os, socket, sys

class Given(importlib.abc.ExecutionLoader, importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in sources:
            is_package = self.is_package(name)
            return importlib.util.spec_from_loader(name, self, is_package=is_package)
    def is_package(self, name):
        return any(other.startswith(name + ".") for other in sources)
    def get_filename(self, name):
        return "/sanderling/" + name.replace(".", "/") + ".py"
    def get_source(self, name):
        return sources[name]

host = socket.socket(fileno=os.dup(0))
sources = json.loads(b"".join(host.recv(65536) for _ in range(int(host.recv(16)))))
given = Given()
sys.meta_path.insert(0, given)
from sanderling.sandbox.gvisor.guest import main
sys.meta_path.remove(given)
main(host)
"""


def config(python: str, covered: Mapping[str, str]) -> dict[str, Any]:
    """
    Return the OCI configuration.

    python: the guest's interpreter, as the box sees it.
    covered: folders to show below writable ones, each with where the root keeps it
        (`mounts.build_root`).
    """
    return {
        "ociVersion": "1.0.2",
        "hostname": "sandbox",
        "root": {"path": ROOT, "readonly": True},
        "process": {
            "args": [python, "-I", "-B", "-c", _BOOTSTRAP],
            "cwd": "/",
            # One arena: each reserves addresses, which count (`kernel/limits.py`).
            "env": ["PATH=/usr/bin:/bin", "LANG=C.UTF-8", "MALLOC_ARENA_MAX=1"],
            # Root of the box for its first instructions (`guest.py`), which end with being nobody.
            "user": {"uid": 0, "gid": 0},
            "capabilities": {
                kind: ["CAP_CHOWN", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID"]
                for kind in ("bounding", "effective", "permitted")
            },
            "noNewPrivileges": True,
            "rlimits": [
                {"type": name, "soft": value, "hard": value}
                for name, value in rlimits.LIMITS.items()
            ],
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            # Else gVisor shows a /sys of its own.
            {"destination": "/sys", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]},
            *(
                _bind(f"{PLACE}/{name}", target, "rw", "nosuid", "nodev")
                for name, target in WRITABLE.items()
            ),
            {
                "destination": _SHARED_MEMORY,
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "nodev", "mode=1777", f"size={_SHARED_MEMORY_BYTES_MAX}"],
            },
            *(_bind(ROOT + kept, path, "ro", "nosuid", "nodev") for path, kept in covered.items()),
        ],
        "linux": {
            "namespaces": [{"type": n} for n in ("pid", "network", "ipc", "uts", "mount")],
        },
    }


def _bind(source: str, destination: str, *options: str) -> dict[str, Any]:
    return {
        "type": "bind",
        "source": source,
        "destination": destination,
        "options": ["rbind", *options],
    }
