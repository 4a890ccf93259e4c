"""Files and devices: only what a box needs, and nothing of it can be changed."""

from __future__ import annotations

import re

from .probe import Probe

FILES = [
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
        # An empty folder; see the next but one.
        elsewhere={"gvisor": r"\['sys'\]"},
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
        # `pts` is a mount of its own kernel.
        elsewhere={
            "gvisor": re.escape(
                "['fd', 'full', 'null', 'pts', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'urandom', 'zero']"
            )
        },
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
    Probe(
        "sysfs is not there",
        "report(attempt(os.listdir, '/sys'), listing('/sys'))",
        r"ENOENT \[\]",
        elsewhere={"gvisor": r"ok \[\]"},
    ),
    Probe(
        "a symbolic link in the workspace leads nowhere",
        "for name, to in (('s', '/etc/shadow'), ('p', '/proc/1/root/etc/shadow'), ('h', '../../../../root')): os.symlink(to, '/mnt/data/' + name)\n"
        "report(*[attempt(open, '/mnt/data/' + n) for n in ('s', 'p', 'h/.bashrc', 'h/.ssh/id_rsa')])\n"
        "for n in 'sph': os.unlink('/mnt/data/' + n)",
        r"(ENOENT ?){4}",
    ),
    Probe(
        "extended attributes cannot be stored",
        "open('/tmp/x', 'w').close()\n"
        "report(attempt(os.setxattr, '/tmp/x', 'user.a', b'x'), attempt(os.removexattr, '/tmp/x', 'user.a')); os.unlink('/tmp/x')",
        "(EOPNOTSUPP|ENOTSUP) (EOPNOTSUPP|ENOTSUP)",
    ),
]
