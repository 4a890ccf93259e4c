"""`%time` and `%timeit`, told in IPython's words."""

from __future__ import annotations

import cProfile
import gc
import io
import itertools
import math
import pstats
import re
import resource
import sys
import time
import timeit
from collections.abc import Callable
from typing import Any

_TIMEIT_RUNS = 7
_TIMEIT_SECONDS = 0.2  # what one run should take at least, for the clock's sake
_SLOW_TIMES = 4  # a run that took this many times the fastest is told of
_UNITS = ("s", "ms", "μs", "ns")
_LONG_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


class TimeitResult:
    """What `%timeit -o` returns."""

    def __init__(self, loops: int, runs: list[float], precision: int) -> None:
        self.loops, self.repeat = loops, len(runs)
        self.all_runs = runs
        self.timings = [seconds / loops for seconds in runs]
        self.best, self.worst = min(self.timings), max(self.timings)
        self.average = math.fsum(self.timings) / len(runs)
        spread = math.fsum((t - self.average) ** 2 for t in self.timings) / len(runs)
        self.stdev = spread**0.5
        self.compile_time = 0.0
        self._precision = precision

    def __str__(self) -> str:
        mean, spread = (duration(s, self._precision) for s in (self.average, self.stdev))
        runs = f"{self.repeat} run{'s' if self.repeat > 1 else ''}"
        loops = f"{self.loops:,} loop{'s' if self.loops > 1 else ''} each"
        return f"{mean} ± {spread} per loop (mean ± std. dev. of {runs}, {loops})"

    def __repr__(self) -> str:
        return f"<TimeitResult : {self}>"


def timed(call: Callable[[], object]) -> object:
    """Call, and print how long it took."""
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    try:
        return call()
    finally:
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
        user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
        print(
            f"CPU times: user {duration(user)}, sys: {duration(system)}, "
            f"total: {duration(user + system)}\nWall time: {duration(wall)}"
        )


def measure(statement: str, setup: str, options: dict[str, str], names: Any) -> TimeitResult | None:
    """Measure a statement as `%timeit` does; return what `-o` asks for."""
    clock = time.process_time if "c" in options else time.perf_counter
    timer = timeit.Timer(statement or "pass", setup or "pass", clock, globals=names)
    number = int(options.get("n", 0))
    if number == 0:
        for power in itertools.count():
            number = 10**power
            if timer.timeit(number) >= _TIMEIT_SECONDS:
                break
    runs = timer.repeat(max(1, int(options.get("r", _TIMEIT_RUNS))), number)
    result = TimeitResult(number, runs, int(options.get("p", 3)))
    if "q" not in options:
        if result.worst > _SLOW_TIMES * result.best and result.best > 0 and result.worst > 1e-6:
            print(
                f"The slowest run took {result.worst / result.best:0.2f} times longer than the "
                "fastest. This could mean that an intermediate result is being cached."
            )
        print(result)
    gc.collect(0)
    return result if "o" in options else None


def profile_options_of(arguments: str) -> tuple[dict[str, list[str]], str]:
    """Return the options and the rest of `-s cumulative -l 10 -q rest`."""
    options: dict[str, list[str]] = {}
    while match := re.match(r"\s*-([slDT])\s*(\S+)(?:\s|$)|\s*-([rq])(?:\s|$)", arguments):
        options.setdefault(match[1] or match[3], []).append(match[2] or "")
        arguments = arguments[match.end() :]
    return options, arguments.lstrip(" \t")


def told_of(profile: cProfile.Profile, options: dict[str, list[str]]) -> pstats.Stats:
    """Tell of a profile as `%prun` does; return its numbers."""
    stats = pstats.Stats(profile).strip_dirs().sort_stats(*options.get("s", ["time"]))
    stats.stream = io.StringIO()  # type: ignore[attr-defined]
    stats.print_stats(*map(_limit, options.get("l", [])))
    text = stats.stream.getvalue().rstrip()  # type: ignore[attr-defined]
    stats.stream = sys.stdout  # type: ignore[attr-defined]
    if "q" not in options:
        print(text)
    for path in options.get("D", []):
        profile.dump_stats(path)
        print(f"\n*** Profile stats marshalled to file {path!r}.")
    for path in options.get("T", []):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        print(f"\n*** Profile printout saved to text file {path!r}.")
    return stats


def _limit(word: str) -> int | float | str:
    """What `-l` restricts a profile to: lines, a share of them, or a pattern of names."""
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def duration(seconds: float, precision: int = 3) -> str:
    """A time as IPython writes it: 1.23 ms, 2min 3s."""
    if seconds >= 60:
        parts = []
        for unit, size in _LONG_UNITS:
            count, seconds = divmod(seconds, size)
            if count > 0:
                parts.append(f"{int(count)}{unit}")
        return " ".join(parts)
    order = min(-int(math.floor(math.log10(seconds)) // 3), 3) if seconds > 0 else 3
    return f"{seconds * 1000.0**order:.{precision}g} {_UNITS[order]}"


def options_of(arguments: str) -> tuple[dict[str, str], str]:
    """Return the options and the rest of `-n 10 -r 3 -q rest`."""
    options: dict[str, str] = {}
    while match := re.match(r"\s*-([nrp])\s*(\d+)(?:\s+|$)|\s*-([octqv])(?:\s+|$)", arguments):
        options[match[1] or match[3]] = match[2] or ""
        arguments = arguments[match.end() :]
    return options, arguments.lstrip(" \t")
