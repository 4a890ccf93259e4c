"""
What `base.Sandbox` promises, asked of the sandbox in this process and of the one behind a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from sanderling.errors import (
    HostUnavailable,
    InvalidRequest,
    MachineFull,
    MachineUnfit,
    NotFound,
    ProtocolBroken,
    SpawnFailed,
)
from sanderling.sandbox import client, wire
from sanderling.sandbox.base import BoxLimits, Ended, Logs, Result, Sandbox
from sanderling.sandbox.client import HostClient
from tests.sandbox.stages import LIMITS, SPINS, Stage, begun, chunks, staged, until

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(params=["local", "socket"])
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, request.param) as made:
        yield made


# ---- what base.Sandbox promises ----------------------------------------------------------------


async def test_it_is_a_sandbox(stage: Stage):
    sandbox: Sandbox = stage.sandbox
    status = await sandbox.status()

    assert (status.isolation, status.boxes, status.pid) == ("zygote", 0, os.getpid())
    assert status.memory_bytes_max > 1 << 28


async def test_a_box_is_created_once(stage: Stage):
    first = await stage.sandbox.create("cntr_a", LIMITS)
    again = await stage.sandbox.create("cntr_a", LIMITS)

    assert (first, again) == (True, False)
    assert (await stage.sandbox.status()).boxes == 1


async def test_two_creates_at_once_make_one_box(stage: Stage):
    made = await asyncio.gather(*(stage.sandbox.create("cntr_a", LIMITS) for _ in range(4)))

    assert sorted(made) == [False, False, False, True]
    assert (await stage.sandbox.status()).boxes == 1


async def test_a_cell_runs_and_its_end_comes_last(stage: Stage):
    await stage.sandbox.create("cntr_a", LIMITS)
    shown = await stage.run("print('hällo'); 6 * 7")

    assert shown[:2] == [Logs("stdout", "hällo\n"), Result("42")]
    assert isinstance(shown[2], Ended)
    assert len(shown) == 3


async def test_containers_do_not_share_variables_or_files(stage: Stage):
    for container_id in ("cntr_a", "cntr_b"):
        await stage.sandbox.create(container_id, LIMITS)
    await stage.run("x = 1; open('a', 'w').close()")
    shown = await stage.run("import os; ('x' in globals(), os.listdir())", container_id="cntr_b")

    assert shown[0] == Result("(False, [])")


async def test_a_container_without_a_box_is_not_found(stage: Stage):
    with pytest.raises(NotFound):
        await stage.run("1")
    with pytest.raises(NotFound):
        await stage.sandbox.write_file("cntr_a", "/mnt/data/x", chunks(b""))
    with pytest.raises(NotFound):
        await anext(stage.sandbox.read_file("cntr_a", "/mnt/data/x"))
    with pytest.raises(NotFound):
        await stage.sandbox.delete_file("cntr_a", "/mnt/data/x")
    assert not await stage.sandbox.interrupt("cntr_a", "e")
    assert not await stage.sandbox.close("cntr_a")


async def test_the_same_execution_is_followed_by_many_and_runs_once(stage: Stage):
    await stage.sandbox.create("cntr_a", LIMITS)
    code = "n = globals().get('n', 0) + 1; print(n)"
    told = await asyncio.gather(*(stage.run(code) for _ in range(3)))

    assert told[0] == told[1] == told[2]
    assert told[0][0] == Logs("stdout", "1\n")


async def test_events_are_read_again_from_where_one_left_off(stage: Stage):
    await stage.sandbox.create("cntr_a", LIMITS)
    shown = await stage.run("print(1); 2")
    events = [e async for e in stage.sandbox.events("cntr_a", "e")]
    rest = [e async for e in stage.sandbox.events("cntr_a", "e", after=0)]

    assert [h for _, h in events] == shown
    assert rest == events[1:]
    with pytest.raises(NotFound):
        await anext(stage.sandbox.events("cntr_a", "never"))


async def test_leaving_a_stream_does_not_stop_the_cell(stage: Stage):
    await stage.sandbox.create("cntr_a", LIMITS)
    code = "print('begun')\nimport time\nwhile not __import__('os').path.exists('go'):\n"
    code += "    time.sleep(0.01)\n'went on'"
    stream = stage.follow(code)
    await begun(stream)
    await stream.aclose()
    await stage.sandbox.write_file("cntr_a", "/mnt/data/go", chunks(b""))
    shown = await stage.run(code)

    assert [h for h in shown if isinstance(h, Result)] == [Result("'went on'")]
    assert shown[-1].status == "ok"


async def test_a_running_cell_is_interrupted(stage: Stage):
    await stage.sandbox.create("cntr_a", LIMITS)
    stream = stage.follow(SPINS)
    await begun(stream)

    assert await stage.sandbox.interrupt("cntr_a", "e")
    assert [h async for h in stream][-1].status == "interrupted"
    assert not await stage.sandbox.interrupt("cntr_a", "e")


async def test_a_timeout_is_the_callers(stage: Stage):
    await stage.sandbox.create("cntr_a", LIMITS)
    stream = stage.sandbox.execute("cntr_a", "e", "while True: pass", timeout_s=0.2)

    assert [h async for h in stream][-1].status == "timed_out"


async def test_files_go_in_and_out(stage: Stage):
    await stage.sandbox.create("cntr_a", LIMITS)
    content = os.urandom(2_500_000)
    pieces = (content[:10], b"", content[10:])
    count = await stage.sandbox.write_file("cntr_a", "/mnt/data/in/x.bin", chunks(*pieces))
    shown = await stage.run("import os; os.path.getsize('in/x.bin')")
    back = [c async for c in stage.sandbox.read_file("cntr_a", "/mnt/data/in/x.bin")]

    assert count == len(content)
    assert shown[0] == Result("2500000")
    assert b"".join(back) == content
    assert await stage.sandbox.delete_file("cntr_a", "/mnt/data/in/x.bin")
    assert not await stage.sandbox.delete_file("cntr_a", "/mnt/data/in/x.bin")


async def test_an_empty_file_is_a_file(stage: Stage):
    await stage.sandbox.create("cntr_a", LIMITS)

    assert await stage.sandbox.write_file("cntr_a", "/mnt/data/x", chunks()) == 0
    assert [c async for c in stage.sandbox.read_file("cntr_a", "/mnt/data/x")] == []


@pytest.mark.parametrize("path", ["/etc/x", "/mnt/data/../x", "/mnt/data/a\nb", "x", ""])
async def test_a_path_elsewhere_is_refused(stage: Stage, path: str):
    await stage.sandbox.create("cntr_a", LIMITS)
    with pytest.raises(InvalidRequest):
        await stage.sandbox.write_file("cntr_a", path, chunks(b"x" * 3_000_000, b"y"))
    with pytest.raises(NotFound):
        await anext(stage.sandbox.read_file("cntr_a", path))


async def test_a_source_that_fails_leaves_no_file_and_a_working_box(stage: Stage):
    await stage.sandbox.create("cntr_a", LIMITS)
    files = stage.local._keepers["cntr_a"].files

    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        await until(lambda: files._users == 1)
        raise RuntimeError("the upload broke off")

    with pytest.raises(RuntimeError, match="broke off"):
        await stage.sandbox.write_file("cntr_a", "/mnt/data/x", broken())

    await until(lambda: files._users == 0)
    assert (await stage.run("import os; os.listdir()"))[0] == Result("[]")


async def test_closing_ends_the_box_and_its_cell(stage: Stage):
    await stage.sandbox.create("cntr_a", LIMITS)
    stream = stage.follow(SPINS)
    await begun(stream)

    assert await stage.sandbox.close("cntr_a")
    assert [h async for h in stream][-1].status == "interrupted"
    assert not await stage.sandbox.close("cntr_a")
    assert await stage.sandbox.create("cntr_a", LIMITS)


async def test_no_more_boxes_than_allowed(tmp_path: Path):
    async with staged(tmp_path, "socket", boxes_max=2) as stage:
        await stage.sandbox.create("cntr_a", LIMITS)
        await stage.sandbox.create("cntr_b", LIMITS)
        with pytest.raises(MachineFull) as caught:
            await stage.sandbox.create("cntr_c", LIMITS)
        await stage.sandbox.close("cntr_a")

        assert caught.value.retry_after_s > 0
        assert await stage.sandbox.create("cntr_c", LIMITS)


async def test_more_memory_than_the_machine_has_is_refused(stage: Stage):
    status = await stage.sandbox.status()
    with pytest.raises(MachineUnfit):
        await stage.sandbox.create("cntr_a", BoxLimits(status.memory_bytes_max + 1))
    assert (await stage.sandbox.status()).boxes == 0


@pytest.mark.parametrize(
    "limits", [BoxLimits(0), BoxLimits(-1), BoxLimits(1 << 28, 0.0), BoxLimits(1 << 28, -1.0)]
)
async def test_limits_that_are_none_are_refused(stage: Stage, limits: BoxLimits):
    with pytest.raises(InvalidRequest):
        await stage.sandbox.create("cntr_a", limits)


@pytest.mark.parametrize("bad_id", ["", "x" * 129, "a\nb"])
async def test_ids_that_are_none_are_refused(stage: Stage, bad_id: str):
    with pytest.raises(InvalidRequest):
        await stage.sandbox.create(bad_id, LIMITS)
    await stage.sandbox.create("cntr_a", LIMITS)
    with pytest.raises(InvalidRequest):
        await stage.run("1", execution_id=bad_id)


@pytest.mark.parametrize("timeout_s", [0, -1.0, 1e9])
async def test_a_timeout_that_is_none_is_refused(stage: Stage, timeout_s: float):
    await stage.sandbox.create("cntr_a", LIMITS)
    with pytest.raises(InvalidRequest):
        await anext(stage.sandbox.execute("cntr_a", "e", "1", timeout_s=timeout_s))


async def test_code_that_is_too_long_is_refused_and_long_code_is_not(stage: Stage):
    await stage.sandbox.create("cntr_a", LIMITS)
    with pytest.raises(InvalidRequest):
        await stage.run("#" * (wire.CODE_BYTES_MAX + 1))
    shown = await stage.run("#" * (wire.CODE_BYTES_MAX - 10) + "\n1")

    assert shown[0] == Result("1")


async def test_a_spawn_that_fails_is_told_and_leaves_nothing(stage: Stage):
    await until(lambda: stage.local._pool.ready == 1)
    assert await stage.sandbox.create("cntr_a", LIMITS)
    await until(lambda: stage.local._pool.ready == 1)
    for box in stage.local._pool._ready:
        box.kill()
        await box.wait_dead()
    stage.makers[0].refuses = SpawnFailed("no room")
    with pytest.raises(SpawnFailed, match="no room"):
        await stage.sandbox.create("cntr_b", LIMITS)

    assert (await stage.sandbox.status()).boxes == 1
    assert await stage.sandbox.create("cntr_b", LIMITS)


async def test_a_dead_zygote_ends_what_runs_and_later_creates_work(stage: Stage):
    await stage.sandbox.create("cntr_a", LIMITS)
    await stage.sandbox.create("cntr_idle", LIMITS)
    stream = stage.follow(SPINS)
    await begun(stream)
    os.kill(stage.makers[0].pid, signal.SIGKILL)
    ended = [h async for h in stream][-1]
    await until(lambda: not stage.local._keepers)

    assert ended.status == "died"
    assert "gone" in ended.notice
    assert await stage.sandbox.create("cntr_a", LIMITS)
    assert (await stage.run("1 + 1"))[0] == Result("2")
    assert len(stage.makers) == 2


# ---- hosts that are not what they should be ----------------------------------------------------


@contextlib.asynccontextmanager
async def answering(path: Path, answer: Answer) -> AsyncIterator[HostClient]:
    """A host that does `answer` with every connection; nothing of it is left in the end."""
    connections: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await answer(reader, writer)
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    server = await asyncio.start_unix_server(accept, path)
    try:
        yield HostClient(path)
    finally:
        server.close()
        await asyncio.gather(*connections)


async def test_a_host_that_is_not_there_is_unavailable(tmp_path: Path):
    client = HostClient(tmp_path / "nobody.sock")
    for call in (client.status(), client.create("c", LIMITS), client.close("c")):
        with pytest.raises(HostUnavailable):
            await call
    with pytest.raises(HostUnavailable):
        await anext(client.execute("c", "e", "1", timeout_s=1))


async def test_a_host_that_goes_away_during_a_call_is_unavailable(tmp_path: Path):
    async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await wire.receive(reader)

    async with answering(tmp_path / "s", hangs_up) as client:
        with pytest.raises(HostUnavailable):
            await client.status()
        with pytest.raises(HostUnavailable):
            await anext(client.execute("c", "e", "1", timeout_s=1))
        with pytest.raises(HostUnavailable):
            await client.write_file("c", "/mnt/data/x", chunks(*[bytes(1 << 20)] * 20))


async def test_a_host_that_does_not_answer_is_unavailable(tmp_path: Path):
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with answering(tmp_path / "s", silent) as client:
        with pytest.raises(HostUnavailable):
            await client.hello(deadline_s=0.05)


@pytest.mark.parametrize("call", ["execute", "read_file", "write_file"])
async def test_a_host_that_falls_silent_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
):
    monkeypatch.setattr(client, "_PIECE_DEADLINE_S", 0.1)
    monkeypatch.setattr(client, "EXECUTION_EXTRA_S", 0.1)

    is_over = asyncio.Event()

    async def silence(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await is_over.wait()

    async def ask(host: HostClient) -> None:
        match call:
            case "execute":
                await anext(host.execute("cntr_a", "e", "1", timeout_s=0.1))
            case "read_file":
                await anext(host.read_file("cntr_a", "/mnt/data/x"))
            case _:
                big = chunks(*[bytes(1 << 20)] * 20)
                await host.write_file("cntr_a", "/mnt/data/x", big)

    async with answering(tmp_path / "s", silence) as host:
        with pytest.raises(HostUnavailable, match="did not answer"):
            await ask(host)
        is_over.set()


async def test_an_answer_that_is_none_is_a_broken_protocol(tmp_path: Path):
    async def babbles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await wire.receive(reader)
        await wire.send(writer, {"is_new": "perhaps"})

    async with answering(tmp_path / "s", babbles) as client:
        with pytest.raises(ProtocolBroken):
            await client.create("c", LIMITS)
