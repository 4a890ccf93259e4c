from __future__ import annotations

import pytest

from tests.doubles.kernel_process import KernelProcess


@pytest.mark.parametrize(
    "task", ["map(f, [1])", "apply(f, (1,))", "starmap(f, [(1,)])", "imap(f, [1])"]
)
def test_a_pool_of_spawned_processes_refuses_what_only_a_cell_knows(
    kernel: KernelProcess, task: str
) -> None:
    kernel.run("import multiprocessing\ndef f(n): return n")

    shown = kernel.run(
        f"with multiprocessing.get_context('spawn').Pool(1) as pool: print(list(pool.{task}))"
    )

    [error] = [piece for piece in shown if piece[0] == "error"]
    assert error[1] == "RuntimeError"
    assert "'spawn' does not know `f`" in error[2]


def test_pools_of_forked_processes_and_of_threads_take_it(kernel: KernelProcess) -> None:
    kernel.run("import multiprocessing\nfrom multiprocessing.pool import ThreadPool")
    kernel.run("def f(n): return n * 2")

    for pool in ("multiprocessing.Pool(1)", "ThreadPool(1)"):
        shown = kernel.run(f"with {pool} as pool: print(pool.map(f, [1, 2]))")
        assert shown[0] == ("stdout", "[2, 4]\n")
