"""
The system call filter of a box: a list of what Python and its libraries need, and nothing else.

What is listed in ALLOWED passes; what is in REFUSED answers EPERM, because programs probe for these
and read the answer; whatever is in neither, calls that do not exist yet included, answers ENOSYS.
A call through a foreign ABI (i386, x32) never passes. A few calls depend on an argument.

The program is classic BPF, written by hand: a library would add a dependency to the one process
that must have none. `tests/sandbox/wall/test_seccomp.py` runs it through an interpreter, call by
call, and the probes run it in the kernel.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Iterable

from sanderling.sandbox.wall import linux
from sanderling.sandbox.wall.syscall_numbers import NUMBERS

ALLOWED = frozenset(
    """
    accept accept4 access alarm arch_prctl bind brk capget chdir chmod chown clock_getres
    clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3
    epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve
    execveat exit exit_group faccessat faccessat2 fallocate fchdir fchmod fchmodat
    fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fork fstat fstatfs fsync
    ftruncate futex futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area
    getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid
    getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit getrusage getsid
    getsockname getsockopt gettid gettimeofday getuid getxattr ioprio_get kill lchown lgetxattr link
    linkat listen listxattr llistxattr lseek lstat madvise membarrier memfd_create mkdir mkdirat
    mlock mlock2 mmap mprotect mremap msync munlock munlockall munmap nanosleep newfstatat open
    openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect
    poll ppoll pread64 preadv prlimit64 pselect6 pwrite64 pwritev pwritev2 read readahead
    readlink readlinkat readv recvfrom recvmmsg recvmsg rename renameat renameat2 restart_syscall
    rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
    sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield select sendfile
    sendmmsg sendmsg sendto set_robust_list set_tid_address setitimer setpgid setpriority setrlimit
    setsid shutdown sigaltstack signalfd signalfd4 stat statfs statx symlink symlinkat
    sync_file_range sysinfo tgkill time timer_create timer_delete timer_getoverrun timer_gettime
    timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill truncate umask uname
    unlink unlinkat utime utimensat utimes vfork wait4 waitid write writev
    """.split()
)

# Privileged, dangerous or a way around the wall. EPERM, as an unprivileged process expects.
# inotify, mincore and cachestat are among them because boxes read the same libraries: one would see
# what another imports.
REFUSED = frozenset(
    """
    acct add_key adjtimex bpf cachestat chroot clock_adjtime clock_settime delete_module
    fanotify_init fanotify_mark finit_module fsconfig fsmount fsopen fspick get_mempolicy
    init_module io_destroy io_getevents io_pgetevents io_setup io_submit io_uring_enter
    io_uring_register io_uring_setup inotify_add_watch inotify_init inotify_init1 inotify_rm_watch
    ioperm iopl kcmp kexec_file_load kexec_load keyctl landlock_add_rule landlock_create_ruleset
    landlock_restrict_self lookup_dcookie mbind memfd_secret migrate_pages mincore mknod mknodat
    mlockall modify_ldt mount mount_setattr move_mount move_pages mq_open msgget name_to_handle_at
    open_by_handle_at open_tree perf_event_open pidfd_getfd pivot_root process_madvise
    process_mrelease process_vm_readv process_vm_writev ptrace quotactl quotactl_fd reboot
    remap_file_pages request_key seccomp semget set_mempolicy set_mempolicy_home_node setdomainname
    setfsgid setfsuid setgid setgroups sethostname setns setregid setresgid setresuid setreuid
    settimeofday setuid shmget swapoff swapon syslog umount2 unshare userfaultfd ustat vhangup
    """.split()
)

# Never done, and no harm in saying so: a flush of the whole machine's disks on request.
PRETENDED = frozenset({"sync", "syncfs"})
UNSUPPORTED = frozenset({"setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr"})

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000

RET_ALLOW, RET_ERRNO, RET_KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_LD_ABS, _JEQ, _JGE, _JSET, _RET, _AND = 0x20, 0x15, 0x35, 0x45, 0x06, 0x54
_OFFSET_NR, _OFFSET_ARCH = 0, 4

_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_SOCK_STREAM, _SOCK_DGRAM, _SOCK_TYPE_MASK = 1, 2, 0xF
_IPPROTO_TCP, _IPPROTO_UDP = 6, 17
_SOL_SOCKET, _SO_SNDBUF, _SO_RCVBUF, _SO_LINGER = 1, 7, 8, 13
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_POSIX_FADV_DONTNEED, _RWF_NOWAIT = 4, 8
_TIOCSTI, _TIOCSETD, _TIOCLINUX = 0x5412, 0x5423, 0x541C

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, value


def _offset_of_argument(index: int) -> int:
    return 16 + 8 * index  # the low half; every argument checked here is 32 bits wide


def _ret(value: int) -> Instruction:
    return (_RET, 0, 0, value)


def _errno(number: int) -> Instruction:
    return _ret(RET_ERRNO | number)


_ALLOW = _ret(RET_ALLOW)


def _only(argument: int, values: tuple[int, ...], refusal: Instruction) -> list[Instruction]:
    """Allow when the argument is one of `values`, else refuse."""
    body: list[Instruction] = [(_LD_ABS, 0, 0, _offset_of_argument(argument))]
    for position, value in enumerate(values):
        body.append((_JEQ, len(values) - position, 0, value))
    return [*body, refusal, _ALLOW]


def _all_but(argument: int, values: tuple[int, ...], refusal: Instruction) -> list[Instruction]:
    """Refuse when the argument is one of `values`, else allow."""
    body: list[Instruction] = [(_LD_ABS, 0, 0, _offset_of_argument(argument))]
    for position, value in enumerate(values):
        body.append((_JEQ, len(values) - position, 0, value))
    return [*body, _ALLOW, refusal]


def _socket() -> list[Instruction]:
    """Unix sockets of any type; IPv4 and IPv6 only TCP and UDP: no raw, packet, netlink, vsock."""
    refusal = _errno(errno.EAFNOSUPPORT)
    protocols = _only(2, (0, _IPPROTO_TCP, _IPPROTO_UDP), refusal)
    types: list[Instruction] = [
        (_LD_ABS, 0, 0, _offset_of_argument(1)),
        (_AND, 0, 0, _SOCK_TYPE_MASK),
        (_JEQ, 2, 0, _SOCK_STREAM),
        (_JEQ, 1, 0, _SOCK_DGRAM),
        refusal,
    ]
    internet = [*types, *protocols]
    return [
        (_LD_ABS, 0, 0, _offset_of_argument(0)),
        (_JEQ, 0, 1, _AF_UNIX),
        _ALLOW,
        (_JEQ, 2, 0, _AF_INET),
        (_JEQ, 1, 0, _AF_INET6),
        refusal,
        *internet,
    ]


def _setsockopt(*, sizes_buffers: bool) -> list[Instruction]:
    """
    Only pretend to set SO_LINGER and the sizes of buffers. A socket that lingers makes wait whoever
    closes it last, and a box can send one to the host, which has to close what it is sent. Buffers
    are memory of the machine that not every machine counts as the box's (`network.py`).
    """
    buffers = (_SO_SNDBUF, _SO_RCVBUF, _SO_SNDBUFFORCE, _SO_RCVBUFFORCE)
    pretended = (_SO_LINGER,) if sizes_buffers else (_SO_LINGER, *buffers)
    options = _all_but(2, pretended, _errno(0))
    return [
        (_LD_ABS, 0, 0, _offset_of_argument(1)),
        (_JEQ, 1, 0, _SOL_SOCKET),
        _ALLOW,
        *options,
    ]


def _conditional(*, sizes_buffers: bool) -> dict[str, list[Instruction]]:
    """Return, for each call that depends on an argument, the instructions that decide it."""
    eperm = _errno(errno.EPERM)
    return {
        "clone": [
            (_LD_ABS, 0, 0, _offset_of_argument(0)),
            (_JSET, 0, 1, linux.CLONE_NEW_ANY & ~linux.CLONE_NEWTIME),
            eperm,
            _ALLOW,
        ],
        # Its flags are behind a pointer, which a filter cannot read; glibc falls back to clone.
        "clone3": [_errno(errno.ENOSYS)],
        "socket": _socket(),
        "setsockopt": _setsockopt(sizes_buffers=sizes_buffers),
        "socketpair": _only(0, (_AF_UNIX,), _errno(errno.EAFNOSUPPORT)),
        # The machine's disks are everybody's: what a box is done with, others may want in memory.
        "fadvise64": _all_but(3, (_POSIX_FADV_DONTNEED,), _errno(0)),
        # A read that fails unless the page is in memory shows what others have read.
        "preadv2": [
            (_LD_ABS, 0, 0, _offset_of_argument(5)),
            (_JSET, 0, 1, _RWF_NOWAIT),
            _errno(errno.EOPNOTSUPP),
            _ALLOW,
        ],
        "ioctl": _all_but(1, (_TIOCSTI, _TIOCSETD, _TIOCLINUX), eperm),
        "personality": _only(0, (0, 0xFFFFFFFF), eperm),
        "prctl": _all_but(0, (linux.PR_SET_MM, linux.PR_SET_SECCOMP), eperm),
    }


def program(
    machine: str = linux.MACHINE,
    *,
    absent: frozenset[str] = frozenset(),
    sizes_buffers: bool = False,
) -> list[Instruction]:
    """
    Return the filter for `machine` (x86_64 or aarch64).

    absent: calls of ALLOWED that are to answer ENOSYS all the same.
    sizes_buffers: whether the sizes of its sockets' buffers are its own to set.

    Raises:
        KeyError: another machine; boxes cannot be built there.
    """
    numbers = NUMBERS[machine]
    result: list[Instruction] = [
        (_LD_ABS, 0, 0, _OFFSET_ARCH),
        (_JEQ, 1, 0, AUDIT_ARCH[machine]),
        _ret(RET_KILL_PROCESS),
        (_LD_ABS, 0, 0, _OFFSET_NR),
    ]
    if machine == "x86_64":
        result += [(_JGE, 0, 1, _X32_BIT), _errno(errno.ENOSYS)]
    for name, body in _conditional(sizes_buffers=sizes_buffers).items():
        if name in numbers:
            result += [(_JEQ, 0, len(body), numbers[name]), *body]
    for names, answer in (
        (PRETENDED, _errno(0)),
        (UNSUPPORTED, _errno(errno.EOPNOTSUPP)),
        (REFUSED, _errno(errno.EPERM)),
        (ALLOWED - absent, _ALLOW),
    ):
        for first, last in _ranges(numbers[n] for n in names if n in numbers):
            result += [(_JGE, 0, 2, first), (_JGE, 1, 0, last + 1), answer]
    result.append(_errno(errno.ENOSYS))
    return result


def _ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Fold numbers into runs of neighbours, so that the filter stays short."""
    runs: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


class Filter:
    """The compiled filter; made once in the zygote, applied in every box."""

    def __init__(
        self, *, absent: frozenset[str] = frozenset(), sizes_buffers: bool = False
    ) -> None:
        """`absent` and `sizes_buffers`: as for `program`."""
        instructions = program(absent=absent, sizes_buffers=sizes_buffers)
        raw = b"".join(struct.pack("HBBI", *i) for i in instructions)
        self._instructions = ctypes.create_string_buffer(raw, len(raw))
        address = ctypes.addressof(self._instructions)
        self._program = struct.pack("HxxxxxxQ", len(instructions), address)

    def apply(self) -> None:
        """
        Bind this thread and all it will start, for ever. Needs PR_SET_NO_NEW_PRIVS.

        Raises:
            OSError: the kernel refused; the box must not be used.
        """
        linux.call("seccomp", 1, 0, self._program)
