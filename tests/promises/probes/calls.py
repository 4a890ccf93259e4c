"""The interfaces of the kernel: closed but for what Python needs."""

from __future__ import annotations

from .probe import X86_ONLY, Probe

CALLS = [
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
        # It has no second ABI: the number is taken for one of the first, and filtered.
        elsewhere={"gvisor": "False"},
    ),
    Probe(
        "what other boxes do with shared files cannot be watched",
        "watch = libc.inotify_init1(0)\n"
        "report(watch, errno.errorcode[ctypes.get_errno()], libc.inotify_add_watch(0, b'/usr', 0x20))",
        "-1 EPERM -1",
    ),
    Probe(
        "the x32 abi is not there",
        "report(call(0x40000000 | 39), call(0x40000000 | 59, 0, 0, 0))",
        "ENOSYS ENOSYS",
        machine=X86_ONLY,
    ),
    Probe(
        "a flush of the machines disks costs the machine nothing",
        "fd = os.open('/', os.O_RDONLY); start = time.monotonic()\n"
        "answers = {call(162) for _ in range(20_000)} | {call(306, fd) for _ in range(20_000)}\n"
        "report(answers)",
        "{'ok'}",
        machine=X86_ONLY,
    ),
    Probe(
        "pairs of sockets are unix sockets",
        "report(attempt(socket.socketpair, 2, 1), attempt(socket.socketpair, 10, 2), attempt(socket.socketpair, 16, 3), attempt(socket.socketpair))",
        "EAFNOSUPPORT EAFNOSUPPORT EAFNOSUPPORT ok",
    ),
    Probe(
        "sockets are tcp and udp and nothing behind them",
        "report(*[attempt(socket.socket, *s) for s in ((2, 1, 132), (2, 1, 262), (2, 2, 136), (2, 5, 132), (10, 3, 58), (2, 2, 1), (2, 6, 33))],"
        " attempt(socket.socket, 2, 1, 6), attempt(socket.socket, 10, 2, 17))",
        "(EAFNOSUPPORT ?){7}ok ok",
    ),
    Probe(
        "kernel modules cannot be loaded by asking for them",
        "report(attempt(socket.socket, 2, 1, 132), call(175, 0, 0, b''), call(313, 0, b'', 0), attempt(open, '/proc/sys/kernel/modprobe', 'w'),"
        " attempt(os.listdir, '/lib/modules') in ('ENOENT', 'EACCES') or os.listdir('/lib/modules') == [] or attempt(os.open, '/lib/modules', os.O_RDWR))",
        r"EAFNOSUPPORT EPERM EPERM (EACCES|EROFS|ENOENT) \S+",
        machine=X86_ONLY,
    ),
]
