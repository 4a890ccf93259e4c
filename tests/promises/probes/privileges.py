"""Privileges: none, and no way to any."""

from __future__ import annotations

from .probe import Probe

PRIVILEGES = [
    Probe(
        "there is no capability and none can come",
        "s = dict(l.split(':', 1) for l in open('/proc/self/status').read().splitlines() if ':' in l)\n"
        "sets = {k: int(v, 16) for k, v in s.items() if k.startswith('Cap')}\n"
        "report({'CapInh', 'CapPrm', 'CapEff', 'CapBnd'} <= set(sets), any(sets.values()),"
        " libc.prctl(39, 0, 0, 0, 0), s['Seccomp'].strip(), os.getuid(), os.getgid())",
        "True False 1 2 1000 1000",
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
        # Its own kernel keeps the number of nice, and no scheduler looks at it.
        elsewhere={"gvisor": r"ok EINVAL EACCES"},
    ),
    Probe(
        "crashing programs leave no core files",
        "p = os.fork()\nif p == 0: os.abort()\nos.waitpid(p, 0)\n"
        "report(resource.getrlimit(resource.RLIMIT_CORE), [n for n in os.listdir('/mnt/data') if 'core' in n])",
        r"\(0, 0\) \[\]",
    ),
    Probe(
        "programs with a setuid bit give nothing",
        "def said(*command):\n"
        "    if not os.path.exists(command[0]): return 'absent'\n"
        "    r = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20)\n"
        "    return r.returncode != 0\n"
        "report(said('/usr/bin/su', '-c', 'id'), said('/usr/bin/newuidmap', '1', '0', '0', '1'), said('/usr/bin/sudo', '-n', 'id'),"
        " said('/usr/bin/mount', '-t', 'tmpfs', 'x', '/tmp'), said('/usr/bin/passwd', '-S', 'root'))",
        r"((True|absent) ?){5}",
    ),
    Probe(
        "memory cannot be locked beyond the limit",
        "report(libc.mlockall(3), errno.errorcode[ctypes.get_errno()], resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] < 1 << 27)",
        "-1 EPERM True",
    ),
    Probe(
        "the map of uids cannot be changed",
        "report(open('/proc/self/uid_map').read().split()[0::2], attempt(lambda: open('/proc/self/gid_map', 'w').write('0 0 1')),"
        " attempt(os.setresuid, 0, 0, 0), attempt(os.setreuid, -1, 0))",
        r"\['1000', '1'\] EACCES (EPERM|EINVAL) (EPERM|EINVAL)",
        elsewhere={"gvisor": r"\['0', '4294967295'\] EACCES (EPERM|EINVAL) (EPERM|EINVAL)"},
    ),
]
