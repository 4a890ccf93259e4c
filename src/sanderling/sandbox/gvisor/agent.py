"""
The agent: warms one Python behind gVisor, checkpoints it, and has runsc restore it for every box.

What the zygote is to forked boxes, this is to gVisor's. It is started by the host, enters the same
namespaces, stands in the same small read-only root and is itself pid 1 of a pid namespace: when it
dies, every box dies with it. As seen from the machine nothing here runs as root: runsc gets the
root of a user namespace whose uids belong to nobody. No user code ever runs in it.

    main        namespaces → root file system → template: warm, checkpoint → wait for requests
    per box     fork → namespaces → files → wait for the control group → runsc restore → kernel

The child that is forked for a box is pid 1 of a pid namespace around all processes of that box
(runsc's sandbox, its gofer, whatever the platform starts): it passes a SIGINT on to the kernel, and
its end is theirs. Requests and answers are the zygote's (docs/protocol.md, §2).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from sanderling.sandbox.gvisor import bundle, guest
from sanderling.sandbox.wall import identity, linux, mounts
from sanderling.sandbox.wall.zygote import (
    Plan,
    arrange_descriptors,
    become_init,
    enter_namespaces,
    serve_requests,
    tell,
)

# The first that works is used. systrap is gVisor's own choice since 2023, ptrace what was before.
# Not kvm: /dev/kvm in reach of the sandbox is more of the machine than it takes away.
PLATFORMS = ("systrap", "ptrace")
GREETING_DEADLINE_S = 15.0  # an interpreter starts behind gVisor in 0.3 s
WARM_DEADLINE_S = 90.0  # importing everything takes 6 s behind gVisor
CHECKPOINT_DEADLINE_S = 30.0

_IMAGE, _BUNDLE, _STATE, _PLACE = "/run/image", "/run/bundle", "/run/state", bundle.PLACE
_OF_GVISOR = ("dev", "proc", "run", "tmp")  # top folders of which the box has gVisor's, or its own
_TEMPLATE, _BOX = "template", "box"
_SOURCE_CHUNK_BYTES = 60_000
_ERROR_CHARS_MAX = 2000
_NAMESPACES = (
    ("mnt", linux.CLONE_NEWNS),
    ("net", linux.CLONE_NEWNET),
    ("ipc", linux.CLONE_NEWIPC),
    ("uts", linux.CLONE_NEWUTS),
)


def main(control_fd: int, plan_json: str, python: str, runsc: str) -> NoReturn:
    """
    Make the checkpoint, then serve requests until the control socket closes.

    python: the guest's interpreter. runsc: gVisor's program. Both are below what the plan shows.
    """
    plan = Plan(**json.loads(plan_json))
    control = socket.socket(fileno=control_fd)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    sources = _sources()
    try:
        covered = enter_namespaces(plan, control)
    except OSError as error:
        tell(control, {"error": str(error), "errno": error.errno})
        os._exit(1)
    become_init(control)
    agent = _Agent(plan, python, runsc, covered)
    try:
        agent.build()
        facts = agent.warm_up(sources)
    except Exception as error:  # noqa: BLE001 - the process boundary: the host must learn why
        tell(control, {"error": str(error) or type(error).__name__, "errno": None})
        os._exit(1)
    tell(control, facts)
    serve_requests(control, agent.enter_box)


class _Agent:
    """What the boxes of one agent have in common."""

    def __init__(self, plan: Plan, python: str, runsc: str, covered: Mapping[str, str]) -> None:
        self._plan = plan
        self._python = python
        self._runsc = runsc
        self._covered = covered
        self._platform = ""

    def build(self) -> None:
        """Lay out the folders that runsc works with."""
        _mount_proc()
        pieces = {
            name: linux.clone_tree(f"/{name}")
            for name in os.listdir("/")
            if name not in _OF_GVISOR and not os.path.islink(f"/{name}")
        }
        linux.mount("tmpfs", "/run", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755")
        for folder in (bundle.ROOT, _IMAGE, _BUNDLE, _STATE, _PLACE):
            os.mkdir(folder)
        _lay_root(pieces)
        # Where runsc makes the sandbox's own empty root.
        linux.mount("tmpfs", "/tmp", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=1m")  # noqa: S108
        mounts.seal_root()
        with open(f"{_BUNDLE}/config.json", "w") as file:
            json.dump(bundle.config(self._python, self._covered), file)

    def warm_up(self, sources: Mapping[str, str]) -> dict[str, Any]:
        """
        Make the checkpoint on the first platform that works; return what the host is told.

        Raises:
            RuntimeError: none works; says why of each.
        """
        _make_place({"size": "256m"}, self._covered)
        reasons: list[str] = []
        for platform in PLATFORMS:
            self._platform = platform
            try:
                facts = self._checkpoint(sources)
            except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
                reasons.append(f"{platform}: {error}")
                continue
            linux.umount(_PLACE)
            version = self._ask("--version").split()
            return {**facts, "platform": platform, "runsc": version[2]}
        raise RuntimeError(f"runsc runs nothing here ({'; '.join(reasons)})")

    def _checkpoint(self, sources: Mapping[str, str]) -> dict[str, Any]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        (out, out_write), (err, err_write) = os.pipe(), os.pipe()
        os.set_blocking(err, False)
        command = self._command(_STATE, "run", f"--bundle={_BUNDLE}", _TEMPLATE)
        template = subprocess.Popen(
            command, stdin=theirs.fileno(), stdout=out_write, stderr=err_write
        )
        theirs.close()
        for fd in (out_write, err_write):
            os.close(fd)
        try:
            with ours:
                ours.settimeout(GREETING_DEADLINE_S)
                _send_sources(ours, sources)
                plan: dict[str, Any] = {
                    "path": self._plan.path,
                    "mpl_config": self._plan.mpl_config,
                }
                plan |= {"preload": self._plan.preload, "required": list(self._plan.required)}
                ours.send(json.dumps(plan).encode())
                ours.settimeout(WARM_DEADLINE_S)
                facts = _answer(ours)
                self._ask("checkpoint", f"--image-path={_IMAGE}", _TEMPLATE)
        except OSError as error:
            raise RuntimeError(_read_all(err) or str(error)) from error
        finally:
            template.kill()
            template.wait()
            with contextlib.suppress(subprocess.SubprocessError):
                self._ask("delete", "--force", _TEMPLATE)
            for fd in (out, err):
                os.close(fd)
        return facts

    def _ask(self, *arguments: str) -> str:
        """Run runsc to its end; return what it says. Raises SubprocessError."""
        done = subprocess.run(
            self._command(_STATE, *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CHECKPOINT_DEADLINE_S,
            check=False,
        )
        if done.returncode != 0:
            said = " ".join(done.stderr.split())[:_ERROR_CHARS_MAX]
            raise subprocess.SubprocessError(f"runsc {arguments[0]}: {said}")
        return done.stdout

    def _command(self, state: str, *arguments: str) -> list[str]:
        return [
            self._runsc,
            f"--root={state}",
            f"--platform={self._platform}",
            "--network=none",
            "--ignore-cgroups",  # the host has put us into one
            "--overlay2=none",  # what is written must reach the host, and count there
            "--host-uds=none",
            "--host-fifo=none",
            *arguments,
        ]

    def enter_box(self, request: dict[str, Any], fds: list[int]) -> NoReturn:
        """Build the place of a box around this process, have it restored, stay until it ends."""
        try:
            for number in (signal.SIGCHLD, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            # Waited for by `sigwait`, never delivered.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGINT})
            os.setsid()
            namespace_fds = arrange_descriptors(fds)
            host = socket.socket(fileno=os.dup(3))
            try:
                if namespace_fds:
                    _rejoin(namespace_fds)
                else:
                    _make_box(request, self._covered, host)
                with open("/proc/self/oom_score_adj", "w") as file:
                    file.write("500")
                # `enter`: the control group is around us.
                _, [interrupts], _, _ = socket.recv_fds(host, guest.MESSAGE_BYTES_MAX, 1)
                sandbox = self._restore(_new_state())
            except Exception as error:  # noqa: BLE001 - the box boundary: the host must learn why
                tell(host, {"op": "failed", "message": str(error) or type(error).__name__})
                os._exit(1)
            host.close()
            interrupts = _keep_only(interrupts)
            _stay(sandbox, interrupts)
        finally:
            os._exit(1)

    def _restore(self, state: str) -> int:
        """Have runsc restore the checkpoint here; return the sandbox's pid. Raises RuntimeError."""
        arguments = (f"--image-path={_IMAGE}", f"--bundle={_BUNDLE}", f"--pid-file={state}/pid")
        command = self._command(state, "restore", "--detach", *arguments, _BOX)
        actions = [(os.POSIX_SPAWN_DUP2, 3, 0)]
        pid = os.posix_spawn(command[0], command, {}, file_actions=actions, setsigmask=[])
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
            raise RuntimeError(f"runsc restore: {_read_all(5)}")
        with open(f"{state}/pid") as file:
            return int(file.read())


# ---- folders -----------------------------------------------------------------------------------


def _lay_root(pieces: Mapping[str, int]) -> None:
    """
    Build the root that gVisor's file server shows: ours, but for what gVisor has of its own.

    A tmpfs of this user namespace: the flags of mounts from outside are locked, and runsc, which
    sets its own on the root, would be refused.
    """
    linux.mount("tmpfs", bundle.ROOT, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=1m,mode=755")
    for name in os.listdir("/"):
        target = f"{bundle.ROOT}/{name}"
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), target)
        else:
            os.mkdir(target)
    for name, tree in pieces.items():
        linux.attach_mount(tree, f"{bundle.ROOT}/{name}")
        os.close(tree)


# ---- the template ------------------------------------------------------------------------------


def _sources() -> dict[str, str]:
    """Return the source of every module of ours that is loaded here, which is all a guest needs."""
    sources: dict[str, str] = {}
    for name, module in sorted(sys.modules.items()):
        if name.split(".", 1)[0] == "sanderling":
            loader: Any = module.__loader__
            sources[name] = loader.get_source(name) or ""
    return sources


def _send_sources(host: socket.socket, sources: Mapping[str, str]) -> None:
    data = json.dumps(sources).encode()
    starts = range(0, len(data), _SOURCE_CHUNK_BYTES)
    host.send(str(len(starts)).encode())
    for start in starts:
        host.send(data[start : start + _SOURCE_CHUNK_BYTES])


def _answer(host: socket.socket) -> dict[str, Any]:
    """Wait for the template's one message. Raises OSError (it ended), RuntimeError (its reason)."""
    message = host.recv(guest.MESSAGE_BYTES_MAX)
    if not message:
        raise ConnectionError("the template ended without a word")
    facts: dict[str, Any] = json.loads(message)
    if "error" in facts:
        raise RuntimeError(facts["error"])
    return facts


# ---- a box -------------------------------------------------------------------------------------


def _make_box(request: dict[str, Any], covered: Mapping[str, str], host: socket.socket) -> None:
    """Namespaces and files of a new box; its handles go to the host."""
    linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWNET | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS)
    _mount_proc()
    quota = {"size": str(request["disk_bytes"]), "nr_inodes": str(request["inodes"])}
    _make_place(quota, covered)
    linux.mount("tmpfs", _STATE, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=1m,mode=700")
    handles = [os.open(f"{_PLACE}/data", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
    handles += [
        os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name, _ in _NAMESPACES
    ]
    socket.send_fds(host, [b'{"op": "built"}\n'], handles)
    for fd in handles:
        os.close(fd)


def _rejoin(namespace_fds: Sequence[int]) -> None:
    """Step into the namespaces of a box that died; its files are there."""
    for fd, (_, kind) in zip(namespace_fds, _NAMESPACES, strict=True):
        linux.setns(fd, kind)
        os.close(fd)
    os.chdir("/")
    linux.umount("/proc")
    _mount_proc()


def _make_place(quota: Mapping[str, str], covered: Mapping[str, str]) -> None:
    """Mount one tmpfs with this quota and in it the writable folders of a box."""
    attributes = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV
    tmpfs = linux.new_tmpfs({**quota, "mode": "711"}, attributes)
    linux.attach_mount(tmpfs, _PLACE)
    os.close(tmpfs)
    for name, mode in (("data", 0o755), ("tmp", 0o1777), ("home", 0o700)):
        os.mkdir(f"{_PLACE}/{name}")
        os.chmod(f"{_PLACE}/{name}", mode)
        os.chown(f"{_PLACE}/{name}", identity.GUEST_UID, identity.GUEST_UID)
    for path in covered:
        for name, target in bundle.WRITABLE.items():
            if path.startswith(target + "/"):
                os.makedirs(f"{_PLACE}/{name}/{path.removeprefix(target + '/')}")


def _new_state() -> str:
    """Return a fresh folder for runsc's records of this box: those of a dead one would be found."""
    folder = f"{_STATE}/{time.monotonic_ns()}"
    os.mkdir(folder)
    return folder


def _keep_only(fd: int) -> int:
    """
    Let go of every other descriptor; return where this one is now.

    The socket and the pipes are the sandbox's alone now: their end must be seen by the host.
    """
    nothing = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.dup2(fd, 3, inheritable=False)
    os.closerange(4, 65536)
    return 3


def _stay(sandbox: int, interrupts: int) -> NoReturn:
    """Pass on every SIGINT; end with the sandbox."""
    while True:
        if signal.sigwait({signal.SIGCHLD, signal.SIGINT}) == signal.SIGINT:
            with contextlib.suppress(BlockingIOError):  # so many that one more makes no difference
                os.write(interrupts, b"i")
        elif sandbox in _dead_children():
            os._exit(0)


def _dead_children() -> Iterator[int]:
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            yield pid


def _mount_proc() -> None:
    linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)


def _read_all(fd: int) -> str:
    """What runsc left in a non-blocking pipe, as one line."""
    try:
        data = os.read(fd, _ERROR_CHARS_MAX)
    except BlockingIOError:
        return ""
    return " ".join(data.decode("utf-8", "replace").split())
