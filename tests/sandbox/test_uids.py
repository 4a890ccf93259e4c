"""Which uids boxes get: what a user database gives, what is refused, and what is said of it."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from sanderling.errors import MachineUnfit
from sanderling.sandbox import uids
from tests.plain_user import SUBUID_FIRST, PlainServer, PlainUser, SubuidUser

UID = 4321


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The files that name ranges, and a user called kim who runs the host."""
    for name in ("subuid", "subgid"):
        (tmp_path / name).write_text("kim:200000:65536\n")
    for tool in ("newuidmap", "newgidmap"):
        (tmp_path / tool).write_text("#!/bin/sh\necho not you >&2; exit 1\n")
        (tmp_path / tool).chmod(0o755)
    kim = pwd.struct_passwd(("kim", "x", UID, UID, "", "/", "/bin/sh"))
    monkeypatch.setattr(os, "geteuid", lambda: UID)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: kim)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(uids, "SUBUID", tmp_path / "subuid")
    monkeypatch.setattr(uids, "SUBGID", tmp_path / "subgid")
    return tmp_path


def test_root_gives_each_box_a_uid_of_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    chosen = uids.choose()

    assert chosen.kind == "range"
    assert chosen.on_machine(1) == 1_900_000_001
    assert chosen.file_owner(7) == (1_900_000_007, 1_900_000_007)


def test_root_of_a_container_gives_uids_that_nobody_in_it_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "uid_map").write_text("0 1000 1\n1 100000 65536\n")
    (tmp_path / "gid_map").write_text("0 1000 60000\n")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    chosen = uids.choose(tmp_path)

    assert (chosen.kind, chosen.weakness, chosen.count) == ("range", None, 39_998)
    assert chosen.file_owner(1) == (20_001, 20_001)


def test_root_of_a_container_without_other_uids_has_none_to_give(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("uid_map", "gid_map"):
        (tmp_path / name).write_text("0 1000 1\n")
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    with pytest.raises(MachineUnfit, match="Boxes never run as root"):
        uids.choose(tmp_path)


@pytest.mark.usefixtures("database")
def test_a_plain_user_gives_each_box_a_uid_of_the_subordinate_range() -> None:
    chosen = uids.choose()

    assert (chosen.kind, chosen.count, chosen.weakness) == ("subuid", 60_000, None)
    assert (chosen.on_machine(1), chosen.on_machine(60_000)) == (200_000, 259_999)
    assert chosen.file_owner(1) is None


def test_the_longest_range_is_taken_and_a_number_is_a_name_too(database: Path) -> None:
    (database / "subuid").write_text("lee:1:99999\nkim:10:5\n# no\nkim:x:9\n4321:300000:2000\n")
    chosen = uids.choose()

    assert (chosen.on_machine(1), chosen.count) == (300_000, 2_000)


@pytest.mark.parametrize(
    ("file", "text", "weakness", "remedy"),
    [
        ("subuid", "lee:200000:65536\n", "has no range for kim", "usermod --add-subuids"),
        ("subgid", "", "has no range for kim", "usermod --add-subuids"),
        ("subgid", "kim:200000:10\n", "give kim only 10 uids", "usermod --add-subuids"),
        ("newgidmap", None, "newgidmap not found", "apt install uidmap"),
    ],
)
def test_without_a_range_boxes_have_the_users_own_uid_and_it_is_said_why(
    database: Path, file: str, text: str | None, weakness: str, remedy: str
) -> None:
    if text is None:
        (database / file).unlink()
    else:
        (database / file).write_text(text)
    chosen = uids.choose()

    assert (chosen.kind, chosen.on_machine(1)) == ("single", None)
    assert weakness in str(chosen.weakness)
    assert remedy in str(chosen.remedy)


@pytest.mark.usefixtures("database")
def test_a_range_that_newuidmap_refuses_is_refused() -> None:
    with pytest.raises(uids.Refused, match="newuidmap refused the range: not you"):
        uids.write_maps(uids.choose(), os.getpid())


def test_a_folder_that_is_not_as_good_as_our_own_is_refused(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        uids.try_view(folder)
        assert list(tmp_path.iterdir()) == []
        (tmp_path / "trial").touch()
        with pytest.raises(uids.Refused, match="cannot be used from outside"):
            uids.try_view(folder)
    finally:
        os.close(folder)


IN_TWO_BOXES = """
import asyncio, os, sys
from pathlib import Path
from sanderling.sandbox.spawner import Spawner

async def main():
    spawner = await Spawner.start(env=Path(sys.argv[1]), disk_bytes=1 << 20, logs_bytes_max=1000,
                                  preload=())
    print(spawner.facts.uids, spawner.facts.uids_weakness)
    for _ in range(2):
        box = await spawner.spawn()
        status = Path(f"/proc/{box.pid}/status").read_text().splitlines()
        uid, gid = (line.split()[1] for line in status if line.startswith(("Uid", "Gid")))
        code = "import os; open('made', 'w').close(); os.chmod('made', 0o600)"
        [shown async for shown in box.run_cell(code)]
        print(uid, gid, os.stat("made", dir_fd=box.data_fd).st_uid)
        box.kill()
        await box.wait_dead()
        box.release()
    await spawner.close()

asyncio.run(main())
"""


def in_two_boxes(user: PlainUser, server: PlainServer, **variables: str) -> list[list[str]]:
    command = [server.python, "-c", IN_TWO_BOXES, server.guest_env.path]
    done = subprocess.run(
        user.command(*command),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **user.options(**variables),
    )
    assert done.returncode == 0, done.stderr
    return [line.split(maxsplit=2) for line in done.stdout.splitlines()]


@pytest.mark.sandbox
def test_boxes_of_a_plain_user_have_uids_of_their_own_and_their_files_seem_the_users(
    subuid_user: SubuidUser, plain_server: PlainServer
) -> None:
    how, first, second = in_two_boxes(subuid_user, plain_server)

    assert how == ["subuid", "None"]
    for uid, gid, file_uid in (first, second):
        assert SUBUID_FIRST <= int(uid) < SUBUID_FIRST + 65536
        assert gid == uid
        assert file_uid == str(subuid_user.uid)
    assert first[0] != second[0]


@pytest.mark.sandbox
def test_a_host_whose_range_is_refused_starts_with_the_users_own_uid_and_says_why(
    subuid_user: SubuidUser, plain_server: PlainServer
) -> None:
    tools = subuid_user.home / "tools"
    tools.mkdir()
    for name in ("newuidmap", "newgidmap"):
        (tools / name).write_text("#!/bin/sh\necho no more ranges >&2; exit 1\n")
        (tools / name).chmod(0o755)
    how, *boxes = in_two_boxes(subuid_user, plain_server, PATH=f"{tools}:{os.defpath}")

    assert how == ["single", "newuidmap", "refused the range: no more ranges"]
    assert {uid for uid, _, _ in boxes} == {str(subuid_user.uid)}
