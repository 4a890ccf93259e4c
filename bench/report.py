"""The page docs/benchmarks.md, from the results of the last runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.goals import GOALS, Results
from bench.samples import number

# figure → heading, unit, and whether more is better
COMPARED = {
    "first_print": ("first print", "ms"),
    "next": ("next cell", "ms"),
    "imports": ("imported", "ms"),
    "plot": ("first plot", "ms"),
    "burst": ("20 at once", "ms"),
    "lives": ("lives", "/s"),
    "private": ("private memory", "MiB"),
    "charged": ("all memory", "MiB"),
}
OWN = {
    "engine": {
        "echo": ("a message to a bare process and back", "ms"),
        "round_trip": ("execution, box asked directly", "ms"),
        "respawn": ("new kernel after a kill → first output", "ms"),
        "interrupt": ("`while True: pass` interrupted", "ms"),
    },
    "http": {
        "execution": ("execution, bare connection", "ms"),
        "execution_sdk": ("the same by the openai SDK", "ms"),
        "container": ("new container → pandas imported", "ms"),
        "run": ("response with one code call, offline model", "ms"),
        "live_line": ("line printed → event at the client", "ms"),
        "upload_mib": ("512 MiB uploaded: the server grows by", "MiB"),
        "upload_share": ("512 MiB uploaded: share of the bare disk's speed", "×"),
    },
}
SCALED = {
    "first_print": ("first print", "ms"),
    "imports": ("imported", "ms"),
    "next": ("next cell", "ms"),
    "private": ("private memory each", "MiB"),
    "charged": ("all memory each", "MiB"),
}
BASE = "ours"  # what "better by" compares with


def markdown(results: Results) -> str:
    """Return the page."""
    parts = [_text("head.md"), _goals(results)]
    if "peers" in results:
        parts += [_compared(results["peers"]), _details(results["peers"])]
    if "scale" in results:
        parts.append(_scaled(results["scale"]))
    for section, title in (("engine", "Boxes, asked directly"), ("http", "The whole server")):
        if section in results:
            parts.append(_own(results[section], title, OWN[section]))
    return "\n".join([*parts, _text("method.md")])


def goal_rows(results: Results) -> list[list[str]]:
    """Return what is promised, what was measured, and whether it is met."""
    rows = []
    for goal in GOALS:
        sign = "≥" if goal.is_rate else "≤"
        must = f"{sign} {goal.must:g} {goal.unit}"
        moonshot = "" if goal.moonshot is None else f"{sign} {goal.moonshot:g} {goal.unit}"
        try:
            value = goal.get(results)
        except KeyError:
            rows.append([goal.title, "—", must, "not measured", moonshot, ""])
            continue
        met = "met" if goal.is_met(value, goal.must) else "**not met**"
        far = ""
        if goal.moonshot is not None:
            far = "met" if goal.is_met(value, goal.moonshot) else "not met"
        rows.append([goal.title, f"{number(value)} {goal.unit}", must, met, moonshot, far])
    return rows


GOAL_HEADINGS = ["", "measured", "must", "", "moonshot", ""]


def compared_rows(section: Results) -> list[list[str]]:
    """Return a line per contender: medians, and how many times worse than ours without pool."""
    rows = []
    base = section["figures"].get(BASE, {})
    for key, about in section["contenders"].items():
        figures = section["figures"][key]
        cells = [_cell(figures, base, name, key) for name in COMPARED]
        rows.append([about["title"], about["isolation"], *cells])
    return rows


COMPARED_HEADINGS = ["", "isolation", *(f"{title}, {unit}" for title, unit in COMPARED.values())]


def _cell(figures: Results, base: Results, name: str, key: str) -> str:
    if name not in figures:
        return "—"
    value = figures[name]["p50"]
    if key == BASE or name not in base:
        return number(value)
    ratio = value / base[name]["p50"]
    if name == "lives":
        ratio = 1 / ratio
    return f"{number(value)} ({number(ratio)}×)"


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text()


def _goals(results: Results) -> str:
    text = _table(GOAL_HEADINGS, goal_rows(results))
    return (
        f"## Goals\n\nFor two cores, nobody else at work. Nothing here fails a build.\n\n{text}\n"
    )


def _compared(section: Results) -> str:
    text = "## Beside others\n\n" + _told(section["run"])
    text += (
        "\nMedians; in brackets how many times Sanderling's without pool (of lives per second: "
        "how many times fewer).\n\n"
    )
    text += _table(COMPARED_HEADINGS, compared_rows(section)) + "\n\n"
    for about in section["contenders"].values():
        why: dict[str, list[str]] = {}
        for name, reason in about["cannot"].items():
            why.setdefault(reason, []).append(COMPARED.get(name, ("memory", ""))[0])
        said = [f"{' and '.join(names)}: {reason}." for reason, names in why.items()]
        said = [s[0].upper() + s[1:] for s in [about["remark"], *said] if s]
        text += f"- **{about['title']}** ({about['version']}). {' '.join(said)}".rstrip() + "\n"
    for title, how in section["skipped"].items():
        text += f"- **{title}** was not measured: {how}\n"
    return text


def _details(section: Results) -> str:
    text = "### In full\n\nLeast / median / 99th percentile, and how many were taken.\n\n"
    rows = []
    for name, (title, unit) in COMPARED.items():
        for key, about in section["contenders"].items():
            if name in section["figures"][key]:
                row = _spread(section["figures"][key][name])
                rows.append([f"{title}, {unit}", about["title"], *row])
    text += _table(["", "", "least", "p50", "p99", "taken"], rows) + "\n\n"
    loads = [[name, *before_after] for name, before_after in section["loads"].items()]
    return text + _table(["", "load before", "load after"], loads) + "\n"


def _scaled(section: Results) -> str:
    text = "## Against the number of live containers\n\n" + _told(section["run"])
    text += "\n![latency](benchmarks/latency.svg)\n\n![memory](benchmarks/memory.svg)\n\n"
    rows = []
    for key, by_count in section["figures"].items():
        for name, (title, unit) in SCALED.items():
            cells = [
                number(by_count[count][name]["p50"]) if name in by_count.get(count, {}) else "—"
                for count in section["counts"]
            ]
            if set(cells) != {"—"}:
                rows.append([section["contenders"][key], f"{title}, {unit}", *cells])
    headings = ["", "", *(f"{int(count):,}" for count in section["counts"])]
    return text + _table(headings, rows) + "\n"


def _own(section: Results, title: str, names: dict[str, tuple[str, str]]) -> str:
    rows = [
        [f"{said}, {unit}", *_spread(section["figures"][name])]
        for name, (said, unit) in names.items()
    ]
    table = _table(["", "least", "p50", "p99", "taken"], rows)
    return f"## {title}\n\n{_told(section['run'])}\n{table}\n"


def _spread(figure: Results) -> list[str]:
    return [number(figure[name]) for name in ("least", "p50", "p99")] + [str(figure["count"])]


def _told(run: dict[str, Any]) -> str:
    return (
        f"{run['date']} · {run['machine']} · {run['system']} · Python {run['python']} · "
        f"sanderling {run['sanderling']} · load {run['load_before']} before, "
        f"{run['load_after']} after · `{run['command']}`\n"
    )


def _table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines)
