"""
Cells that try to break out of a box, and what each must have got: nothing.

Also a program, so that any user can run them: `python probes.py ENV` prints what every cell
answered, as JSON, and needs nothing but Sanderling itself.
"""

from __future__ import annotations

import asyncio
import json
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from sanderling.sandbox.base import BoxLimits, Logs
from sanderling.sandbox.box import Box
from sanderling.sandbox.spawner import Spawner

TOOLS = r"""
import ctypes, errno, os, platform, resource, signal, socket, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    'Make a system call; return ok or the name of the error.'
    converted = [ctypes.c_char_p(a) if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments]
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *converted)
    return 'ok' if result >= 0 else errno.errorcode[ctypes.get_errno()]
def attempt(function, *arguments):
    'Call; return ok or the name of the error.'
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, type(error).__name__)
    except BaseException as error:
        return type(error).__name__
    return 'ok'
def listing(folder):
    'Names in a folder, without those that lead to the environment this Python runs in.'
    if attempt(os.listdir, folder) != 'ok': return []
    roots = {sys.prefix, sys.base_prefix, os.path.realpath(sys.executable), os.__file__, *sys.path}
    below = [os.path.relpath(r, folder).split('/')[0] for r in roots if r]
    return sorted(set(os.listdir(folder)) - set(below))
def report(*answers):
    print(' '.join(map(str, answers)))
"""

X86_ONLY = "x86_64"


@dataclass(frozen=True)
class Probe:
    """A promise, the cell that tries to break it, and what that cell must print."""

    promise: str
    code: str
    pattern: str
    machine: str = ""  # system call numbers in `code` are this machine's

    @property
    def applies(self) -> bool:
        return self.machine in {"", platform.machine()}


PROBES = [
    # ---- files of the host ---------------------------------------------------------------------
    Probe(
        "the hosts password hashes are not there",
        "report(attempt(open, '/etc/shadow'))",
        "ENOENT",
    ),
    Probe(
        "home folders of the host are not there",
        "report(listing('/root'), [n for n in os.listdir('/home') if n != 'user'])",
        r"\[\] \[\]",
    ),
    Probe(
        "the root holds only what the box needs",
        "needed = {'bin', 'dev', 'etc', 'home', 'lib', 'lib32', 'lib64', 'libx32', 'mnt', 'proc', 'run',"
        " 'sbin', 'tmp', 'usr', 'var'}\n"
        "report([n for n in listing('/') if n not in needed])",
        r"\[\]",
    ),
    Probe(
        "system files cannot be written",
        "import numpy\n"
        "report(attempt(open, '/usr/x', 'w'), attempt(open, '/usr/bin/env', 'r+b'),"
        " attempt(open, '/etc/passwd', 'a'), attempt(open, numpy.__file__, 'a'),"
        " attempt(open, '/x', 'w'), attempt(os.mkdir, '/mnt/x'))",
        r"((EROFS|EACCES) ?){6}",
    ),
    Probe(
        "the interpreter cannot be overwritten",
        "report(attempt(os.open, '/proc/self/exe', os.O_WRONLY),"
        " attempt(os.open, os.path.realpath(sys.executable), os.O_RDWR))",
        r"((EROFS|EACCES|ETXTBSY) ?){2}",
    ),
    Probe(
        "a file of the host cannot be linked into the workspace",
        "report(attempt(os.link, '/etc/passwd', '/mnt/data/l'),"
        " attempt(os.link, '/usr/bin/env', '/mnt/data/l'))",
        r"((EXDEV|EACCES|EPERM|EROFS) ?){2}",
    ),
    Probe(
        "only safe devices exist",
        "report(sorted(os.listdir('/dev')))",
        re.escape(
            "['fd', 'full', 'null', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'urandom', 'zero']"
        ),
    ),
    Probe(
        "dangerous devices do not exist",
        "report(*[attempt(open, '/dev/' + n) for n in ('kvm', 'mem', 'vda', 'fuse', 'userfaultfd')])",
        r"(ENOENT ?){5}",
    ),
    Probe(
        "devices and fifos cannot be made",
        "report(attempt(os.mknod, '/tmp/m', 0o20666, os.makedev(1, 1)), attempt(os.mkfifo, '/tmp/f'))",
        "EPERM EPERM",
    ),
    Probe("sysfs is not there", "report(attempt(os.listdir, '/sys'))", "ENOENT"),
    # ---- network -------------------------------------------------------------------------------
    Probe(
        "raw and packet sockets cannot be made",
        "report(attempt(socket.socket, 2, 3, 1), attempt(socket.socket, 17, 3, 3))",
        r"((EAFNOSUPPORT|EPERM) ?){2}",
    ),
    Probe(
        "exotic socket families cannot be made",
        "report(*[attempt(socket.socket, f, k, 0)"
        " for f, k in ((16, 3), (40, 1), (38, 5), (31, 3), (30, 1), (29, 3), (44, 3))])",
        r"(EAFNOSUPPORT ?){7}",
    ),
    Probe(
        "no address can be reached",
        "def connect(family, address):\n"
        "    s = socket.socket(family); s.settimeout(3); s.connect(address)\n"
        "report(*[attempt(connect, f, a) for f, a in ((2, ('169.254.169.254', 80)),"
        " (2, ('192.0.2.1', 53)), (2, ('127.0.0.1', 22)), (10, ('::1', 22)), (10, ('2001:db8::1', 53)))])",
        r"((ENETUNREACH|ECONNREFUSED|EADDRNOTAVAIL|EACCES) ?){5}",
    ),
    Probe(
        "no datagram leaves and no name resolves",
        "report(attempt(socket.socket(2, 2).sendto, b'x', ('192.0.2.1', 53)),"
        " attempt(socket.getaddrinfo, 'example.com', 80))",
        r"ENETUNREACH \S+",
    ),
    Probe(
        "only loopback exists",
        "report([l.split(':')[0].strip() for l in open('/proc/net/dev').readlines()[2:]])",
        r"\['lo'\]",
    ),
    # ---- privileges ----------------------------------------------------------------------------
    Probe(
        "there is no capability and none can come",
        "s = dict(l.split(':', 1) for l in open('/proc/self/status').read().splitlines() if ':' in l)\n"
        "report(*[int(s['Cap' + k], 16) for k in ('Inh', 'Prm', 'Eff', 'Bnd', 'Amb')],"
        " s['NoNewPrivs'].strip(), s['Seccomp'].strip(), os.getuid(), os.getgid())",
        "0 0 0 0 0 1 2 1000 1000",
    ),
    Probe(
        "no other user can be become",
        "report(attempt(os.setuid, 0), attempt(os.setgid, 0), attempt(os.setgroups, [0]))",
        r"((EPERM|EINVAL) ?){3}",
    ),
    Probe(
        "a setuid bit of its own gives nothing",
        "import shutil\n"
        "shutil.copy('/usr/bin/id', '/mnt/data/id'); os.chmod('/mnt/data/id', 0o6755)\n"
        "report(subprocess.run(['/mnt/data/id', '-u'], capture_output=True, text=True).stdout)",
        "1000",
    ),
    Probe(
        "limits cannot be raised",
        "r = resource\n"
        "report(attempt(r.setrlimit, r.RLIMIT_NOFILE, (1 << 20, 1 << 20)),"
        " attempt(r.setrlimit, r.RLIMIT_NPROC, (99999, 99999)),"
        " attempt(r.setrlimit, r.RLIMIT_CORE, (1, 1)), attempt(r.setrlimit, r.RLIMIT_FSIZE, (-1, -1)))",
        r"((ValueError|EPERM) ?){4}",
    ),
    Probe(
        "priority cannot be raised",
        "report(attempt(os.nice, -20),"
        " attempt(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1)),"
        " attempt(lambda: open('/proc/self/oom_score_adj', 'wb', buffering=0).write(b'-1000')))",
        r"(EPERM|EACCES) EPERM (EACCES|EPERM)",
    ),
    Probe(
        "crashing programs leave no core files",
        "p = os.fork()\nif p == 0: os.abort()\nos.waitpid(p, 0)\n"
        "report(resource.getrlimit(resource.RLIMIT_CORE), [n for n in os.listdir('/mnt/data') if 'core' in n])",
        r"\(0, 0\) \[\]",
    ),
    # ---- the kernel's interfaces ---------------------------------------------------------------
    Probe(
        "mounts cannot be changed",
        "report(call(165, b'none', b'/tmp', b'tmpfs', 0, 0), call(166, b'/proc', 2),"
        " call(430, b'tmpfs', 0), call(428, -100, b'/', 1), call(161, b'/tmp'), call(155, b'/', b'/tmp'))",
        r"(EPERM ?){6}",
        machine=X86_ONLY,
    ),
    Probe(
        "namespaces cannot be made or entered",
        "report(call(272, 0x10000000), call(272, 0x20000), call(56, 0x10000000 | 17, 0, 0, 0, 0),"
        " call(435, b'\\0' * 88, 88), attempt(lambda: os.open('/proc/1/ns/net', 0)) , call(308, 0, 0))",
        r"EPERM EPERM EPERM ENOSYS \S+ EPERM",
        machine=X86_ONLY,
    ),
    Probe(
        "processes cannot be traced or read",
        "report(call(101, 0, 0, 0, 0), call(101, 16, 1, 0, 0), call(310, 1, 0, 0, 0, 0, 0),"
        " call(311, 1, 0, 0, 0, 0, 0), call(438, 0, 0, 0))",
        r"(EPERM ?){5}",
        machine=X86_ONLY,
    ),
    Probe(
        "keys of the kernel are out of reach",
        "report(call(250, 0, -3, 0), call(248, b'user', b'x', b'y', 1, -3), call(249, b'user', b'x', 0, 0))",
        r"(EPERM ?){3}",
        machine=X86_ONLY,
    ),
    Probe(
        "risky subsystems are closed",
        "report(*[call(n, 0, 0, 0, 0, 0) for n in"
        " (323, 425, 206, 321, 298, 175, 313, 246, 303, 304, 300, 237, 256, 279, 154, 172, 173, 447, 447)])",
        r"(EPERM ?){19}",
        machine=X86_ONLY,
    ),
    Probe(
        "the machine cannot be administered",
        "report(*[call(n, 0, 0, 0, 0) for n in (169, 167, 170, 163, 179, 103, 227, 159, 153)])",
        r"(EPERM ?){9}",
        machine=X86_ONLY,
    ),
    Probe(
        "filters and personalities cannot be changed",
        "report(call(135, 0x40000), call(157, 35, 1, 0, 0, 0), call(317, 1, 0, b'\\0' * 16), call(157, 22, 1))",
        r"(EPERM ?){4}",
        machine=X86_ONLY,
    ),
    Probe(
        "shared memory of system v does not exist",
        "report(call(29, 1234, 4096, 0o1666), call(64, 1, 1, 0o666), call(68, 1, 0o666))",
        r"(EPERM ?){3}",
        machine=X86_ONLY,
    ),
    Probe(
        "the foreign abi is killed",
        "import mmap\n"
        "m = mmap.mmap(-1, 4096, prot=7); m.write(bytes.fromhex('b814000000cd80c3'))\n"
        "f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\n"
        "p = os.fork()\nif p == 0:\n    f(); os._exit(0)\n"
        "report(os.WTERMSIG(os.waitpid(p, 0)[1]) == signal.SIGSYS)",
        "True",
        machine=X86_ONLY,
    ),
    Probe(
        "what other boxes do with shared files cannot be watched",
        "watch = libc.inotify_init1(0)\n"
        "report(watch, errno.errorcode[ctypes.get_errno()], libc.inotify_add_watch(0, b'/usr', 0x20))",
        "-1 EPERM -1",
    ),
    # ---- /proc ---------------------------------------------------------------------------------
    Probe(
        "only its own processes are visible",
        "report([n for n in os.listdir('/proc') if n.isdigit()], os.getpid())",
        r"\['1'\] 1",
    ),
    Probe(
        "settings of the kernel cannot be written",
        "report(*[attempt(open, '/proc/' + n, 'w') for n in ('sys/kernel/core_pattern', 'sys/vm/drop_caches',"
        " 'sys/user/max_user_namespaces', 'sys/net/ipv4/ip_forward', 'self/uid_map', 'self/setgroups')])",
        r"((EACCES|EROFS|EPERM|ENOENT) ?){6}",
    ),
    Probe(
        "what triggers or shows the machine is the null device",
        "null = os.stat('/dev/null').st_rdev\n"
        "names = [n for n in ('sysrq-trigger', 'kcore', 'kmsg', 'keys', 'timer_list') if os.path.exists('/proc/' + n)]\n"
        "report(all(os.stat('/proc/' + n).st_rdev == null for n in names))",
        "True",
    ),
    Probe(
        "facts about the host are covered",
        "def size(name):\n"
        "    try: return len(open('/proc/' + name).read())\n"
        "    except OSError: return 0\n"
        "report(sum(size(n) for n in ('kallsyms', 'cmdline', 'config.gz', 'keys', 'timer_list',"
        " 'interrupts', 'iomem', 'slabinfo', 'diskstats', 'modules', 'partitions')))",
        "0",
    ),
    Probe(
        "nothing of the host is in the environment",
        "report(sorted(n for n in os.environ if not n.startswith('KMP_')))",
        r"\['HOME', 'LANG', 'LOKY_MAX_CPU_COUNT', 'MPLBACKEND', 'MPLCONFIGDIR', 'PATH', 'PYTHONUNBUFFERED', 'TMPDIR', 'USER'\]",
    ),
    Probe(
        "no descriptor of the host is open",
        "report(sorted(int(n) for n in os.listdir('/proc/self/fd') if int(n) < 1000)[:6])",
        r"\[0, 1, 2, 3, 4, 5\]",
    ),
    Probe(
        "there is no terminal to type into",
        "import fcntl\nreport(attempt(open, '/dev/tty'), attempt(fcntl.ioctl, 1, 0x5412, b'x'))",
        r"(ENOENT|ENXIO) EPERM",
    ),
    Probe(
        "init cannot be killed from inside",
        "report(attempt(os.kill, 1, 9), 'alive')",
        "ok alive",
    ),
    Probe("the hostname is not the hosts", "report(socket.gethostname())", "sandbox"),
    # ---- floods --------------------------------------------------------------------------------
    Probe(
        "a fork bomb is stopped and the kernel recovers",
        "children = []\n"
        "try:\n"
        "    while True:\n"
        "        p = os.fork()\n"
        "        if p == 0:\n"
        "            signal.pause(); os._exit(0)\n"
        "        children.append(p)\n"
        "except OSError as error: answer = errno.errorcode[error.errno]\n"
        "for p in children: os.kill(p, 9); os.waitpid(p, 0)\n"
        "report(answer, len(children) < 512)",
        "EAGAIN True",
    ),
    Probe(
        "a thread bomb is stopped and the kernel recovers",
        "import threading\n"
        "stop = threading.Event(); threads = []\n"
        "try:\n"
        "    while True:\n"
        "        t = threading.Thread(target=stop.wait); t.start(); threads.append(t)\n"
        "except RuntimeError: pass\n"
        "stop.set(); [t.join() for t in threads]\n"
        "report(0 < len(threads) < 512)",
        "True",
    ),
    Probe(
        "open files run out at the limit",
        "files = []\n"
        "try:\n"
        "    while True: files.append(os.open('/dev/null', 0))\n"
        "except OSError as error: answer = errno.errorcode[error.errno]\n"
        "[os.close(f) for f in files]\nreport(answer, len(files) <= 1024)",
        "EMFILE True",
    ),
    Probe(
        "one quota bounds everything that can be written",
        "def fill(path):\n"
        "    try:\n"
        "        with open(path, 'wb', buffering=0) as f:\n"
        "            while f.write(b'x' * (1 << 20)): pass\n"
        "    except OSError as error: return errno.errorcode[error.errno]\n"
        "paths = ('/mnt/data/a', '/tmp/a', '/dev/shm/a', os.environ['HOME'] + '/a')\n"
        "answers = [fill(p) for p in paths]\n"
        "total = sum(os.path.getsize(p) for p in paths); [os.unlink(p) for p in paths]\n"
        "report(*answers, total <= 64 << 20)",
        r"(ENOSPC ?){4}True",
    ),
    Probe(
        "files run out at the quota of inodes",
        "n = 0\n"
        "try:\n"
        "    while True: open(f'/tmp/{n}', 'w').close(); n += 1\n"
        "except OSError as error: answer = errno.errorcode[error.errno]\n"
        "[os.unlink(f'/tmp/{i}') for i in range(n)]\nreport(answer)",
        "ENOSPC",
    ),
    Probe(
        "a sparse giant is refused",
        "f = open('/tmp/sparse', 'wb')\nreport(attempt(f.truncate, 1 << 50))\nos.unlink('/tmp/sparse')",
        "EFBIG",
    ),
]

SURVIVED = "42"


async def printed(box: Box, code: str) -> str:
    """Run a cell; return what it printed, and anything else that it showed, as text."""
    shown = [s async for s in box.run_cell(code)]
    return "".join(s.text if isinstance(s, Logs) else f"\n[{s}]" for s in shown[:-1]).strip()


async def answer_of(spawner: Spawner, probe: Probe) -> tuple[str, str]:
    """Return what a probe printed in a fresh box, and what the kernel says when asked after it."""
    box = await spawner.spawn()
    await box.configure(BoxLimits(memory_bytes=1 << 30))
    try:
        return await printed(box, TOOLS + probe.code), await printed(box, "print(6 * 7)")
    finally:
        box.kill()
        await box.wait_dead()
        box.release()


async def answer_all(env: Path) -> dict[str, tuple[str, str]]:
    """Run every probe that applies to this machine as the user who asks."""
    spawner = await Spawner.start(env=env, disk_bytes=64 << 20, logs_bytes_max=1 << 20)
    try:
        return {p.promise: await answer_of(spawner, p) for p in PROBES if p.applies}
    finally:
        await spawner.close()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(answer_all(Path(sys.argv[1])))))
