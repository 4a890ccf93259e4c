"""
What hostile code can make the host believe, read, write or keep; asked of a real host.

A program, so that any user can be the host: `python outside.py ENV HOME` prints what was found, as
JSON. Each function is one question, and its docstring is the promise that is tested in
`test_outside.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sanderling.errors import InvalidRequest, SanderlingError
from sanderling.observe import logs
from sanderling.sandbox.base import BoxLimits, Ended, Logs
from sanderling.sandbox.local import LocalSandbox
from sanderling.sandbox.options import HostOptions
from sanderling.sandbox.spawner import Spawner

LIMITS = BoxLimits(memory_bytes=1 << 30)
ATTEMPTS = 150
MARK = "said-by-the-code"
_ids = itertools.count()

ODD = r"""
import os, socket
for name in ('new\nline', 'nul'[:3] + '\x01', '\u202egnp.exe', '\x1b[2J', 'a' * 251 + '.txt', 'plain.txt'):
    open(name, 'w').write('x')
open(b'\xff\xfe.txt', 'w').write('x')
os.symlink('/etc/passwd', 'link'); os.symlink('/etc', 'linked'); os.symlink('plain.txt', 'within')
os.mkdir('folder'); os.link('plain.txt', 'hard.txt')
s = socket.socket(socket.AF_UNIX); s.bind('socket'); s.listen()
os.truncate(os.open('sparse.bin', os.O_CREAT | os.O_WRONLY), 1 << 29)
"""

# Swaps a file and a folder for links, and back, as fast as it can, until it is interrupted.
SWAP = r"""
import ctypes, os
target = TARGET
open('good', 'w').write('good'); os.mkdir('folder'); open('folder/name', 'w').write('good')
os.symlink(target + '/name', 'bad'); os.symlink(target, 'out')
os.rename('good', 'file'); os.rename('folder', 'path')
libc = ctypes.CDLL(None)
open('begun', 'w').close()
while True:  # RENAME_EXCHANGE: at every moment both names exist
    for a, b in ((b'file', b'bad'), (b'path', b'out')): libc.renameat2(-100, a, -100, b, 2)
"""

DEEP = r"""
import os
for i in range(25_000): os.close(os.open(f'f{i}', os.O_CREAT | os.O_WRONLY))
top = os.open('.', os.O_RDONLY)
for _ in range(1500):
    os.mkdir('d'); os.chdir('d')
open('bottom.txt', 'w').close()
os.fchdir(top)
"""

LITTER = r"""
import os, subprocess
for folder in ('/mnt/data', '/tmp', '/dev/shm', os.environ['HOME']): open(folder + '/litter', 'w').write('x')
subprocess.Popen(['sleep', '600'], start_new_session=True)
"""
LEFT_OVER = r"""
import os
files = [f for f in ('/mnt/data', '/tmp', '/dev/shm', os.environ['HOME']) if 'litter' in os.listdir(f)]
processes = [n for n in os.listdir('/proc') if n.isdigit()]
print(files, processes, open('/proc/self/uid_map').read().split()[1])
"""

# What each leaves behind in its own kernel is its own affair; what comes after it must be true.
TAMPERING = {
    "print": "import builtins; builtins.print = lambda *a, **k: None",
    "builtins": "import builtins\nfor n in ('len', 'isinstance', 'compile', 'exec', 'id', 'type', 'repr', 'str', 'open'): setattr(builtins, n, None)",
    "json": "import json; json.dumps = json.loads = lambda *a, **k: 1 / 0",
    "streams": "import sys; sys.stdout = sys.stderr = sys.__stdout__ = sys.displayhook = sys.excepthook = None",
    "os": "import os, time, socket, select\nfor n in ('write', 'read', 'close', '_exit', 'getpid'): setattr(os, n, None)\ntime.sleep = time.monotonic = None",
    "repr": "class R:\n    def __repr__(self): raise SystemExit(1)\n    __str__ = __repr__\nx = R(); x",
    "repr that never ends": "class L:\n    def __repr__(self): return 'x' * (1 << 28)\nL()",
    "exception": "class E(BaseException):\n    def __str__(self): import os; os._exit(3)\n    __repr__ = __str__\nraise E",
    "del": "class D:\n    def __del__(self): print('from the grave'); raise KeyboardInterrupt\nd = D(); d.d = d; del d",
    "settrace": "import sys, threading\ndef t(*a): raise RuntimeError\nthreading.settrace(t); sys.settrace(t); sys.setprofile(t)",
    "signals": "import signal, sys\nfor s in (2, 15, 1, 10, 14): signal.signal(s, lambda *a: None)\nsys.setrecursionlimit(50)",
    "modules": "import sys\nfor n in [n for n in sys.modules if n.startswith('sanderling')]: sys.modules[n] = None",
    "kernel": "import sanderling.kernel.channel as c, sanderling.kernel.protocol as p\nc.Channel.write = c.Channel.send = lambda *a, **k: None; p.prefix = p.split = None",
    "import": "import sys, builtins\nsys.meta_path.clear(); sys.path.clear(); builtins.__import__ = None",
    "audit": "import sys\nsys.addaudithook(lambda *a: 1 / 0)",
    "memory": "import ctypes; ctypes.memset(id(sys.modules) if 'sys' in globals() else id(dict), 255, 64)",
    "descriptors": "import os\nfor fd in range(64):\n    try: os.close(fd)\n    except OSError: pass",
    "duplicates": "import os\nfor fd in range(6): os.dup2(os.open('/dev/null', os.O_RDWR), fd)",
    "half a value": 'import sys\nf = sys._getframe()\nwhile f:\n    for v in list(f.f_locals.values()):\n        if hasattr(v, \'_channel\'): v._channel._host.send(b\'{"op":"logs","nonce":"\' + v._channel._nonce.encode() + b\'","stream":"stdout","more":true}\\nfalse\')\n    f = f.f_back',
    "exit": "import atexit, os; atexit.register(os._exit, 7); raise SystemExit(3)",
    "threads": "import threading\ndef talk():\n    while True: pass\nfor _ in range(20): threading.Thread(target=talk, daemon=True).start()",
}


class Host:
    """A sandbox in this process, and what this program asks of it."""

    def __init__(self, sandbox: LocalSandbox, home: Path) -> None:
        self.sandbox = sandbox
        self.home = home

    async def run(self, container_id: str, code: str, *, timeout_s: float = 60.0) -> list[Any]:
        stream = self.sandbox.execute(container_id, f"exec_{next(_ids)}", code, timeout_s=timeout_s)
        return [happening async for happening in stream]

    async def text(self, container_id: str, code: str) -> str:
        shown = await self.run(container_id, code)
        return "".join(s.text for s in shown if isinstance(s, Logs)).strip()

    async def read(self, container_id: str, path: str) -> str:
        """What a client gets for this path, at most a megabyte of it."""
        data = b""
        try:
            async for chunk in self.sandbox.read_file(container_id, path):
                data += chunk
                if len(data) >= 1 << 20:
                    break
        except SanderlingError as error:
            return type(error).__name__
        return data[:100].decode("utf-8", "replace")

    async def odd_files(self) -> dict[str, Any]:
        await self.sandbox.create("odd", LIMITS)
        ended = (await self.run("odd", ODD))[-1]
        assert isinstance(ended, Ended)
        paths = (
            "link",
            "linked/passwd",
            "within",
            "folder",
            "socket",
            "../../etc/passwd",
            "new\nline",
        )
        found = {
            "changed": [changed.path.rpartition("/")[2] for changed in ended.changed],
            "read": {path: await self.read("odd", f"/mnt/data/{path}") for path in paths},
            "sparse": len(await self.read("odd", "/mnt/data/sparse.bin")),
            "absolute": await self.read("odd", "/etc/passwd"),
        }
        await self.sandbox.close("odd")
        return found

    async def swapped_files(self) -> dict[str, Any]:
        """Read and write a file and a folder that become links out while it is done."""
        (self.home / "name").write_text("the host's own")
        await self.sandbox.create("swap", LIMITS)
        # The container has no such path; the host has, and must not go there.
        code = SWAP.replace("TARGET", repr(str(self.home)))
        swapping = asyncio.create_task(self.run("swap", code, timeout_s=300))
        while await self.read("swap", "/mnt/data/begun") == "NotFound":  # noqa: ASYNC110 - as below
            await asyncio.sleep(0.01)

        async def content() -> AsyncIterator[bytes]:
            yield b"from the host"

        read: set[str] = set()
        for attempt in range(ATTEMPTS):
            read.add(await self.read("swap", "/mnt/data/file"))
            read.add(await self.read("swap", "/mnt/data/path/name"))
            for path in ("/mnt/data/path/made", f"/mnt/data/path/{attempt}/made"):
                with contextlib.suppress(InvalidRequest):
                    await self.sandbox.write_file("swap", path, content())
            with contextlib.suppress(InvalidRequest):
                await self.sandbox.delete_file("swap", "/mnt/data/path/name")
        await self.sandbox.close("swap")
        await swapping
        return {"read": sorted(read), "home": sorted(os.listdir(self.home))}

    async def many_files(self) -> dict[str, Any]:
        """Make more files than are walked, and folders deeper than are entered."""
        await self.sandbox.create("many", LIMITS)
        ended = (await self.run("many", DEEP))[-1]
        assert isinstance(ended, Ended)
        found = {"changed": len(ended.changed), "notice": ended.notice, "status": ended.status}
        found["after"] = await self.text("many", "print(6 * 7)")
        await self.sandbox.close("many")
        return found

    async def left_over(self) -> dict[str, Any]:
        """Litter a box, end it, and look into the next ones."""
        await self.sandbox.create("used", LIMITS)
        await self.text("used", LITTER)
        uids = [(await self.text("used", LEFT_OVER)).split()[-1]]
        await self.sandbox.close("used")
        seen = []
        for name in ("used", "other", "third"):
            await self.sandbox.create(name, LIMITS)
            *rest, uid = (await self.text(name, LEFT_OVER)).split()
            seen.append(" ".join(rest))
            uids.append(uid)
        for name in ("used", "other", "third"):
            await self.sandbox.close(name)
        return {"seen": seen, "uids": uids}

    async def output(self) -> dict[str, Any]:
        """Print what commands a terminal, and bytes that are no text."""
        await self.sandbox.create("escapes", LIMITS)
        code = (
            f"import os, sys; os.write(1, b'\\xff\\xfe{MARK}\\x1b[2J\\x1b]0;x\\x07\\r\\n\\x00');"
            f"print('\\ud800\\x1b[31m{MARK}'); print('{MARK}\\x1b[2J', file=sys.stderr);"
            f"open('{MARK}\\x1b[2J', 'w').close(); raise ValueError('{MARK}\\x1b[2J')"
        )
        shown = await self.run("escapes", code)
        await self.sandbox.close("escapes")
        text = "".join(s.text for s in shown if isinstance(s, Logs))
        return {"text": text, "changed": list(shown[-1].changed)}

    async def tampering(self) -> dict[str, Any]:
        """Break one's own kernel in every way; ask it, and a neighbour, afterwards."""
        await self.sandbox.create("neighbour", LIMITS)
        await self.text("neighbour", "kept = 6")
        found = {}
        for name, code in TAMPERING.items():
            await self.sandbox.create("tampered", LIMITS)
            await self.text("tampered", "open('kept', 'w').write('42')")
            ended = (await self.run("tampered", code, timeout_s=20.0))[-1]
            # A kernel that is broken may be lost in this cell, with its files kept, or in the next.
            later = "import os; fd = os.open('kept', 0); os.write(1, os.read(fd, 2))"
            answers = []
            for _ in range(2):
                shown = await self.run("tampered", later, timeout_s=20.0)
                answers.append("".join(s.text for s in shown if isinstance(s, Logs)))
                answers[-1] += " fresh" if shown[-1].is_fresh else ""
            found[name] = [ended.status, ended.is_fresh, answers]
            found[name].append(await self.text("neighbour", "print(kept * 7)"))
            await self.sandbox.close("tampered")
        await self.sandbox.close("neighbour")
        return found

    async def dead_zygote(self) -> dict[str, Any]:
        """Kill the zygote under boxes with daemons; say what of them is left."""
        await self.sandbox.create("doomed", LIMITS)
        await self.text("doomed", LITTER)
        # A zygote's parent waits for it in the host's namespaces; each box is the zygote's child.
        before = descendants(os.getpid())
        zygote = next(pid for pid in before if parent(pid) in children(os.getpid()))
        os.kill(zygote, signal.SIGKILL)
        async with asyncio.timeout(30):
            while any(is_running(pid) for pid in before):  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.01)
        await self.sandbox.create("after", LIMITS)
        answer = await self.text("after", "print(6 * 7)")
        return {"processes": len(before), "answer": answer}


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    return [n for n in map(int, filter(str.isdigit, os.listdir("/proc"))) if parent(n) == pid]


def descendants(pid: int) -> list[int]:
    direct = children(pid)
    return direct + [n for child in direct for n in descendants(child)]


async def main(env: Path, home: Path, what: str) -> None:
    logs.configure("debug")

    async def start(options: HostOptions) -> Spawner:
        return await Spawner.start(
            env=env,
            disk_bytes=options.disk_bytes,
            logs_bytes_max=options.logs_bytes_max,
            preload=(),
        )

    options = HostOptions(
        env=str(env), disk_bytes=64 << 20, logs_bytes_max=1 << 16, pool_size=1, boxes_max=8
    )
    sandbox = LocalSandbox(options, start)
    await sandbox.open()
    host = Host(sandbox, home)
    if what == "die":
        await sandbox.create("doomed", LIMITS)
        await host.text("doomed", LITTER)
        print(json.dumps(descendants(os.getpid())), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    found = {
        "odd_files": await host.odd_files(),
        "swapped_files": await host.swapped_files(),
        "many_files": await host.many_files(),
        "left_over": await host.left_over(),
        "output": await host.output(),
        "tampering": await host.tampering(),
        "uids": (await sandbox.status()).uids,
        "dead_zygote": await host.dead_zygote(),
    }
    await sandbox.end()
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
