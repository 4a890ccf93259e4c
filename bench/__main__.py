"""
`make bench`: measure Sanderling and its peers, side by side, in one run on one machine.

It prints tables and writes docs/benchmarks.md and its plots. A part that is measured alone replaces
only its own part of the page. Nothing is asserted: the page says which goals are met.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import conductor, engine, over_http, peers, plots, report
from bench.conductor import Driver, PeerFailed
from bench.machine import Load, describe
from bench.measures import Measures, Values
from bench.peers.base import Place
from bench.samples import Figure
from sanderling.environments.environment import Environment
from sanderling.environments.locate import find

PAGE = conductor.TOP / "docs/benchmarks.md"
FOLDER = conductor.TOP / "docs/benchmarks"
COUNTS = (1, 10, 100, 300, 1000)
ROUNDS = 3  # everybody has a turn, then everybody again
BUDGET_S = 1.0  # of a turn; who has used up all turns' time has no further one
LARGE = {"memory", "burst", "lives"}  # once a turn is enough
SCALED = ("ours-pool", "ours", "fork", "ipykernel")

Section = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    sections = ",".join(SECTIONS)
    parser.add_argument("--only", default=sections, type=_list, help=f"of {sections}")
    parser.add_argument("--count", type=int, default=50, help="repetitions of what is quick")
    everybody = ",".join(peers.KEYS)
    parser.add_argument("--peers", default=everybody, type=_list, help=f"of {everybody}")
    parser.add_argument("--no-peers", action="store_const", const=[], dest="peers")
    parser.add_argument("--no-write", action="store_true", help="leave docs/ as it is")
    parser.add_argument("--env", type=Path, help="guest environment; default: the one set up")
    arguments = parser.parse_args()
    environment = find(arguments.env)
    results: dict[str, Section] = {}
    Load.now().warn()
    with conductor.workplace(environment) as place:
        for name in arguments.only:
            before = Load.now()
            section = SECTIONS[name](arguments, place, environment)
            after = Load.now()
            section["run"] = {
                "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
                "load_before": f"{before.load:.1f}",
                "load_after": f"{after.load:.1f}",
                "command": " ".join(["make bench", *_given()]),
                **describe(),
            }
            results[name] = section
    show(results)
    if not arguments.no_write:
        write(results)


def _list(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _given() -> list[str]:
    return [f'ARGS="{" ".join(sys.argv[1:])}"'] if sys.argv[1:] else []


# ---- the parts ---------------------------------------------------------------------------------


def measure_peers(arguments: argparse.Namespace, place: Place, environment: Environment) -> Section:
    """Ask everybody the same, in turn."""
    section: Section = {"contenders": {}, "figures": {}, "skipped": {}, "loads": {}}
    keys = [k for k in conductor.offered() if k in peers.OURS or k in arguments.peers]
    with contextlib.ExitStack() as stack:
        drivers = _open(keys, stack, section["skipped"], place, environment)
        values: dict[str, Values] = {driver.peer.key: {} for driver in drivers}
        for name in Measures.NAMES:
            say(f"Measuring {name} …")
            before = Load.now()
            each = 1 if name in LARGE else math.ceil(arguments.count / ROUNDS)
            spent_s = dict.fromkeys(values, 0.0)
            for _ in range(1 if name == "memory" else ROUNDS):  # what a turn leaves is memory too
                for driver in drivers:
                    key = driver.peer.key
                    if name in driver.peer.cannot or spent_s[key] > ROUNDS * BUDGET_S:
                        continue
                    started = time.monotonic()
                    found = _ask(driver, name, each, section["skipped"])
                    spent_s[key] += time.monotonic() - started
                    for figure, numbers in found.items():
                        values[key].setdefault(figure, []).extend(numbers)
            section["loads"][name] = [f"{before.load:.1f}", f"{Load.now().load:.1f}"]
        for driver in drivers:
            peer = driver.peer
            section["contenders"][peer.key] = {
                "title": peer.title,
                "isolation": peer.isolation,
                "version": driver.version,
                "remark": peer.remark,
                "cannot": dict(peer.cannot),
            }
            section["figures"][peer.key] = _figures(values[peer.key])
    return section


def measure_scale(arguments: argparse.Namespace, place: Place, environment: Environment) -> Section:
    """One after another, each with more and more sessions alive."""
    section: Section = {"contenders": {}, "figures": {}, "counts": [str(n) for n in COUNTS]}
    keys = [k for k in SCALED if k in peers.OURS or k in arguments.peers]
    for key in keys:
        with contextlib.ExitStack() as stack:
            for driver in _open([key], stack, {}, place, environment):
                section["contenders"][key] = driver.peer.title
                section["figures"][key] = by_count = {}
                for live in COUNTS:
                    if live > driver.peer.live_max:
                        break
                    say(f"Measuring {driver.peer.title} with {live:,} alive …")
                    try:
                        values = driver.scale(live, count=arguments.count, budget_s=BUDGET_S)
                    except PeerFailed as error:
                        say(f"  failed: {error}")
                        break
                    by_count[str(live)] = _figures(values)
    return section


def measure_engine(arguments: argparse.Namespace, place: Place, _: Environment) -> Section:
    say("Measuring boxes …")
    return {"figures": _figures(asyncio.run(engine.measure(place.env, arguments.count)))}


def measure_http(arguments: argparse.Namespace, place: Place, _: Environment) -> Section:
    say("Measuring the server …")
    return {"figures": _figures(over_http.measure(place.env, arguments.count))}


SECTIONS: dict[str, Callable[[argparse.Namespace, Place, Environment], Section]] = {
    "engine": measure_engine,
    "http": measure_http,
    "scale": measure_scale,
    "peers": measure_peers,
}


def _open(
    keys: Iterable[str],
    stack: contextlib.ExitStack,
    skipped: dict[str, str],
    place: Place,
    environment: Environment,
) -> list[Driver]:
    drivers = []
    for key in keys:
        peer = peers.load(key)
        say(f"Opening {peer.title} …")
        try:
            driver = Driver(peer, place, environment)
        except PeerFailed as error:
            say(f"  left out: {error}")
            skipped[peer.title] = str(error)
            continue
        stack.callback(driver.close)
        drivers.append(driver)
    return drivers


def _ask(driver: Driver, name: str, count: int, skipped: dict[str, str]) -> Values:
    try:
        return driver.measure(name, count=count, budget_s=BUDGET_S)
    except PeerFailed as error:
        say(f"  {driver.peer.title}: {name} failed: {error}")
        skipped[f"{driver.peer.title}: {name}"] = str(error)
        return {}


def _figures(values: Values) -> dict[str, dict[str, float]]:
    return {name: asdict(Figure.of(numbers)) for name, numbers in values.items() if numbers}


# ---- what is told ------------------------------------------------------------------------------


def show(results: dict[str, Section]) -> None:
    """Print what was measured in this run."""
    console = Console(width=max(150, int(os.environ.get("COLUMNS", "0"))))

    def table(title: str, headings: list[str], rows: list[list[str]]) -> None:
        table = Table(title=title)
        for heading in headings:
            table.add_column(heading)
        for row in rows:
            table.add_row(*row)
        console.print(table)

    if "peers" in results:
        table(
            "Medians, and how many times ours without pool",
            report.COMPARED_HEADINGS,
            report.compared_rows(results["peers"]),
        )
    measured = [row for row in report.goal_rows(results) if row[1] != "—"]
    table("Goals", report.GOAL_HEADINGS, measured)


def write(results: dict[str, Section]) -> None:
    """Put these results in the place of the same parts of earlier ones, and write the page."""
    FOLDER.mkdir(exist_ok=True)
    kept = FOLDER / "results.json"
    everything = (json.loads(kept.read_text()) if kept.exists() else {}) | results
    kept.write_text(json.dumps(everything, indent=1, sort_keys=False) + "\n")
    PAGE.write_text(report.markdown(everything))
    if "scale" in everything:
        for name, title, unit, lines in _PLOTS:
            series = _series(everything["scale"], lines)
            (FOLDER / f"{name}.svg").write_text(plots.chart(title, unit, series))
    say(f"Written: {PAGE.relative_to(conductor.TOP)}")


_PLOTS = (
    ("latency", "Latency against sessions alive (median)", "ms", (
        ("ipykernel", "imports", "ipykernel, create → pandas"),
        ("ours", "first_print", "no pool, create → print"),
        ("fork", "first_print", "raw fork, create → print"),
        ("ours-pool", "imports", "pool, create → pandas"),
        ("ours", "next", "execution"),
    )),
    ("memory", "Memory per idle session (libraries loaded)", "MiB", (
        ("ipykernel", "charged", "ipykernel, all"),
        ("ours", "charged", "Sanderling, all"),
        ("ours", "private", "Sanderling, private"),
        ("fork", "charged", "raw fork, all"),
    )),
)  # fmt: skip


def _series(section: Section, lines: Iterable[tuple[str, str, str]]) -> list[plots.Series]:
    series = []
    for key, figure, title in lines:
        by_count = section["figures"].get(key, {})
        points = [
            (int(count), figures[figure]["p50"])
            for count, figures in by_count.items()
            if figure in figures
        ]
        if points:
            series.append(plots.Series(title, points))
    return series


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
