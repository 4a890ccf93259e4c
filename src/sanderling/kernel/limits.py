"""
What a container's tier means inside the kernel: bytes of data, threads of the number libraries.

Both come with `configure`, before the first cell: a pooled box does not know its tier yet.
"""

from __future__ import annotations

import os
import sys

from sanderling.kernel.border import Border, data_bytes

# Read by libraries when they load: in this process later, and in the processes it starts.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)


def limit_memory(border: Border, memory_bytes: int) -> None:
    """
    Let the process take `memory_bytes` beyond what it has now, then MemoryError.

    Raises:
        OSError, ValueError: it could not be set; the kernel must not run code.
    """
    border.limit_memory(data_bytes() + memory_bytes)


def limit_threads(cpu_count: int) -> None:
    """Have BLAS and OpenMP use `cpu_count` threads: one was all the zygote allowed them."""
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(cpu_count)
    # Only if a library has loaded it: where it is missing, so are the pools it would set.
    threadpoolctl = sys.modules.get("threadpoolctl")
    if threadpoolctl is not None and cpu_count > 1:
        threadpoolctl.threadpool_limits(limits=cpu_count)
