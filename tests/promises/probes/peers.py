"""
How other sandboxes were broken, tried here.

Each probe stands for a class of breaks that was published of somebody else's sandbox; the comment
names one. Most of them restricted Python from within, which is not tried here at all: a cell may
have all of Python, and what it reaches with it is the wall.
"""

from __future__ import annotations

from .probe import X86_ONLY, Probe

PEERS = [
    # smolagents CVE-2025-5120 and CVE-2025-9959, n8n CVE-2025-68668 and CVE-2026-0863, Langflow
    # CVE-2025-3248: introspection or a decorator leads out of a restricted Python.
    Probe(
        "walking up from an object to popen leads into the same box",
        "def walk(c):\n"
        "    return [c] + [s for x in type.__subclasses__(c) for s in walk(x)]\n"
        "popen = next(c for c in walk(().__class__.__base__) if c.__name__ == 'Popen' and c.__module__ == 'subprocess')\n"
        "try: ''.nothing\n"
        "except AttributeError as error: found = error.__traceback__.tb_frame.f_builtins['__import__']('os')\n"
        "@lambda f: found.popen('id -u; cat /etc/shadow 2>&1 | tail -c 26').read()\n"
        "def said(): pass\n"
        "report(popen(['id', '-u'], stdout=-1).communicate()[0].decode(), said)",
        r"1000\s+1000\s+No such file or directory",
    ),
    # smolagents #2094: ctypes is not on the list of dangerous modules.
    Probe(
        "libc called directly is in the same box",
        "report(libc.getuid(), libc.system(b'exit $(id -u | wc -c)') >> 8, attempt(os.chroot, '/'),"
        " libc.mount(b'none', b'/tmp', b'tmpfs', 0, None), errno.errorcode[ctypes.get_errno()])",
        "1000 5 EPERM -1 EPERM",
    ),
    # Cohere Terrarium CVE-2026-5752: from the sandbox's objects to the interpreter around it, root.
    Probe(
        "there is no interpreter around this one and nobody is root",
        "here = open('/proc/self/status').read()\n"
        "report(os.getppid(), *here.split('Uid:')[1].split()[:4], attempt(__import__, 'js'), os.listdir('/proc/self/task'))",
        r"0 1000 1000 1000 1000 ModuleNotFoundError \['1'\]",
    ),
    # dify-sandbox #27 and CVE-2025-3466: code that runs before the filter is loaded.
    Probe(
        "code that python would run at its start is behind the same filter",
        "code = 'import ctypes, os; print(os.getuid(), ctypes.CDLL(None).unshare(0x10000000))'\n"
        "for name in ('sitecustomize.py', 'usercustomize.py'): open('/mnt/data/' + name, 'w').write(code)\n"
        "r = subprocess.run([sys.executable, '-c', ''], env={'PYTHONPATH': '/mnt/data'}, capture_output=True, text=True)\n"
        "report(r.stdout)\n"
        "for name in ('sitecustomize.py', 'usercustomize.py'): os.unlink('/mnt/data/' + name)",
        r"1000 -1(\s+1000 -1)?",
    ),
    # The interpreter of OpenAI's own: a server inside the sandbox could be asked by its code.
    Probe(
        "nobody listens inside the box",
        "states = [l.split()[3] for n in ('tcp', 'tcp6', 'udp', 'udp6') for l in open('/proc/net/' + n).readlines()[1:]]\n"
        "report(states, open('/proc/net/unix').read().count('\\n'))",
        r"\[\] 1",
    ),
    # runc CVE-2019-5736: the program of the sandbox, overwritten through /proc/self/exe.
    Probe(
        "what runs this code cannot be overwritten through a descriptor",
        "fd = os.open('/proc/self/exe', os.O_PATH)\n"
        "report(attempt(os.open, f'/proc/self/fd/{fd}', os.O_WRONLY),"
        " attempt(os.open, '/proc/1/exe', os.O_RDWR), attempt(os.open, '/proc/self/map_files', 0) in ('EACCES', 'EPERM', 'ENOENT', 'ok'))",
        r"((EROFS|EACCES|ETXTBSY) ?){2}True",
    ),
    # runc CVE-2024-21626: a descriptor or a working directory of the host is left over.
    Probe(
        "no descriptor and no folder leads out",
        "links = [os.readlink(f'/proc/self/fd/{n}') for n in range(6)]\n"
        "report(sorted({l.split(':')[0] for l in links}), os.readlink('/proc/self/cwd'), os.readlink('/proc/self/root'),"
        " *[attempt(os.listdir, f'/proc/self/fd/{n}/..') for n in range(3, 10)])",
        r"\['/dev/null', 'pipe', 'socket'\] /mnt/data / ((ENOENT|ENOTDIR|EACCES) ?){7}",
        elsewhere={"gvisor": r"\['/dev/null', 'host'\] /mnt/data / ((ENOENT|ENOTDIR|EACCES) ?){7}"},
    ),
    # runc CVE-2025-31133, CVE-2025-52565, CVE-2025-52881: what covers /proc is swapped while the
    # sandbox is made. Here the covers are made before any code runs, and hold.
    Probe(
        "what covers proc cannot be moved replaced or uncovered",
        "report(attempt(os.unlink, '/dev/null'), attempt(os.rename, '/dev/null', '/dev/nil'),"
        " attempt(os.symlink, '/proc/sys/kernel/core_pattern', '/dev/console'), call(166, b'/proc/kcore', 2),"
        " call(166, b'/proc/sys', 2), call(429, -100, b'/proc/kcore', -100, b'/tmp', 0),"
        " attempt(os.open, '/proc/sysrq-trigger', os.O_WRONLY), os.path.exists('/dev/console'),"
        " os.stat('/proc/sys/kernel/core_pattern').st_uid)",
        r"((EROFS|EACCES|EBUSY|EPERM) ?){3}(EPERM ?){3}(EACCES|EROFS|ENOENT|ok) False 65534",
        machine=X86_ONLY,
        # Nothing is covered: its /proc tells of itself.
        elsewhere={"gvisor": r".*FileNotFoundError.*core_pattern.*"},
    ),
    # bubblewrap CVE-2017-5226, CVE-2023-28100: typing into the operator's terminal.
    Probe(
        "no terminal can be typed into through any number of the call",
        "import fcntl\n"
        "report(*[attempt(fcntl.ioctl, 0, n, b'x') for n in (0x5412, 0x541C)],"
        " libc.ioctl(0, ctypes.c_ulong(0x100005412), b'x'), errno.errorcode[ctypes.get_errno()], attempt(os.ttyname, 0), attempt(os.openpty))",
        r"EPERM EPERM -1 EPERM ENOTTY \w+",
    ),
    # snekbox and other users of nsjail: memory files and the box's own folders as a way to programs.
    Probe(
        "a program from memory or from a file of ones own is behind the same wall",
        "code = 'import os, ctypes; l = ctypes.CDLL(None); print(os.getuid(), l.unshare(0x10000000), os.path.exists(\"/etc/shadow\"))'\n"
        "fd = os.memfd_create('x', 0); os.write(fd, open(os.path.realpath(sys.executable), 'rb').read())\n"
        "first = subprocess.run([f'/proc/self/fd/{fd}', '-I', '-c', code], pass_fds=[fd], capture_output=True, text=True, env={'PYTHONHOME': sys.base_prefix})\n"
        "open('/mnt/data/run', 'w').write(f'#!{sys.executable} -I\\n{code}'); os.chmod('/mnt/data/run', 0o755)\n"
        "second = subprocess.run(['/mnt/data/run'], capture_output=True, text=True); os.unlink('/mnt/data/run')\n"
        "report(first.stdout or '1000 -1 False', second.stdout)",
        r"1000 -1 False\s+1000 -1 False",
    ),
    # Escapes by bugs of the machine's kernel (dirty pipe CVE-2022-0847, io_uring, nf_tables): the
    # calls they need are not there.
    Probe(
        "the calls that recent escapes needed are not there",
        "r, w = os.pipe()\n"
        "report(call(275, r, 0, w, 0, 1, 0), call(278, w, 0, 0, 0), call(276, r, w, 1, 0), call(425, 1, 0), call(323, 0),"
        " attempt(socket.socket, 16, 3, 12), attempt(socket.socket, 38, 5, 0), call(321, 0, 0, 0), call(250, 0, 0, 0))",
        r"(ENOSYS ?){3}(EPERM ?){2}(EAFNOSUPPORT ?){2}EPERM EPERM",
        machine=X86_ONLY,
    ),
    # Page cache attacks (CVE-2019-5489): which shared library another tenant has used.
    Probe(
        "what others have read of shared files cannot be seen",
        "import mmap\n"
        "f = open(os.path.realpath(sys.executable), 'rb')\n"
        "try: answer = str(os.preadv(f.fileno(), [bytearray(8)], 0, getattr(os, 'RWF_NOWAIT', 8)))\n"
        "except OSError as error: answer = errno.errorcode[error.errno]\n"
        "report(call(27, 0, 4096, 0), call(451, f.fileno(), 0, 0, 0), answer, attempt(os.posix_fadvise, f.fileno(), 0, 0, 4))",
        "EPERM EPERM (EOPNOTSUPP|ENOTSUP) ok",
        machine=X86_ONLY,
    ),
]
