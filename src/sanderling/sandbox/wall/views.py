"""
The files of a box as the host sees them, where the host is a plain user and the box is not it.

A box with a subordinate uid owns its files, and a plain user may not touch what belongs to another
uid. So the host does not get /mnt/data itself but a second mount of it on which one uid is shown as
another: the box's as the host's user, both ways. What the host writes there belongs to the box.
Linux calls this an id-mapped mount; a tmpfs has been able to since 6.3.

The mapping is that of a user namespace, and a user namespace can only be made by a process that
then stays in it. A forked copy of the warm zygote would cost as much as a box, so a small process
is forked before anything is imported, and makes one namespace for each box.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
from typing import NoReturn

from sanderling.sandbox.wall import identity, linux


class Mapper:
    """A small process that makes user namespaces; dies with the zygote."""

    def __init__(self, control: socket.socket) -> None:
        """control: the zygote's, which the new process must not keep open."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            if os.fork() == 0:
                control.close()
                self._socket.close()
                _make_namespaces(theirs)

    def namespace(self, number: int) -> int:
        """
        Return a user namespace in which the zygote's own user is `number`.

        Raises:
            OSError: it could not be made.
        """
        self._socket.send(str(number).encode())
        message, fds, _, _ = socket.recv_fds(self._socket, 1024, 1)
        if not fds:
            raise OSError(
                f"no view of a box's files can be made: {message.decode() or 'no answer'}"
            )
        return fds[0]


def twin(folder: str) -> int:
    """Return a descriptor of the mounted `folder` that stays as it is when the mount is changed."""
    tree = linux.clone_tree(folder)
    try:
        return _opened(tree)
    finally:
        os.close(tree)


def view(folder: str, namespace_fd: int) -> int:
    """
    Return a descriptor of the mounted `folder` as the zygote's user sees its own files.

    Raises:
        OSError: this kernel cannot map this kind of file system (EINVAL).
    """
    tree = linux.clone_tree(folder)
    try:
        _map_ids(tree, namespace_fd)
        return _opened(tree)
    finally:
        os.close(tree)


def _opened(tree: int) -> int:
    # Of a detached mount only what was opened in it stays.
    return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)


def _map_ids(tree: int, namespace_fd: int) -> None:
    try:
        linux.map_ids(tree, namespace_fd)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # What mount_setattr(2) answers for a kind of file system that cannot be mapped.
        message = "this kernel cannot show a box's files as our own; Linux 6.3 and later can"
        raise OSError(errno.EINVAL, message) from error


def _make_namespaces(zygote: socket.socket) -> NoReturn:
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # its children are nobody's to wait for
    while number := zygote.recv(32):
        try:
            child = os.fork()
        except OSError as error:  # none now; the next may be possible again
            zygote.send(str(error).encode())
            continue
        if child == 0:
            _answer(zygote, int(number))
    os._exit(0)


def _answer(zygote: socket.socket, number: int) -> NoReturn:
    try:
        identity.enter_single_user_namespace(0, 0, seen_as=number)
        fd = os.open("/proc/self/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        socket.send_fds(zygote, [b"made"], [fd])
    except OSError as error:
        zygote.send(str(error).encode()[:1024])
    finally:
        os._exit(0)
