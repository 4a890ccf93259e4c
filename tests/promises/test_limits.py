"""
What becomes of code that does not end well, seen by a client of the executions endpoint.

Whatever the code does, or is done to the processes around it, the container answers the next
execution, its files are kept, and the output says in a sentence what happened.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from sanderling.environments.environment import Environment
from sanderling.sandbox import cgroup
from tests.cli.live import LiveServer, serving

pytestmark = pytest.mark.sandbox

# Small, so that a box's group, which holds its files too, is full soon.
DISK = "64m"
LOGS_MAX = 1 << 20
VARIABLES_GONE = "variables are gone"
STARTED_ANEW = "variables and imports of earlier calls are gone"
# It goes on whatever SIGINT does.
STUBBORN = """\
def wait():
    while True:
        try:
            while True:
                pass
        except KeyboardInterrupt:
            pass
"""
# Fills memory, page by page, in processes of its own, and then perhaps here.
MANY = """\
import os
def fill(megabytes):
    filled = bytearray(megabytes << 20)
    for page in range(0, len(filled), 4096):
        filled[page] = 1
    return filled
children = []
for _ in range({count}):
    if (child := os.fork()) == 0:
        kept = fill({megabytes})
        os.kill(os.getpid(), 19)  # SIGSTOP: keep what is filled
    children.append(child)
ended = [os.waitpid(-1, os.WUNTRACED)[1] for _ in children]
{then}
for child in children:
    try:
        os.kill(child, 9)
    except ProcessLookupError:
        pass
print('killed by the machine:', any(os.WIFSIGNALED(status) for status in ended))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("limits") / "data"


@pytest.fixture(scope="module")
def server(data: Path, guest_env: Environment) -> Iterator[LiveServer]:
    with serving(data, "--env", str(guest_env.path), "--box-disk-bytes", DISK) as live:
        yield live


@contextlib.contextmanager
def client_of(server: LiveServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.url, api_key="none", max_retries=0, timeout=60.0) as client:
        yield client


class Workplace:
    """A container, and what tests do in it."""

    def __init__(self, client: OpenAI, container_id: str | None = None) -> None:
        self.client = client
        self.id = container_id or client.containers.create(name="limits").id
        self.path = f"/containers/{self.id}/executions"

    def run(self, code: str, **body: Any) -> Any:
        return self.client.post(self.path, body={"code": code, **body}, cast_to=object)

    def begin(self, code: str, **body: Any) -> Running:
        return Running(self, code, body)

    def cancel(self, execution_id: str) -> Any:
        return self.client.post(f"{self.path}/{execution_id}/cancel", cast_to=object)

    def upload(self, name: str) -> None:
        self.client.containers.files.create(self.id, file=(name, b""))

    def remember(self) -> None:
        """Leave a variable and a file to be found, or not, afterwards."""
        assert self.run("x = 41\n_ = open('kept.txt', 'w').write('kept')")["status"] == "ok"

    def remembers(self) -> bool:
        """Say whether the variable is there still; the file has to be."""
        found = self.run("print(open('/mnt/data/kept.txt').read())\n'x' in globals()")
        assert found["status"] == "ok", found
        assert told_by(found, "stdout") == "kept\n"
        return bool(found["outputs"][-1] == {"type": "result", "text": "True"})


class Running:
    """An execution that goes on: its events, and its id."""

    def __init__(self, workplace: Workplace, code: str, body: dict[str, Any]) -> None:
        self.events: Iterator[Any] = iter(
            workplace.client.post(
                workplace.path,
                body={"code": code, "stream": True, **body},
                cast_to=object,
                stream=True,
                stream_cls=openai.Stream[object],
            )
        )
        self.id: str = next(self.events)["execution"]["id"]

    def saw(self, text: str) -> None:
        """Wait until the code has printed `text`."""
        event = next(self.events)
        assert event["type"] == "container.execution.output", event
        assert text in event["output"]["logs"]

    def result(self) -> Any:
        """Wait for its end."""
        *_, last = self.events
        assert last["type"] == "container.execution.completed", last
        return last["execution"]


def told_by(execution: Any, stream: str | None = None) -> str:
    """Return the logs of an execution, of one stream or of both."""
    return "".join(
        output["logs"]
        for output in execution["outputs"]
        if output["type"] == "logs" and stream in (None, output["stream"])
    )


@pytest.fixture
def workplace(server: LiveServer) -> Iterator[Workplace]:
    with client_of(server) as client:
        made = Workplace(client)
        yield made
        client.containers.delete(made.id)


# ---- time --------------------------------------------------------------------------------------


def test_code_that_takes_too_long_is_stopped_and_its_variables_stay(workplace: Workplace):
    workplace.remember()

    execution = workplace.run("print('before')\nwhile True:\n    pass", timeout_seconds=1)

    assert execution["status"] == "timed_out"
    assert told_by(execution, "stdout") == "before\n"
    assert "longer than 1 s" in told_by(execution, "stderr")
    assert VARIABLES_GONE not in told_by(execution)
    assert any(o.get("name") == "KeyboardInterrupt" for o in execution["outputs"])
    assert workplace.remembers()


def test_code_that_will_not_stop_is_killed_and_its_files_stay(workplace: Workplace):
    workplace.remember()
    make = "_ = open('made.txt', 'w').write('made')\n"

    execution = workplace.run(STUBBORN + make + "wait()", timeout_seconds=1)

    assert execution["status"] == "timed_out"
    assert "longer than 1 s" in told_by(execution, "stderr")
    assert VARIABLES_GONE in told_by(execution, "stderr")
    assert [file["path"] for file in execution["files"]] == ["/mnt/data/made.txt"]
    assert not workplace.remembers()
    assert workplace.run("open('made.txt').read()")["outputs"] == [
        {"type": "result", "text": "'made'"}
    ]


def test_sleeping_code_is_stopped_too(workplace: Workplace):
    workplace.remember()

    execution = workplace.run("import time\ntime.sleep(1000)", timeout_seconds=0.5)

    assert execution["status"] == "timed_out"
    assert workplace.remembers()


def test_time_in_the_queue_is_not_the_codes_own(workplace: Workplace):
    workplace.run("import os, time")
    first = workplace.begin(
        "print('in', flush=True)\nwhile not os.path.exists('go'):\n    time.sleep(0.01)"
    )
    first.saw("in")
    second = workplace.begin("'done'", timeout_seconds=0.2)
    timed_out = workplace.begin("while True: pass", timeout_seconds=0.2)
    workplace.upload("go")

    assert first.result()["status"] == "ok"
    assert second.result()["status"] == "ok"
    assert timed_out.result()["status"] == "timed_out"


# ---- memory ------------------------------------------------------------------------------------


def test_too_large_an_object_is_a_memory_error(workplace: Workplace):
    workplace.remember()

    execution = workplace.run("large = bytearray(3 << 30)")

    assert execution["status"] == "error"
    assert execution["outputs"][-1]["name"] == "MemoryError"
    assert execution["outputs"][-1]["traceback"].endswith(
        "MemoryError\nA process can have at most 1 GiB of memory.\n"
    )
    assert workplace.remembers()


@pytest.fixture
def groups() -> None:
    """Skip where nothing can hold several processes together."""
    needs_controller("memory")


def test_processes_that_need_too_much_together_are_stopped(workplace: Workplace, groups: None):
    workplace.remember()

    execution = workplace.run(MANY.format(count=4, megabytes=400, then=""))

    told = told_by(execution, "stderr")
    if execution["status"] == "ok":  # the machine chose a child, not the whole box
        assert "killed by the machine: True" in told_by(execution, "stdout")
        assert "A process needed more than the 1 GiB of memory" in told
        assert workplace.remembers()
    else:
        assert execution["status"] == "out_of_memory"
        assert "needed more than its 1 GiB of memory" in told
        assert VARIABLES_GONE in told
        assert not workplace.remembers()


def test_kernel_that_is_killed_for_memory_is_out_of_memory(workplace: Workplace, groups: None):
    workplace.remember()

    execution = workplace.run(MANY.format(count=3, megabytes=150, then="kept = fill(900)"))

    assert execution["status"] == "out_of_memory"
    assert "needed more than its 1 GiB of memory" in told_by(execution, "stderr")
    assert VARIABLES_GONE in told_by(execution, "stderr")
    assert not workplace.remembers()


# ---- how many, how large -----------------------------------------------------------------------

FILES = "Files can take at most 64 MiB and be 100,000 in number"
PROCESSES = "There can be at most 256 processes and threads at a time."
STARTS_PROCESSES = """\
import os
def meets_limit():
    while True: os.posix_spawn('/bin/sleep', ['sleep', '100'], {})
"""
STARTS_THREADS = """\
import resource, threading
threading.stack_size(65536)
def meets_limit():
    while True: threading.Thread(target=threading.Event().wait, daemon=True).start()
"""
WRITES = """\
def meets_limit():
    with open('/dev/shm/large', 'wb', buffering=0) as file:
        while True: file.write(bytes(1 << 20))
"""
MAKES_FOLDERS = """\
import os
def meets_limit():
    for number in range(200_000): os.mkdir(f'/tmp/{number}')
"""
LOOKS_AWAY = """
try: meets_limit()
except (OSError, RuntimeError): pass
"""
# What one process may have: the exception says it, and more than that only its traceback can.
OWN = {
    "open_files": (
        "kept = [open('/dev/null') for _ in range(2000)]",
        "A process can have at most 1,024 files open at a time.",
    ),
    "largest_file": (
        "with open('large', 'wb') as file: file.truncate(1 << 50)",
        "A file can have at most 8 GiB.",
    ),
}
# What all have together: it is said whether or not the code looked away.
TOGETHER = {
    "processes": (STARTS_PROCESSES, PROCESSES),
    "threads": (STARTS_THREADS, PROCESSES),
    "disk": (WRITES, FILES),
    "inodes": (MAKES_FOLDERS, FILES),
}


@pytest.mark.parametrize(("code", "sentence"), OWN.values(), ids=OWN)
def test_a_limit_of_one_process_is_explained(workplace: Workplace, code: str, sentence: str):
    workplace.remember()

    execution = workplace.run(code)

    assert execution["status"] == "error"
    assert execution["outputs"][-1]["traceback"].endswith(f"\n{sentence}\n")
    assert sentence not in told_by(execution)
    assert workplace.remembers()


@pytest.mark.parametrize("is_caught", [True, False], ids=["caught", "uncaught"])
@pytest.mark.parametrize(("code", "sentence"), TOGETHER.values(), ids=TOGETHER)
def test_a_limit_of_the_box_is_told_once(
    workplace: Workplace, code: str, sentence: str, is_caught: bool
):
    if sentence == PROCESSES and is_caught:
        needs_controller("pids")

    execution = workplace.run(code + (LOOKS_AWAY if is_caught else "meets_limit()"))

    told = told_by(execution, "stderr")
    traceback = "".join(o["traceback"] for o in execution["outputs"] if o["type"] == "error")
    assert execution["status"] == ("ok" if is_caught else "error")
    assert [sentence in told, sentence in traceback] == [is_caught, not is_caught]
    assert workplace.run("6 * 7")["status"] == "ok"


def needs_controller(name: str) -> None:
    found = cgroup.find(cgroup.host_folder())
    found.close()
    if name in found.missing:
        pytest.skip(f"this machine has no {name} controller for us")


# ---- deaths ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "die",
    ["import os\nos._exit(3)", "import ctypes\nctypes.string_at(0)"],
    ids=["os._exit", "segfault"],
)
def test_process_that_ends_itself_is_replaced(workplace: Workplace, die: str):
    workplace.remember()

    execution = workplace.run("print('last words', flush=True)\n" + die)

    assert execution["status"] == "died"
    assert told_by(execution, "stdout") == "last words\n"
    assert VARIABLES_GONE in told_by(execution, "stderr")
    assert not workplace.remembers()


def test_process_that_ends_between_two_executions_is_replaced(workplace: Workplace):
    workplace.remember()
    workplace.run(
        "import os, threading\n"
        "def end():\n"
        "    while not os.path.exists('/mnt/data/go'):\n"
        "        pass\n"
        "    os._exit(0)\n"
        "threading.Thread(target=end, daemon=True).start()"
    )
    workplace.upload("go")

    # The thread may need a moment, so the first of these may still meet the old process.
    notices = ""
    while VARIABLES_GONE not in notices:
        notices = told_by(workplace.run("pass"), "stderr")

    assert not workplace.remembers()


# ---- stopping it -------------------------------------------------------------------------------


def test_running_code_is_cancelled_and_its_variables_stay(workplace: Workplace):
    workplace.remember()
    running = workplace.begin("print('in', flush=True)\nwhile True:\n    pass")
    running.saw("in")

    cancelled = workplace.cancel(running.id)

    assert cancelled["status"] == "interrupted"
    assert running.result() == cancelled
    assert workplace.remembers()


def test_code_that_will_not_be_cancelled_is_killed(workplace: Workplace):
    workplace.remember()
    running = workplace.begin(STUBBORN + "print('in', flush=True)\nwait()")
    running.saw("in")

    cancelled = workplace.cancel(running.id)

    assert cancelled["status"] == "interrupted"
    assert VARIABLES_GONE in told_by(cancelled, "stderr")
    assert not workplace.remembers()


def test_what_is_over_cannot_be_cancelled(workplace: Workplace):
    execution = workplace.run("1")

    with pytest.raises(openai.NotFoundError) as caught:
        workplace.cancel(execution["id"])
    assert caught.value.param == "execution_id"


def test_executions_of_a_container_run_one_after_the_other(workplace: Workplace):
    first = workplace.begin(
        "import os, time\n"
        "print('in', flush=True)\n"
        "while not os.path.exists('go'):\n"
        "    time.sleep(0.01)\n"
        "order = ['first']"
    )
    first.saw("in")
    second = workplace.begin("order.append('second')")
    dropped = workplace.begin("order.append('dropped')")
    third = workplace.begin("order.append('third')\norder")

    assert workplace.cancel(dropped.id)["status"] == "interrupted"
    workplace.upload("go")

    assert [r.result()["status"] for r in (first, second, dropped)] == ["ok", "ok", "interrupted"]
    assert third.result()["outputs"][-1]["text"] == "['first', 'second', 'third']"


def test_containers_do_not_wait_for_each_other(server: LiveServer, workplace: Workplace):
    running = workplace.begin("print('in', flush=True)\nwhile True:\n    pass")
    running.saw("in")

    with client_of(server) as client:
        assert Workplace(client).run("1 + 1")["status"] == "ok"
    workplace.cancel(running.id)


# ---- output ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flood",
    [
        "print('x' * (40 << 20))",
        "for _ in range(400_000):\n    print('x' * 99)",
        "import os\nfor _ in range(640):\n    os.write(1, b'x' * 65536)",
        "import subprocess\n_ = subprocess.run('yes | head -c 41943040', shell=True)",
    ],
    ids=["one_print", "many_prints", "descriptor", "child"],
)
def test_flood_of_output_is_cut_in_the_middle(workplace: Workplace, flood: str):
    execution = workplace.run(f"print('begins')\n{flood}\nprint('ends')")

    told = told_by(execution, "stdout")
    assert execution["status"] == "ok"
    assert told.startswith("begins\n")
    assert told.endswith("ends\n")
    assert len(told) <= LOGS_MAX + 1000
    assert "left out" in told
    assert "The output was too long" in told_by(execution, "stderr")


def test_flood_of_results_is_bounded(workplace: Workplace):
    execution = workplace.run("for n in range(5000):\n    display(n)")

    assert execution["status"] == "ok"
    assert 0 < len(execution["outputs"]) < 1000
    assert "The output was too long" in told_by(execution, "stderr")


# ---- the processes around it -------------------------------------------------------------------


def host_of(data: Path) -> int:
    """The process number of the sandbox host of a data folder."""
    mark = str(data).encode()
    (pid,) = [
        int(folder.name)
        for folder in Path("/proc").iterdir()
        if folder.name.isdigit()
        and b"sanderling.sandbox.host" in (line := command_line(folder))
        and mark in line
    ]
    return pid


def command_line(folder: Path) -> bytes:
    try:
        return (folder / "cmdline").read_bytes()
    except OSError:
        return b""  # it has ended since


def processes_below(pid: int) -> list[int]:
    """The children of a process, their children, and so on."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [found for child in children for found in (int(child), *processes_below(int(child)))]


def kill(pid: int) -> None:
    """End a process, which need not be our child, and wait until it has ended."""
    with open(os.pidfd_open(pid), "rb") as process:
        signal.pidfd_send_signal(process.fileno(), signal.SIGKILL)
        assert select.select([process], [], [], 10)[0]


def test_server_that_was_killed_finds_its_containers_as_they_were(
    tmp_path: Path, guest_env: Environment
):
    own_data = tmp_path / "data"
    options = ("--env", str(guest_env.path))
    with serving(own_data, *options) as first, client_of(first) as client:
        workplace = Workplace(client)
        workplace.remember()
        interrupted = workplace.begin(
            "print('in', flush=True)\nwhile True:\n    pass", timeout_seconds=600
        )
        interrupted.saw("in")
        host = host_of(own_data)
        first.process.kill()
        first.process.wait()
        with pytest.raises((openai.APIConnectionError, httpx.TransportError, OSError)):
            interrupted.result()

    with serving(own_data, *options) as second, client_of(second) as client:
        assert host_of(own_data) == host
        assert client.containers.retrieve(workplace.id).status == "running"
        again = Workplace(client, workplace.id)
        found = again.run("x + 1")
        assert (found["status"], found["outputs"]) == ("ok", [{"type": "result", "text": "42"}])
        assert again.remembers()


def test_host_that_was_killed_is_replaced(workplace: Workplace, data: Path):
    workplace.remember()
    host = host_of(data)
    kill(host)

    found = workplace.run("open('kept.txt').read()")

    assert found["status"] == "ok"
    assert found["outputs"][0] == {"type": "result", "text": "'kept'"}
    assert STARTED_ANEW in told_by(found, "stderr")
    assert host_of(data) != host
    assert not workplace.remembers()
    assert Workplace(workplace.client).run("1")["status"] == "ok"


def test_code_whose_host_was_killed_ends_as_died(workplace: Workplace, data: Path):
    workplace.remember()
    running = workplace.begin("print('in', flush=True)\nwhile True:\n    pass")
    running.saw("in")
    host = host_of(data)
    below = [os.pidfd_open(pid) for pid in processes_below(host)]
    kill(host)

    ended = running.result()

    assert ended["status"] == "died"
    assert "files are kept" in told_by(ended, "stderr")
    assert not workplace.remembers()
    assert len(below) > 1  # the zygote and the code's own, at least
    for process in below:
        assert select.select([process], [], [], 10)[0], "a process outlived its host"
        os.close(process)
