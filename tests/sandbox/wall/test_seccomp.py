"""The filter, run call by call through an interpreter of classic BPF."""

import errno
import struct

import pytest

from sanderling.sandbox.wall import linux, seccomp
from sanderling.sandbox.wall.syscall_numbers import NUMBERS

MACHINES = ["x86_64", "aarch64"]
ALLOW, KILL = seccomp.RET_ALLOW, seccomp.RET_KILL_PROCESS


def run(
    machine: str,
    call: str | int,
    *arguments: int,
    arch: int | None = None,
    sizes_buffers: bool = False,
) -> int:
    """Return what the filter answers to one system call."""
    number = NUMBERS[machine][call] if isinstance(call, str) else call
    padded = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number, arch or seccomp.AUDIT_ARCH[machine], 0, *padded)
    program = seccomp.program(machine, sizes_buffers=sizes_buffers)
    position = accumulator = 0
    while True:
        code, if_true, if_false, value = program[position]
        position += 1
        if code == 0x20:
            [accumulator] = struct.unpack_from("<I", data, value)
        elif code == 0x54:
            accumulator &= value
        elif code == 0x06:
            return value
        else:
            met = {
                0x15: accumulator == value,
                0x35: accumulator >= value,
                0x45: accumulator & value != 0,
            }[code]
            position += if_true if met else if_false


def refuses(number: int) -> int:
    return seccomp.RET_ERRNO | number


@pytest.mark.parametrize("machine", MACHINES)
def test_every_listed_call_passes_whatever_its_arguments(machine: str) -> None:
    for name in seccomp.ALLOWED & NUMBERS[machine].keys():
        assert run(machine, name, 2**64 - 1, 2**64 - 1) == ALLOW, name


@pytest.mark.parametrize("machine", MACHINES)
def test_every_refused_call_answers_eperm(machine: str) -> None:
    for name in seccomp.REFUSED & NUMBERS[machine].keys():
        assert run(machine, name) == refuses(errno.EPERM), name


@pytest.mark.parametrize("machine", MACHINES)
def test_a_call_in_no_list_answers_enosys(machine: str) -> None:
    conditional = {"clone", "clone3", "socket", "socketpair", "ioctl", "personality", "prctl"}
    conditional |= {"setsockopt", "fadvise64", "preadv2"}
    listed = (
        seccomp.ALLOWED | seccomp.REFUSED | seccomp.PRETENDED | seccomp.UNSUPPORTED | conditional
    )
    for name in NUMBERS[machine].keys() - listed:
        assert run(machine, name) == refuses(errno.ENOSYS), name


def test_no_call_is_in_two_lists() -> None:
    assert not seccomp.ALLOWED & seccomp.REFUSED
    assert not (seccomp.ALLOWED | seccomp.REFUSED) & (seccomp.PRETENDED | seccomp.UNSUPPORTED)


def test_every_name_in_the_lists_is_a_call_that_exists() -> None:
    known = NUMBERS["x86_64"].keys() | NUMBERS["aarch64"].keys()

    assert known >= seccomp.ALLOWED | seccomp.REFUSED | seccomp.PRETENDED | seccomp.UNSUPPORTED


@pytest.mark.parametrize("number", [463, 500, 999, 1 << 20, (1 << 30) - 1])
@pytest.mark.parametrize("machine", MACHINES)
def test_a_call_that_does_not_exist_yet_answers_enosys(machine: str, number: int) -> None:
    assert run(machine, number) == refuses(errno.ENOSYS)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_foreign_abi_is_killed(machine: str) -> None:
    i386 = 0x40000003

    assert run(machine, "read", arch=i386) == KILL


def test_the_x32_abi_is_not_there() -> None:
    assert run("x86_64", 0x40000000 | NUMBERS["x86_64"]["read"]) == refuses(errno.ENOSYS)


@pytest.mark.parametrize("machine", MACHINES)
def test_clone_makes_processes_and_threads_but_no_namespaces(machine: str) -> None:
    sigchld, thread = 17, 0x3D0F00

    assert run(machine, "clone", sigchld) == ALLOW
    assert run(machine, "clone", thread) == ALLOW
    for flag in (
        linux.CLONE_NEWNS,
        linux.CLONE_NEWUSER,
        linux.CLONE_NEWPID,
        linux.CLONE_NEWNET,
        linux.CLONE_NEWIPC,
        linux.CLONE_NEWUTS,
        linux.CLONE_NEWCGROUP,
    ):
        assert run(machine, "clone", sigchld | flag) == refuses(errno.EPERM)
    assert run(machine, "clone3") == refuses(errno.ENOSYS)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("family", "kind", "protocol", "allowed"),
    [
        (1, 1, 0, True),  # Unix stream
        (1, 5, 0, True),  # Unix seqpacket
        (2, 1, 0, True),  # TCP
        (2, 1 | 0o2000000 | 0o4000, 6, True),  # TCP, close-on-exec, non-blocking
        (2, 2, 17, True),  # UDP
        (10, 1, 6, True),
        (2, 3, 1, False),  # raw ICMP
        (2, 2, 1, False),  # ping socket
        (2, 1, 132, False),  # SCTP
        (10, 3, 58, False),
        (16, 3, 0, False),  # netlink
        (17, 3, 0, False),  # packet
        (31, 3, 0, False),  # bluetooth
        (38, 5, 0, False),  # kernel crypto
        (40, 1, 0, False),  # vsock: not covered by the network namespace
        (44, 3, 0, False),  # xdp
    ],
)
def test_only_unix_tcp_and_udp_sockets_can_be_made(
    machine: str, family: int, kind: int, protocol: int, allowed: bool
) -> None:
    expected = ALLOW if allowed else refuses(errno.EAFNOSUPPORT)

    assert run(machine, "socket", family, kind, protocol) == expected


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_that_depend_on_one_argument(machine: str) -> None:
    eperm = refuses(errno.EPERM)

    assert run(machine, "socketpair", 1, 1) == ALLOW
    assert run(machine, "socketpair", 2, 1) == refuses(errno.EAFNOSUPPORT)
    assert run(machine, "ioctl", 0, 0x5401) == ALLOW
    assert run(machine, "ioctl", 0, 0x5412) == eperm  # type into the terminal
    assert run(machine, "ioctl", 0, (1 << 32) | 0x5412) == eperm  # the kernel reads 32 bits
    assert run(machine, "personality", 0xFFFFFFFF) == ALLOW
    assert run(machine, "personality", 0x0040000) == eperm
    assert run(machine, "prctl", 15) == ALLOW
    assert run(machine, "prctl", linux.PR_SET_MM) == eperm
    assert run(machine, "prctl", linux.PR_SET_SECCOMP) == eperm


@pytest.mark.parametrize("machine", MACHINES)
def test_a_socket_can_only_pretend_to_linger(machine: str) -> None:
    assert run(machine, "setsockopt", 5, 1, 13) == refuses(0)  # SOL_SOCKET, SO_LINGER
    assert run(machine, "setsockopt", 5, 1 << 32 | 1, 13) == refuses(0)
    assert run(machine, "setsockopt", 5, 6, 13) == ALLOW  # TCP_CONGESTION
    assert run(machine, "setsockopt", 5, 1, 9) == ALLOW  # SO_KEEPALIVE


@pytest.mark.parametrize("machine", MACHINES)
def test_buffers_of_a_socket_only_pretend_to_grow(machine: str) -> None:
    for option in (7, 8, 32, 33):  # SO_SNDBUF, SO_RCVBUF, and both by force
        assert run(machine, "setsockopt", 5, 1, option) == refuses(0)


@pytest.mark.parametrize("machine", MACHINES)
def test_who_bounds_the_buffers_of_its_sockets_may_still_not_linger(machine: str) -> None:
    for option in (7, 8):  # SO_SNDBUF, SO_RCVBUF
        assert run(machine, "setsockopt", 5, 1, option, sizes_buffers=True) == ALLOW
    assert run(machine, "setsockopt", 5, 1, 13, sizes_buffers=True) == refuses(0)  # SO_LINGER


@pytest.mark.parametrize("machine", MACHINES)
def test_what_lies_in_memory_of_shared_files_is_neither_shown_nor_changed(machine: str) -> None:
    assert run(machine, "cachestat") == refuses(errno.EPERM)
    assert run(machine, "mincore") == refuses(errno.EPERM)
    assert run(machine, "preadv2", 3, 0, 1, 0, 0, 0) == ALLOW
    assert run(machine, "preadv2", 3, 0, 1, 0, 0, 0x8) == refuses(errno.EOPNOTSUPP)  # RWF_NOWAIT
    assert run(machine, "preadv2", 3, 0, 1, 0, 0, 0x1 | 0x8) == refuses(errno.EOPNOTSUPP)
    assert run(machine, "fadvise64", 3, 0, 0, 3) == ALLOW  # POSIX_FADV_WILLNEED
    assert run(machine, "fadvise64", 3, 0, 0, 4) == refuses(0)  # POSIX_FADV_DONTNEED


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ["splice", "tee", "vmsplice", "msgrcv", "shmat", "io_cancel"])
def test_what_no_program_here_needs_does_not_exist(machine: str, name: str) -> None:
    assert run(machine, name) == refuses(errno.ENOSYS)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_flush_of_the_machines_disks_is_only_pretended(machine: str) -> None:
    assert run(machine, "sync") == refuses(0)
    assert run(machine, "syncfs") == refuses(0)


@pytest.mark.parametrize("machine", MACHINES)
def test_no_jump_leaves_the_program_and_it_fits_the_kernel(machine: str) -> None:
    program = seccomp.program(machine)

    assert len(program) <= 4096
    for position, (code, if_true, if_false, _) in enumerate(program):
        if code in {0x15, 0x35, 0x45}:
            assert max(if_true, if_false) <= 255
            assert position + 1 + max(if_true, if_false) < len(program)
    assert program[-1][0] == 0x06
