"""What tells of the machine or of its other processes."""

from __future__ import annotations

from .probe import Probe

MACHINE = [
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
        # The command line of its own kernel, which is the same everywhere.
        elsewhere={"gvisor": r"\d\d"},
    ),
    Probe(
        "nothing of the host is in the environment",
        "report(sorted(n for n in os.environ if not n.startswith('KMP_')))",
        r"\['HOME', 'LANG', 'LOKY_MAX_CPU_COUNT', 'MPLBACKEND', 'MPLCONFIGDIR', 'PATH', 'PYTHONUNBUFFERED', 'TMPDIR', 'USER'\]",
        elsewhere={
            "gvisor": r"\['HOME', 'LANG', 'LOKY_MAX_CPU_COUNT', 'MALLOC_ARENA_MAX', 'MPLBACKEND', 'MPLCONFIGDIR', 'PATH', 'PYTHONUNBUFFERED', 'TMPDIR', 'USER'\]"
        },
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
        # It can, and everything in this box ends with it.
        elsewhere={"gvisor": ""},
    ),
    Probe("the hostname is not the hosts", "report(socket.gethostname())", "sandbox"),
    Probe(
        "another process is not reached by its number",
        "report(sorted({attempt(os.kill, n, 0) for n in range(2, 3000)}), attempt(os.kill, -1, 0), attempt(os.pidfd_open, 2))",
        r"\['ESRCH'\] \w+ ESRCH",
        elsewhere={"gvisor": r"\['ESRCH'\] \w+ ENOSYS"},
    ),
    Probe(
        "everything can be signalled at once and only the box hears it",
        "child = subprocess.Popen(['sleep', '600'])\n"
        "report(attempt(os.kill, -1, signal.SIGKILL), child.wait())",
        "ok -9",
    ),
    Probe(
        "the root and the memory of init are its own",
        "report(sorted(os.listdir('/proc/1/root')) == sorted(os.listdir('/')), attempt(open, '/proc/1/mem', 'r+b'), attempt(open, '/proc/1/root/etc/shadow'),"
        " attempt(os.readlink, '/proc/2/root'))",
        r"True (EACCES|EPERM|EROFS) ENOENT ENOENT",
    ),
    Probe(
        "the command line names nothing of the host",
        "report(open('/proc/self/cmdline').read().split('\\0'), open('/proc/1/comm').read())",
        r"\['python', ''\] python",
        elsewhere={"gvisor": r"\['python'(, '')?\] python"},
    ),
    Probe(
        "the name of this boot is covered",
        "report(repr(open('/proc/sys/kernel/random/boot_id').read()), os.listdir('/proc/pressure') if os.path.exists('/proc/pressure') else [])",
        r"'' \[\]",
        elsewhere={"gvisor": r".*FileNotFoundError.*boot_id.*"},
    ),
    Probe(
        "memory holds none of what the host was started with",
        "import re\n"
        "found = 0\n"
        "with open('/proc/self/mem', 'rb', 0) as memory:\n"
        "    for line in open('/proc/self/maps'):\n"
        "        m = re.match(r'(\\w+)-(\\w+) r.*', line)\n"
        "        if not m or '[v' in line: continue\n"
        "        start, end = int(m[1], 16), int(m[2], 16)\n"
        "        for at in range(start, end, 1 << 22):\n"
        "            try: memory.seek(at); chunk = memory.read(min(1 << 22, end - at))\n"
        "            except (OSError, ValueError, OverflowError): break\n"
        "            found += len(re.findall(rb'SECRE[T]-OF-THE-HOST', chunk))\n"
        "report(found)",
        "0",
        elsewhere={"gvisor": r".*PermissionError.*/proc/self/mem.*"},
    ),
    Probe(
        "the heap that boxes share cannot be changed by one",
        "answers, sizes = set(), os.sysconf('SC_PAGE_SIZE')\n"
        "for line in open('/proc/self/maps'):\n"
        "    if 'memfd' not in line: continue\n"
        "    range_, flags = line.split()[:2]\n"
        "    start, end = (int(n, 16) for n in range_.split('-'))\n"
        "    answers |= {flags[3], attempt(os.open, '/proc/self/map_files/' + range_, os.O_RDWR), libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(sizes), 9)}\n"
        "report(answers <= {'p', 'EPERM', 'EACCES', 'ENOENT', -1})",
        "True",
    ),
]
