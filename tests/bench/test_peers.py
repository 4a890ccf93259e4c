import io
import json

import pytest
from bench.cells import IMPORTS, NEXT, PRINT, plot
from bench.measures import Measures, step
from bench.peers import child
from bench.peers.base import Session

from bench import peers


@pytest.mark.parametrize("key", peers.KEYS)
def test_peer_describes_itself_without_its_libraries(key):
    peer = peers.load(key)

    assert peer.key == key
    assert peer.title
    assert peer.isolation
    assert set(peer.cannot) <= {name for name in dir(Measures) if not name.startswith("_")}


@pytest.mark.parametrize("code", [PRINT, NEXT, IMPORTS, plot(is_shown=True), plot(is_shown=False)])
def test_cells_use_no_name_that_a_careful_interpreter_refuses(code):
    assert "__" not in code


def test_child_answers_cell_by_cell_and_keeps_variables():
    cells = ["x = 6", "print(x * 7)", "x / 0", "print(x)"]
    requests = io.StringIO("".join(json.dumps(cell) + "\n" for cell in cells))
    answers = io.StringIO()

    child.serve(requests, answers, child.plain())

    told = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert told[0] == {"output": ""}
    assert told[1] == {"output": "42\n"}
    assert "ZeroDivisionError" in told[2]["error"]
    assert told[3] == {"output": "6\n"}


class Blocking(peers.Peer):
    """A peer whose sessions are threads' business."""

    key = title = isolation = "blocking"
    alive = 0

    async def session(self) -> Session:
        self.alive += 1
        return Echo(self)


class Echo:
    def __init__(self, peer: Blocking) -> None:
        self._peer = peer

    async def run(self, code: str) -> str:
        return code

    async def close(self) -> None:
        self._peer.alive -= 1


@pytest.mark.parametrize("name", ["first_print", "next", "imports", "plot", "burst"])
def test_measure_ends_every_session_it_began(name):
    peer = Blocking()

    values = step(Measures(peer, None).measure(name, count=2, budget_s=10.0))

    assert len(values[name]) >= 2
    assert min(values[name]) > 0
    assert peer.alive == 0


def test_measure_stops_when_its_time_is_used():
    values = step(Measures(Blocking(), None).measure("first_print", count=1000, budget_s=0.0))

    assert len(values["first_print"]) == 1
