"""
The zygote: a Python that has imported everything once, and forks a sealed copy for every box.

It is started by the host with the guest environment's interpreter, knows nothing of the server,
and is itself pid 1 of a pid namespace: when it dies, every box dies with it. No user code ever runs
in it. The order of `main` and of `_enter_box` is the wall; each step depends on those before it.

    main        namespaces → root file system → imports → wait for requests
    per box     fork → network → mounts → limits → identity → Landlock → seccomp → kernel

A request is one message on the control socket (docs/protocol.md, §2). Whatever fails in a box is
reported on that box's own socket, and the box ends: no step is optional.
"""

from __future__ import annotations

import array
import atexit
import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from sanderling.kernel import heap, preload, rehearsal
from sanderling.kernel import main as kernel_main
from sanderling.sandbox.wall import (
    activation,
    egress,
    identity,
    landlock,
    linux,
    mounts,
    network,
    rlimits,
    seccomp,
    views,
)

MESSAGE_BYTES_MAX = 65536
_FDS_MAX = 16
_KERNEL_FDS = 5
_FIRST_SPARE_FD = 200
_TRIAL = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV | linux.MOUNT_ATTR_NOEXEC
_BOX_NAMESPACES = (
    ("mnt", linux.CLONE_NEWNS),
    ("net", linux.CLONE_NEWNET),
    ("ipc", linux.CLONE_NEWIPC),
    ("uts", linux.CLONE_NEWUTS),
)


@dataclass(frozen=True)
class Plan:
    """What the host asks the zygote to be; sent as JSON in its arguments."""

    visible: list[str]
    path: str  # PATH inside
    mpl_config: str | None
    preload: list[str]
    uids: identity.Uids  # range and subuid: the host maps them; single: the zygote does
    uid: int
    gid: int
    has_egress: bool = False  # every box makes the listener of `egress.py`
    required: Sequence[str] = ()  # of `preload`, those that must be installed


def main(control_fd: int, plan_json: str) -> NoReturn:
    """Build the root, load the libraries, serve requests until the control socket closes."""
    plan = Plan(**json.loads(plan_json))
    control = _out_of_the_way(control_fd)
    kernel_host = rehearsal.hold_descriptors()
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        covered = enter_namespaces(plan, control)
    except OSError as error:
        tell(control, {"error": str(error), "errno": error.errno})
        os._exit(1)
    become_init(control)
    try:
        if plan.uids != "single":
            _try_reading([covered.get(path, path) for path in plan.visible])
        mapper = _try_view(control) if plan.uids == "subuid" else None
        facts, kernel = _warm_up(plan, covered, kernel_host)
    except Exception as error:  # noqa: BLE001 - the process boundary: the host must learn why
        tell(control, {"error": f"{type(error).__name__}: {error}", "errno": None})
        os._exit(1)
    tell(control, facts)
    wall = _Wall(plan, covered, seccomp.Filter(), landlock.abi(), kernel)
    serve_requests(control, wall.enter_box, mapper)


def enter_namespaces(plan: Plan, control: socket.socket) -> dict[str, str]:
    """
    Enter namespaces of our own and build the root of all boxes in them.

    Return the visible folders that boxes have to uncover (`mounts.build_root`). Raises OSError.
    """
    if plan.uids == "range":
        # As root: build the root file system with root's eyes (the environment may lie below a
        # private folder), then give root up for a namespace in which it is nobody outside.
        linux.unshare(linux.CLONE_NEWNS)
        covered = mounts.build_root(plan.visible)
        _enter_mapped_namespace(control)
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        # The change of uid made our own /proc entries the machine's root's; take them back.
        linux.prctl(linux.PR_SET_DUMPABLE, 1)
        linux.unshare(linux.CLONE_NEWNS)
    else:
        if plan.uids == "subuid":
            _enter_mapped_namespace(control)
        else:
            identity.enter_single_user_namespace(plan.uid, plan.gid)
        linux.unshare(linux.CLONE_NEWNS)
        covered = mounts.build_root(plan.visible)
    linux.unshare(linux.CLONE_NEWNET | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS | linux.CLONE_NEWPID)
    return covered


def _enter_mapped_namespace(control: socket.socket) -> None:
    """Enter a user namespace whose uids the host writes."""
    linux.unshare(linux.CLONE_NEWUSER)
    _ask(control, {"op": "map"}, answer=b"mapped")


def _try_reading(folders: list[str]) -> None:
    """Raise OSError where a box, whose user owns nothing here, could not read its own Python."""
    folders = [*folders, *(path for path in sys.path if os.path.isdir(path))]
    child = os.fork()
    if child == 0:
        number = 0
        try:
            os.setgroups([])
            os.setresgid(1, 1, 1)
            os.setresuid(1, 1, 1)
            for folder in folders:
                os.listdir(folder)
        except OSError as error:
            number = error.errno or errno.EIO
        finally:
            os._exit(number)
    number = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if number != 0:
        raise OSError(number, "only you may read the guest environment; chmod -R a+rX mends that")


def _try_view(control: socket.socket) -> views.Mapper:
    """Make a file system that belongs to a box, and let the host try the view of it."""
    mapper = views.Mapper(control)
    namespace = mapper.namespace(1)
    tmpfs = linux.new_tmpfs({"size": "64k", "uid": "1", "gid": "1", "mode": "700"}, _TRIAL)
    linux.attach_mount(tmpfs, "/run")
    os.close(tmpfs)
    view = views.view("/run", namespace)
    linux.umount("/run")
    _ask(control, {"op": "try"}, answer=b"good", fds=[view])
    os.close(view)
    os.close(namespace)
    return mapper


def become_init(control: socket.socket) -> None:
    """Go on in a child that is pid 1 of the new pid namespace; the parent only waits for it."""
    child = os.fork()
    if child == 0:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        return
    control.close()
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _warm_up(
    plan: Plan, covered: dict[str, str], kernel_host: socket.socket
) -> tuple[dict[str, Any], kernel_main.Kernel]:
    """Load and rehearse; return what there is to say of this process, and its kernel."""
    version = landlock.abi()
    if version == 0:
        raise OSError("Landlock is missing: this kernel was built or started without it")
    linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    os.environ.clear()
    os.environ.update(preload.environ(plan.path, mounts.HOME))
    mounts.mount_scratch(covered)
    activation.activate()
    os.makedirs(os.environ["MPLCONFIGDIR"])
    if plan.mpl_config is not None:
        shutil.copytree(plan.mpl_config, os.environ["MPLCONFIGDIR"], dirs_exist_ok=True)
    started = time.perf_counter()
    report = preload.preload_or_fail(plan.preload, plan.required)
    preload_ms = (time.perf_counter() - started) * 1000
    os.chdir("/")
    linux.hide_arguments("python")  # they name folders of the host
    mounts.unmount_scratch()
    mounts.seal_root()
    preload.forget_one_thread()
    kernel = rehearsal.rehearsed_kernel(kernel_host)
    atexit._clear()  # noqa: SLF001 - what libraries would do at exit is not for every box to do
    preload.freeze()
    heap.share()
    facts = {
        "op": "warm",
        "preload_ms": round(preload_ms, 1),
        **report.as_facts(),
        "landlock": version,
        "python": sys.version.split()[0],
    }
    return facts, kernel


def serve_requests(
    control: socket.socket,
    enter_box: Callable[[dict[str, Any], list[int]], NoReturn],
    mapper: views.Mapper | None = None,
) -> NoReturn:
    """
    Fork a child for every request until the control socket closes.

    enter_box: called in the child, pid 1 of a new pid namespace, with the request and its
        descriptors; for a new place where there is a `mapper`, also a user namespace of its.
    """
    own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, _reap)
    ancillary_bytes = socket.CMSG_SPACE(_FDS_MAX * 4)
    while True:
        message, ancillary, _, _ = control.recvmsg(MESSAGE_BYTES_MAX, ancillary_bytes)
        if not message:
            os._exit(0)
        fds = _descriptors(ancillary)
        request = json.loads(message)
        # No reaping between fork and pidfd_open: the number must still be this child's.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        try:
            # The next child is to be pid 1 of a namespace of its own: back to ours, then a new one.
            linux.setns(own_pids, linux.CLONE_NEWPID)
            linux.unshare(linux.CLONE_NEWPID)
            if mapper is not None and len(fds) == _KERNEL_FDS + request["doors"]:
                fds.append(mapper.namespace(request["uid"]))
            pid = linux.fork()
        except OSError as error:
            tell(control, {"error": str(error), "errno": error.errno})
        else:
            if pid == 0:
                enter_box(request, fds)
            pidfd = os.pidfd_open(pid)
            socket.send_fds(control, [b'{"op": "forked"}\n'], [pidfd])
            os.close(pidfd)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        for fd in fds:
            os.close(fd)


class _Wall:
    """What a forked child goes through on its way to becoming a kernel."""

    def __init__(
        self,
        plan: Plan,
        covered: dict[str, str],
        calls: seccomp.Filter,
        landlock_abi: int,
        kernel: kernel_main.Kernel,
    ) -> None:
        self._has_own_uids = plan.uids != "single"
        self._has_egress = plan.has_egress
        self._covered = covered
        self._calls = calls
        self._landlock_abi = landlock_abi
        self._kernel = kernel

    def enter_box(self, request: dict[str, Any], fds: list[int]) -> NoReturn:
        """Build this box's wall around this process, then be its kernel. Never returns."""
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            os.setsid()
            more_fds = arrange_descriptors(fds)
            host = self._kernel.host
            try:
                for _ in range(request["doors"]):
                    _enter(more_fds.pop(0))
                if len(more_fds) == len(_BOX_NAMESPACES):
                    self._rejoin(more_fds)
                else:
                    self._make_place(request, host, more_fds)
                self._lock(request["uid"], read_only=request["read_only"])
            except Exception as error:  # noqa: BLE001 - the box boundary: as above
                message = f"{type(error).__name__}: {error}"
                tell(host, {"op": "failed", "message": message})
                os._exit(1)
            self._kernel.run(rehearsal.settle)
        finally:
            os._exit(1)

    def _make_place(
        self, request: dict[str, Any], host: socket.socket, view_fds: list[int]
    ) -> None:
        """
        Namespaces, network and file systems of a new box; its handles go to the host.

        view_fds: the user namespace through which the host sees /mnt/data, where it needs one.
        """
        linux.unshare(linux.CLONE_NEWNET)
        network.bring_up()
        linux.unshare(
            linux.CLONE_NEWNS | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS | linux.CLONE_NEWCGROUP
        )
        mounts.mount_writable(
            disk_bytes=request["disk_bytes"],
            inodes=request["inodes"],
            owner=request["uid"],
            covered=self._covered,
        )
        mounts.mount_proc()
        linux.set_hostname("sandbox")
        if view_fds:
            handles = [views.view("/mnt/data", view_fds[0])]
            os.close(view_fds[0])
        elif request["read_only"]:
            handles = [views.twin("/mnt/data")]
        else:
            handles = [os.open("/mnt/data", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
        if request["read_only"]:
            mounts.forbid_writing()  # only now: the host's handles are mounts of their own
        handles += [
            os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            for name, _ in _BOX_NAMESPACES
        ]
        if self._has_egress:
            handles.append(egress.listen())
        socket.send_fds(host, [b'{"op": "built"}\n'], handles)
        for fd in handles:
            os.close(fd)

    def _rejoin(self, namespace_fds: list[int]) -> None:
        """Step into the namespaces of a box whose kernel died; its files are there."""
        for fd, (_, kind) in zip(namespace_fds, _BOX_NAMESPACES, strict=True):
            linux.setns(fd, kind)
            os.close(fd)
        linux.unshare(linux.CLONE_NEWCGROUP)
        os.chdir("/")
        linux.umount("/proc")
        mounts.mount_proc()

    def _lock(self, uid: int, *, read_only: bool) -> None:
        """Give everything up, in the only order that works."""
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")  # before anything of the machine's own
        rlimits.apply()
        identity.become_guest(uid, has_range=self._has_own_uids)
        identity.give_up_power()
        os.umask(0o022)
        os.chdir("/mnt/data")
        writable = landlock.DEVICES if read_only else landlock.WRITABLE
        landlock.restrict(self._landlock_abi, writable=writable)
        self._calls.apply()


def _out_of_the_way(control_fd: int) -> socket.socket:
    """Move our end of the control socket up: the numbers from 3 to 5 are the kernel's."""
    fd = fcntl.fcntl(control_fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_SPARE_FD)
    os.close(control_fd)
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=fd)


def arrange_descriptors(fds: list[int]) -> list[int]:
    """
    Put the five descriptors of the kernel at 1 to 5, the rest from 6, and close all others.

    fds: kernel socket, stdout and stderr write ends, their read ends, then any namespace handles.
    """
    spare = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_SPARE_FD) for fd in fds]
    nothing = fcntl.fcntl(
        os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), fcntl.F_DUPFD_CLOEXEC, _FIRST_SPARE_FD
    )
    os.closerange(3, _FIRST_SPARE_FD)
    kernel_socket, out, err, out_read, err_read, *rest = spare
    os.dup2(nothing, 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    for target, fd in enumerate((kernel_socket, out_read, err_read, *rest), start=3):
        os.dup2(fd, target, inheritable=False)
    first_free = 6 + len(rest)
    os.closerange(first_free, 65536)
    return list(range(6, first_free))


def _enter(door: int) -> None:
    """Move this process into the control group that `door` leads to."""
    os.write(door, b"0")
    os.close(door)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return list(fds)


def _reap(*_: object) -> None:
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def _ask(
    control: socket.socket, message: dict[str, Any], *, answer: bytes, fds: Sequence[int] = ()
) -> None:
    """Ask the host for something; without this very answer there is nothing to go on with."""
    socket.send_fds(control, [json.dumps(message).encode() + b"\n"], fds)
    if control.recv(16) != answer:
        os._exit(1)


def tell(control: socket.socket, message: dict[str, Any]) -> None:
    """Send a message to the host; without a host, end."""
    try:
        control.send(json.dumps(message).encode() + b"\n")
    except BrokenPipeError:
        os._exit(1)  # the host is gone, and with it whoever would want to know
