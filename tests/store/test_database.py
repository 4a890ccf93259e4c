from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from sanderling.errors import InvalidRequest, SanderlingError, SetupError
from sanderling.store.database import MEMORY, Database

ADD = text("INSERT INTO events (stream_id, seq, event) VALUES ('s', :seq, '{}')")
COUNT = text("SELECT count(*) FROM events")


@pytest.fixture(params=["memory", "file"])
async def database(request, tmp_path):
    where = MEMORY if request.param == "memory" else tmp_path / "a.db"
    database = await Database.open(where)
    yield database
    await database.close()


async def count(database):
    return await database.read(lambda c: c.execute(COUNT).scalar())


class SlowWrite:
    """A write of one event that stops half-way until `go_on` is set."""

    def __init__(self, *later):
        self.half_way, self.go_on = asyncio.Event(), threading.Event()
        self._loop = asyncio.get_running_loop()
        self._later = later

    def __call__(self, connection):
        connection.execute(ADD, {"seq": 0})
        self._loop.call_soon_threadsafe(self.half_way.set)
        assert self.go_on.wait(timeout=30)
        for seq in self._later:
            connection.execute(ADD, {"seq": seq})


async def test_a_write_that_raises_wrote_nothing(database):
    def work(connection):
        connection.execute(ADD, {"seq": 0})
        raise KeyError

    with pytest.raises(KeyError):
        await database.write(work)

    assert await count(database) == 0


async def test_writes_happen_one_after_the_other(database):
    def increment(connection):
        seen = connection.execute(COUNT).scalar()
        connection.execute(ADD, {"seq": seen})

    await asyncio.gather(*(database.write(increment) for _ in range(20)))

    assert await count(database) == 20


async def test_a_read_sees_whole_writes_only(database):
    slow = SlowWrite(1)
    writing = asyncio.create_task(database.write(slow))
    await slow.half_way.wait()
    reading = asyncio.create_task(count(database))
    await asyncio.wait([reading], timeout=0.05)
    slow.go_on.set()
    await writing

    assert await reading in (0, 2)


async def test_readers_do_not_wait_for_a_writer(tmp_path):
    database = await Database.open(tmp_path / "a.db")
    slow = SlowWrite()
    writing = asyncio.create_task(database.write(slow))
    await slow.half_way.wait()
    seen = await asyncio.wait_for(count(database), timeout=30)
    slow.go_on.set()
    await writing
    await database.close()

    assert seen == 0


async def test_a_write_goes_on_when_its_caller_is_cancelled(database):
    slow = SlowWrite(1)
    writing = asyncio.create_task(database.write(slow))
    await slow.half_way.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    slow.go_on.set()

    # The next write has its turn after that one.
    await database.write(lambda c: c.execute(ADD, {"seq": 2}))
    assert await count(database) == 3


async def test_close_waits_for_what_cancelled_callers_began(tmp_path):
    database = await Database.open(tmp_path / "a.db")
    writing = asyncio.create_task(database.write(lambda c: c.execute(ADD, {"seq": 0})))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.wait([writing])
    await database.close()

    again = await Database.open(tmp_path / "a.db")
    assert await count(again) == 1
    await again.close()


async def test_more_readers_than_connections_all_get_their_turn(database):
    assert await asyncio.gather(*(count(database) for _ in range(60))) == [0] * 60


class Counting:
    """A look at how many events there are, which knows how often it was taken."""

    def __init__(self):
        self.looks = 0

    def __call__(self, connection):
        self.looks += 1
        return connection.execute(COUNT).scalar()


async def test_what_is_recalled_is_read_once_until_somebody_writes(tmp_path):
    database = await Database.open(tmp_path / "a.db")
    look, other = Counting(), Counting()

    assert [await database.recall("all", look) for _ in range(3)] == [0, 0, 0]
    assert await database.recall("other", other) == 0
    assert (look.looks, other.looks) == (1, 1)

    await database.write(lambda c: c.execute(ADD, {"seq": 0}))
    assert [await database.recall("all", look) for _ in range(3)] == [1, 1, 1]
    assert look.looks == 2
    await database.close()


async def test_what_another_process_wrote_is_recalled_at_once(tmp_path):
    database = await Database.open(tmp_path / "a.db")
    look = Counting()
    assert await database.recall("all", look) == 0

    connection = sqlite3.connect(tmp_path / "a.db")
    with connection:
        connection.execute("INSERT INTO events (stream_id, seq, event) VALUES ('s', 0, '{}')")
    connection.close()

    assert await database.recall("all", look) == 1
    await database.close()


async def test_what_was_read_while_somebody_wrote_is_not_recalled_for_later(tmp_path):
    database = await Database.open(tmp_path / "a.db")
    reading, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def look(connection):
        found = connection.execute(COUNT).scalar()
        loop.call_soon_threadsafe(reading.set)
        assert go_on.wait(timeout=30)
        return found

    recalling = asyncio.create_task(database.recall("all", look))
    await reading.wait()
    await database.write(lambda c: c.execute(ADD, {"seq": 0}))
    go_on.set()

    assert await recalling == 0
    assert await database.recall("all", look) == 1
    await database.close()


async def test_a_look_that_failed_is_taken_again(database):
    def fails(connection):
        raise KeyError

    with pytest.raises(KeyError):
        await database.recall("all", fails)

    assert await database.recall("all", Counting()) == 0


async def test_a_recalled_look_sees_every_write_before_it(database):
    look = Counting()
    for expected in range(3):
        assert await database.recall("all", look) == expected
        await database.write(lambda c, seq=expected: c.execute(ADD, {"seq": seq}))


async def test_text_that_is_no_unicode_is_the_requests_fault(database):
    query = text("SELECT :value")

    with pytest.raises(InvalidRequest):
        await database.read(lambda c: c.execute(query, {"value": "\ud800"}))

    assert await count(database) == 0


async def test_a_failing_statement_is_told_without_its_values(database):
    with pytest.raises(SanderlingError, match="no such table") as caught:
        await database.read(lambda c: c.execute(text("SELECT :v FROM nowhere"), {"v": "a secret"}))

    assert "a secret" not in f"{caught.value}{caught.value.__cause__}"


async def test_commits_wait_for_the_disk_and_readers_for_nobody(tmp_path):
    database = await Database.open(tmp_path / "a.db")

    def pragmas(connection):
        return {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }

    full = 2
    wanted = {
        "journal_mode": "wal",
        "synchronous": full,
        "foreign_keys": 1,
        "busy_timeout": 5000,
    }
    assert await database.write(pragmas) == wanted
    assert await database.read(pragmas) == wanted
    await database.close()


async def test_only_the_owner_may_read_the_database_files(tmp_path):
    database = await Database.open(tmp_path / "a.db")
    await database.write(lambda c: c.execute(ADD, {"seq": 0}))

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    await database.close()

    assert modes == {"a.db": 0o600, "a.db-wal": 0o600, "a.db-shm": 0o600}


async def test_a_path_with_odd_characters_is_taken_as_it_is(tmp_path):
    path = tmp_path / "a?b#c%20 ü.db"
    await (await Database.open(path)).close()

    assert path.exists()


async def test_a_url_opens_the_database_it_names(tmp_path):
    await (await Database.open(f"sqlite:///{tmp_path}/b.db")).close()

    assert (tmp_path / "b.db").exists()


async def test_a_commit_survives_kill_9(tmp_path):
    program = """
import asyncio, os, pathlib, signal, sys
from sqlalchemy import text
from sanderling.store.database import Database

async def main():
    database = await Database.open(pathlib.Path(sys.argv[1]))
    add = text("INSERT INTO events (stream_id, seq, event) VALUES ('s', :seq, '{}')")
    await database.write(lambda c: c.execute(add, {"seq": 0}))
    def unfinished(connection):
        connection.execute(add, {"seq": 1})
        os.kill(os.getpid(), signal.SIGKILL)
    await database.write(unfinished)

asyncio.run(main())
"""
    path = tmp_path / "a.db"
    command = [sys.executable, "-c", program, str(path)]
    ran = await asyncio.to_thread(subprocess.run, command, check=False)
    assert ran.returncode == -9

    database = await Database.open(path)
    assert await count(database) == 1
    await database.close()


# ---- databases that do not open ------------------------------------------------------------------


async def refusal(where, **options):
    with pytest.raises(SetupError) as caught:
        await Database.open(where, **options)
    assert str(where) in caught.value.message or "mode=ro" in str(where)
    return caught.value.message


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "a.db"
    path.write_bytes(b"not a database, by far" * 500)

    assert "restore it from a backup, or move it away" in await refusal(path)
    assert path.read_bytes().startswith(b"not a database")


async def test_a_damaged_database_is_refused(tmp_path):
    path = tmp_path / "a.db"
    await (await Database.open(path)).close()
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3000)

    assert "damaged" in await refusal(path)


async def test_a_database_that_another_process_holds_is_refused(tmp_path):
    path = tmp_path / "a.db"
    await (await Database.open(path)).close()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    message = await refusal(path, busy_timeout_s=0.05)
    holder.close()

    assert "Another process holds it" in message


async def test_a_database_that_may_only_be_read_is_refused(tmp_path):
    path = tmp_path / "a.db"
    sqlite3.connect(path).close()
    url = f"sqlite:///file:{path}?mode=ro&uri=true"

    assert "Let this user write to the file" in await refusal(url)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_folder_that_may_only_be_read_is_refused(tmp_path):
    tmp_path.chmod(0o500)

    assert "Give a data folder that this user may write to" in await refusal(tmp_path / "a.db")


async def test_a_folder_that_is_not_there_is_refused(tmp_path):
    assert "cannot be made" in await refusal(tmp_path / "none" / "a.db")


async def test_a_folder_in_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "a.db").mkdir()

    assert "Let this user write" in await refusal(tmp_path / "a.db")


async def test_a_database_of_a_newer_version_is_refused_and_kept(tmp_path):
    path = tmp_path / "a.db"
    await (await Database.open(path)).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()

    assert "written by a newer Sanderling" in await refusal(path)


async def test_a_refused_database_leaves_no_open_file(tmp_path):
    path = tmp_path / "a.db"
    path.write_bytes(b"not a database, by far" * 500)
    await refusal(path)

    opened = [Path(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    assert str(path) not in [str(p.readlink()) for p in opened if p.is_symlink()]


REFUSE_AGAIN_AND_AGAIN = """
import asyncio, pathlib, sys
from sanderling.errors import SetupError
from sanderling.store.database import Database

refused = 0
for _ in range(30):
    try:
        asyncio.run(Database.open(pathlib.Path(sys.argv[1])))
    except SetupError:
        refused += 1
print(refused)
"""


@pytest.mark.parametrize("what", ["nonsense", "folder"])
def test_a_refusal_is_all_there_is_when_the_event_loop_ends_with_it(tmp_path, what):
    path = tmp_path / "a.db"
    if what == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"not a database, by far" * 500)

    command = [sys.executable, "-c", REFUSE_AGAIN_AND_AGAIN, str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (ran.stdout, ran.stderr) == ("30\n", "")
