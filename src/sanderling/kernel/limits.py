"""
What a container's tier means inside the kernel: bytes of data, threads of the number libraries.

Both come with `configure`, before the first cell: a pooled box does not know its tier yet.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import Any

from sanderling.kernel.border import Border

PROCESSES_MAX = 256  # processes and threads; joblib and BLAS on 64 cores fit, a fork bomb does not

# Read by libraries when they load: in this process later, and in the processes it starts.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)


# Addresses that hold no memory yet: stacks of threads, 8 MiB each.
_EMPTY_ADDRESSES_BYTES = 256 << 20


class Memory:
    """The bound on what the process may take."""

    def __init__(self) -> None:
        self._kind, self._used = resource.RLIMIT_DATA, b"VmData:"
        self._room = 0

    def count_addresses(self) -> None:
        """
        From now on bound the address space: gVisor keeps RLIMIT_DATA and does not look at it.

        Coarser: addresses count that are not used, so there is some room beside the tier.
        """
        self._kind, self._used = resource.RLIMIT_AS, b"VmSize:"
        self._room = _EMPTY_ADDRESSES_BYTES

    def limit(self, border: Border, memory_bytes: int) -> None:
        """
        Let the process take `memory_bytes` beyond what it has now, then MemoryError.

        Raises:
            OSError, ValueError: it could not be set; the kernel must not run code.
        """
        # Not statm: gVisor has only two of its numbers.
        with open("/proc/self/status", "rb") as file:
            _, _, rest = file.read().partition(self._used)
        used = int(rest.split(None, 1)[0]) << 10
        border.limit_memory(self._kind, used + self._room + memory_bytes)


class ThreadPools:
    """The thread pools of the number libraries that are loaded."""

    def __init__(self) -> None:
        self._controller: Any = None

    def find(self) -> None:
        """Look for them: 10 ms, which the zygote spends once, so that no kernel has to."""
        # Only if a library has loaded it: where it is missing, so are the pools it would set.
        threadpoolctl: Any = sys.modules.get("threadpoolctl")
        if threadpoolctl is not None:
            self._controller = threadpoolctl.ThreadpoolController()

    def limit(self, cpu_count: int) -> None:
        """Have BLAS and OpenMP use `cpu_count` threads: one was all the zygote allowed them."""
        for name in _THREAD_VARIABLES:
            os.environ[name] = str(cpu_count)
        if cpu_count == 1:
            return
        if self._controller is None:
            self.find()
        if self._controller is not None:
            self._controller.limit(limits=cpu_count)


MEMORY = Memory()
THREAD_POOLS = ThreadPools()
