"""What a probe is, and the words its code may use."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field

TOOLS = r"""
import ctypes, errno, os, platform, resource, signal, socket, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    'Make a system call; return ok or the name of the error.'
    converted = [ctypes.c_char_p(a) if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments]
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *converted)
    return 'ok' if result >= 0 else errno.errorcode[ctypes.get_errno()]
def attempt(function, *arguments):
    'Call; return ok or the name of the error.'
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, type(error).__name__)
    except BaseException as error:
        return type(error).__name__
    return 'ok'
def listing(folder):
    'Names in a folder, without those that lead to the environment this Python runs in.'
    if attempt(os.listdir, folder) != 'ok': return []
    roots = {sys.prefix, sys.base_prefix, os.path.realpath(sys.executable), os.__file__, *sys.path}
    below = [os.path.relpath(r, folder).split('/')[0] for r in roots if r]
    return sorted(set(os.listdir(folder)) - set(below))
def report(*answers):
    print(' '.join(map(str, answers)))
"""

X86_ONLY = "x86_64"


@dataclass(frozen=True)
class Probe:
    """A promise, the cell that tries to break it, and what that cell must print."""

    promise: str
    code: str
    pattern: str
    machine: str = ""  # system call numbers in `code` are this machine's
    # Another isolation level may keep the promise by another answer: its name, its pattern.
    elsewhere: Mapping[str, str] = field(default_factory=dict)

    @property
    def applies(self) -> bool:
        return self.machine in {"", platform.machine()}

    def expected(self, isolation: str = "zygote") -> str:
        """Return the pattern that the whole answer must match at this isolation level."""
        return self.elsewhere.get(isolation, self.pattern)
