"""
The same cells in a real Jupyter kernel and in ours show the same.

What Jupyter itself shows differently when it is asked again does not count: a session with a
difference is run once more there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.compat import comparison, differences, jupyter, sessions
from tests.compat.outcome import Outcome

Outcomes = tuple[list[Outcome], list[Outcome]]


@pytest.fixture(scope="module")
def bench(guest_python: Path, tmp_path_factory: pytest.TempPathFactory) -> comparison.Bench:
    if not jupyter.is_of_our_python(guest_python):
        pytest.skip("the reference needs a guest environment of the tests' own Python version")
    links = tmp_path_factory.mktemp("reference") / "overlay"
    links.mkdir()
    overlay = jupyter.overlay(links)
    jupyter.list_fonts(guest_python, overlay)
    return comparison.Bench(guest_python, overlay, tmp_path_factory.mktemp("sessions"))


@pytest.fixture(scope="module")
def running(
    bench: comparison.Bench, request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[Outcomes]]]:
    """All sessions that were asked for, at once: kernels wait a lot."""
    asked = [getattr(item, "callspec", None) for item in request.session.items]
    names = {call.params["name"] for call in asked if call and "name" in call.params}
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        yield {
            name: threads.submit(bench.at(name).both, sessions.cells(name))
            for name in sessions.names()
            if name in names
        }


@pytest.mark.parametrize("name", sessions.names())
def test_cells_show_what_they_show_in_jupyter(
    name: str, bench: comparison.Bench, running: dict[str, Future[Outcomes]]
) -> None:
    cells = sessions.cells(name)
    reference, ours = running[name].result()

    marked = {c.number for c in cells if c.difference}
    unlike = {c.number for c in cells if reference[c.number - 1].unlike(ours[c.number - 1])}
    if unlike - marked:
        again = bench.at(name).again(cells)
        repeated = {n for n in unlike if not reference[n - 1].unlike(again[n - 1])}
        unlike = (unlike & marked) | (unlike & repeated)
    told = [
        comparison.report(c, reference[c.number - 1], ours[c.number - 1])
        for c in cells
        if c.number in unlike - marked
    ]
    assert not told, "\n".join(told)
    assert unlike >= marked, f"the same by now: {sorted(marked - unlike)}"


def test_every_difference_is_used_and_has_a_reason() -> None:
    used = {c.difference for name in sessions.names() for c in sessions.cells(name)} - {""}

    assert used == differences.REASONS.keys()


def test_there_are_several_hundred_cells() -> None:
    assert sum(len(sessions.cells(name)) for name in sessions.names()) >= 400
