"""A kernel from its first message to its last."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from sanderling.kernel import main, protocol
from tests.doubles.kernel_process import NONCE, KernelDied, KernelProcess

OK = ("done", "ok")


def test_a_kernel_says_that_it_is_ready_and_what_it_is(kernel: KernelProcess) -> None:
    assert kernel.ready["pid"] == kernel.process.pid
    assert kernel.run("import platform; platform.python_version()") == [
        ("result", repr(kernel.ready["python"])),
        OK,
    ]
    assert kernel.early == []


def test_a_kernel_ends_in_peace_when_the_host_closes_the_socket(doomed: KernelProcess) -> None:
    doomed.run("import atexit, threading\nthreading.Thread(target=threading.Event().wait).start()")

    assert doomed.close() == 0


def test_a_kernel_whose_host_went_away_in_mid_cell_ends(doomed: KernelProcess) -> None:
    doomed.start("while True: print('x' * 1000)")

    assert doomed.close() == 0


@pytest.mark.parametrize(
    "message",
    [
        b"nonsense",
        b'{"op":"done"}\n',
        b'{"op":"execute","cell":"1","nonce":"' + NONCE.format(1).encode() + b'"}\n1',
        b'{"op":"execute","cell":1}\n1',
        b'{"op":"configure","memory_bytes":-1,"cpu_count":null,"proxy":null}\n',
    ],
)
def test_a_host_that_breaks_the_protocol_has_no_kernel(
    doomed: KernelProcess, message: bytes
) -> None:
    doomed.send_raw(message)

    assert doomed.wait_ended() == 1


def test_each_message_of_a_cell_carries_its_nonce(kernel: KernelProcess) -> None:
    # The double asserts it for every message that it takes.
    for _ in range(3):
        shown = kernel.run("print('out'); display(1); 1/0")
        assert [p[0] for p in shown] == ["stdout", "result", "error", "done"]


def test_limits_can_be_left_open(kernel: KernelProcess) -> None:
    kernel.configure(memory_bytes=None, cpu_count=None)

    assert kernel.run("1") == [("result", "1"), OK]


def test_a_memory_limit_is_in_force_while_cells_run(kernel: KernelProcess) -> None:
    kernel.configure(memory_bytes=50 << 20)

    assert kernel.run("x = bytearray(60 << 20)")[0][1] == "MemoryError"
    assert kernel.run("x = bytearray(30 << 20); len(x)") == [("result", str(30 << 20)), OK]


def test_the_number_of_processors_reaches_libraries_loaded_later(kernel: KernelProcess) -> None:
    kernel.configure(cpu_count=3)

    assert kernel.run("import os; os.environ['OMP_NUM_THREADS'], os.environ['LOKY_MAX_CPU_COUNT']")[
        0
    ] == ("result", "('3', '3')")


@pytest.mark.parametrize("preload", [(), ("numpy", "sklearn.linear_model")])
def test_the_number_of_processors_reaches_libraries_that_are_loaded(
    guest_python: Path, tmp_path: Path, preload: tuple[str, ...]
) -> None:
    with KernelProcess(guest_python, tmp_path, preload=preload) as kernel:
        kernel.run("import numpy, sklearn.linear_model, threadpoolctl")
        kernel.configure(cpu_count=2)
        shown = kernel.run("sorted({p['num_threads'] for p in threadpoolctl.threadpool_info()})")

    assert shown == [("result", "[2]"), OK]


def test_a_proxy_is_what_http_libraries_and_programs_go_through(kernel: KernelProcess) -> None:
    kernel.configure(proxy="http://127.0.0.1:3128")

    shown = kernel.run(
        "import os, urllib.request\n"
        "assert urllib.request.proxy_bypass('localhost')\n"
        "print(urllib.request.getproxies()['https'])\n"
        "!echo $http_proxy $HTTPS_PROXY"
    )

    url = "http://127.0.0.1:3128"
    assert shown == [("stdout", f"{url}\n{url} {url}\n"), OK]


def test_without_a_proxy_no_variable_names_one(kernel: KernelProcess) -> None:
    kernel.configure()

    assert kernel.run("import os; [n for n in os.environ if 'proxy' in n.lower()]") == [
        ("result", "[]"),
        OK,
    ]


def test_a_value_too_long_for_the_protocol_is_cut(kernel: KernelProcess) -> None:
    shown = kernel.run("'€' * 8_000_000")

    assert shown[-1] == OK
    assert len(shown[0][1].encode()) <= protocol.VALUE_BYTES_MAX
    assert shown[0][1].endswith("[… cut: 24,000,002 bytes in all …]")


def test_a_long_value_arrives_whole(kernel: KernelProcess) -> None:
    assert kernel.run("'x' * 10_000_000") == [("result", repr("x" * 10_000_000)), OK]


def test_random_numbers_are_new_after_a_fork() -> None:
    random.seed(1)
    main.reseed()
    first = random.random()
    random.seed(1)
    main.reseed()

    assert random.random() != first


def test_numpys_global_numbers_and_keys_are_new_as_well(science: KernelProcess) -> None:
    code = (
        "import multiprocessing, numpy, random\n"
        "from sanderling.kernel import main\n"
        "seen = set()\n"
        "for _ in range(2):\n"
        "    numpy.random.seed(1); random.seed(1); main.reseed()\n"
        "    seen.update((numpy.random.rand(), random.random(),"
        " bytes(multiprocessing.current_process().authkey)))\n"
        "len(seen)"
    )

    assert science.run(code) == [("result", "6"), OK]


def test_what_openssl_draws_is_new_in_a_child_of_the_same_number() -> None:
    # Each child is the first process of a pid namespace, as its parent is.
    code = (
        "import os, ssl\n"
        "from sanderling.kernel import main\n"
        "from sanderling.sandbox.wall import identity, linux\n"
        "def fork():\n"
        "    linux.unshare(linux.CLONE_NEWPID)\n"
        "    return linux.fork()\n"
        "identity.enter_single_user_namespace(os.geteuid(), os.getegid())\n"
        "if fork():\n"
        "    os.wait(); os._exit(0)\n"
        "ssl.RAND_bytes(1)\n"
        "own = os.open('/proc/thread-self/ns/pid_for_children', os.O_RDONLY)\n"
        "for _ in range(2):\n"
        "    if fork() == 0:\n"
        "        main.reseed()\n"
        "        print(os.getpid(), ssl.RAND_bytes(8).hex(), flush=True); os._exit(0)\n"
        "    os.wait(); linux.setns(own, linux.CLONE_NEWPID)\n"
    )
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    first, second = (line.split() for line in said.splitlines())

    assert (first[0], second[0]) == ("1", "1")
    assert first[1] != second[1]


def test_a_kernel_that_dies_in_a_cell_is_noticed(doomed: KernelProcess) -> None:
    with pytest.raises(KernelDied):
        doomed.run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
