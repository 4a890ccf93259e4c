"""
What hostile code can make the host believe, read, write or keep: nothing, whoever runs the host.

The questions are in `outside.py`, asked once for each kind of user; here is what must be answered.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sanderling.environments.environment import Environment
from tests.promises import outside
from tests.promises.outside import MARK, TAMPERING, is_running
from tests.promises.probes import SURVIVED

pytestmark = pytest.mark.sandbox

DEADLINE_S = 60.0


@dataclass(frozen=True)
class Answers:
    """What one user's host found, and what it wrote to its log."""

    kind: str
    found: dict[str, Any]
    log: str
    doomed: list[int]  # processes of another host that was killed

    def __getitem__(self, question: str) -> Any:
        return self.found[question]


@pytest.fixture(scope="module", params=["range", "single", "subuid"])
def answers(
    request: pytest.FixtureRequest,
    guest_env: Environment,
    tmp_path_factory: pytest.TempPathFactory,
) -> Answers:
    kind: str = request.param
    if kind == "range":
        if os.geteuid() != 0:
            pytest.skip("only root has a range of uids to give")
        home = tmp_path_factory.mktemp("home")
        command = [sys.executable, str(Path(outside.__file__)), str(guest_env.path)]
        options: dict[str, Any] = {}
    else:
        user = request.getfixturevalue("plain_user" if kind == "single" else "subuid_user")
        server = request.getfixturevalue("plain_server")
        home = user.home / "outside"
        home.mkdir()
        script = home / "program" / "outside.py"
        script.parent.mkdir()
        script.write_text(Path(outside.__file__).read_text())
        for path in (home, script.parent, script):
            path.chmod(0o755)
        home = home / "home"
        home.mkdir()
        os.chown(home, user.uid, user.gid)
        command = user.command(server.python, script, server.guest_env.path)
        options = user.options()

    # Not by a pipe that the dead host's boxes would keep open: they may be frozen until the next
    # host, which is the one that is asked everything else, ends them.
    log = tmp_path_factory.mktemp("log") / "log"

    def ask(what: str) -> str:
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [*command, str(home), what], stdout=subprocess.PIPE, stderr=stderr, **options
            )
            assert process.stdout is not None
            try:
                with process.stdout:
                    said = process.stdout.readline()
                process.wait(300)
            finally:
                process.kill()
        assert said, log.read_text()
        return said.decode()

    doomed = json.loads(ask("die"))
    return Answers(kind, json.loads(ask("all")), log.read_text(), doomed)


def test_the_host_gives_boxes_the_uids_that_this_user_can_give(answers: Answers) -> None:
    assert answers["uids"] == answers.kind


def test_only_regular_files_with_names_that_can_be_shown_are_outputs(answers: Answers) -> None:
    names = answers["odd_files"]["changed"]

    assert sorted(names) == sorted(["a" * 251 + ".txt", "hard.txt", "plain.txt", "sparse.bin"])


def test_links_folders_sockets_and_ways_out_are_no_files(answers: Answers) -> None:
    read = answers["odd_files"]["read"]

    assert set(read.values()) == {"NotFound"}
    assert answers["odd_files"]["absolute"] == "NotFound"


def test_a_file_that_becomes_a_link_while_it_is_read_never_shows_what_the_link_names(
    answers: Answers,
) -> None:
    read = answers["swapped_files"]["read"]

    assert "good" in read  # it was there, at times
    assert set(read) <= {"good", "from the host", "NotFound", ""}


def test_a_folder_that_becomes_a_link_is_not_written_or_deleted_through(answers: Answers) -> None:
    assert answers["swapped_files"]["home"] == ["name"]


def test_more_files_than_are_looked_at_and_folders_without_end_are_said_to_be(
    answers: Answers,
) -> None:
    many = answers["many_files"]

    assert (many["status"], many["changed"]) == ("ok", 2_000)
    assert "not looked at" in many["notice"]
    assert many["after"] == SURVIVED


def test_nothing_of_a_box_is_left_for_the_next(answers: Answers) -> None:
    assert answers["left_over"]["seen"] == ["[] ['1']"] * 3


def test_no_two_boxes_have_one_uid_where_there_are_several(answers: Answers) -> None:
    uids = answers["left_over"]["uids"]

    assert len(set(uids)) == (1 if answers.kind == "single" else len(uids))


def test_what_commands_a_terminal_is_text_like_any_other(answers: Answers) -> None:
    text = answers["output"]["text"]

    assert f"\ufffd\ufffd{MARK}\x1b[2J\x1b]0;x\x07\r\n\x00" in text
    assert f"\\ud800\x1b[31m{MARK}\n" in text
    assert answers["output"]["changed"] == []


def test_neither_output_nor_names_of_files_nor_code_reach_the_hosts_log(answers: Answers) -> None:
    assert "execution.finished" in answers.log
    assert MARK not in answers.log
    assert re.fullmatch(r"[ -~\n]*", answers.log)


@pytest.mark.parametrize("how", TAMPERING)
def test_who_breaks_their_own_kernel_breaks_no_more_and_forges_nothing(
    answers: Answers, how: str
) -> None:
    _, _, later, neighbour = answers["tampering"][how]

    assert set(later) <= {"42", "42 fresh", "", " fresh"}
    assert neighbour == SURVIVED


def test_a_dead_zygote_takes_every_process_along_and_the_next_host_call_has_another(
    answers: Answers,
) -> None:
    # The waiting parent, the zygote, at least one box and its daemon.
    assert answers["dead_zygote"]["processes"] >= 4
    assert answers["dead_zygote"]["answer"] == SURVIVED


def test_a_killed_host_leaves_no_process_to_the_next(answers: Answers) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while running := [pid for pid in answers.doomed if is_running(pid)]:
        assert time.monotonic() < deadline, running
        time.sleep(0.01)

    assert len(answers.doomed) >= 4


def test_the_host_never_reads_python_objects_or_runs_text() -> None:
    # smolagents CVE-2025-14931: what came out of the sandbox was unpickled by the host.
    package = Path(outside.__file__).parents[2] / "src" / "sanderling"
    forbidden = re.compile(r"\b(pickle|marshal|shelve|dill|joblib)\b|(?<![.\w])(eval|exec)\(")
    rooms = [path for path in package.rglob("*.py") if path.parent.name != "kernel"]
    found = [
        f"{path.name}: {line.strip()}"
        for path in rooms
        for line in path.read_text().splitlines()
        if forbidden.search(line.partition("#")[0])
    ]

    assert rooms
    assert found == []
