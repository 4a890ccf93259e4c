"""Line charts as SVG, written by hand: small, the same for the same numbers, dark where it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.samples import number

_WIDTH, _HEIGHT = 760, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 240, 48, 44
# Told apart also by those who see few colours; brighter on dark ground.
_LIGHT = ("#0060a8", "#c44e00", "#00785a", "#a83c86", "#57606a", "#8a6d00")
_DARK = ("#6cb6ff", "#ff9a57", "#3fd0a0", "#ee8fce", "#adbac7", "#e3c04a")


@dataclass(frozen=True, slots=True)
class Series:
    """One line. points: (sessions alive, value), both above zero."""

    name: str
    points: Sequence[tuple[float, float]]


def chart(title: str, unit: str, series: Sequence[Series]) -> str:
    """Return an SVG with both axes logarithmic."""
    scale = _Scale([point for line in series for point in line.points])
    parts = [_head(), f'<text class="title" x="16" y="26">{title}, {unit}</text>']
    parts += scale.axes()
    labels = _spread([scale.y(line.points[-1][1]) for line in series])
    for index, (line, label_y) in enumerate(zip(series, labels, strict=True)):
        places = [(f"{scale.x(x):.1f}", f"{scale.y(y):.1f}") for x, y in line.points]
        path = "L".join(f"{x} {y}" for x, y in places)
        parts.append(f'<path class="line c{index}" d="M{path}"/>')
        parts += [f'<circle class="dot c{index}" cx="{x}" cy="{y}"/>' for x, y in places]
        label = f"{line.name}, {number(line.points[-1][1])}"
        place = f'x="{_WIDTH - _RIGHT + 14}" y="{label_y + 4:.1f}"'
        parts.append(f'<text class="label c{index}" {place}>{label}</text>')
    return "\n".join([*parts, "</svg>", ""])


class _Scale:
    """Where values lie in the picture."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        self._counts = sorted({x for x, _ in points})
        values = [y for _, y in points]
        self._low = math.floor(math.log10(min(values)))
        self._high = max(self._low + 1, math.ceil(math.log10(max(values))))

    def x(self, count: float) -> float:
        share = math.log10(count) / (math.log10(self._counts[-1]) or 1.0)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def axes(self) -> Iterator[str]:
        for value in (10.0**power for power in range(self._low, self._high + 1)):
            y = self.y(value)
            yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
            label = f"{value:,.0f}" if value >= 1 else f"{value:g}"
            yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
        below = _HEIGHT - _BOTTOM + 18
        for count in self._counts:
            place = f'x="{self.x(count):.1f}" y="{below}"'
            yield f'<text {place} text-anchor="middle">{count:,.0f}</text>'
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        place = f'x="{middle}" y="{_HEIGHT - 8}"'
        yield f'<text {place} text-anchor="middle">sessions alive, idle</text>'


def _spread(wanted: Sequence[float], apart: float = 16.0) -> list[float]:
    """Move labels downwards until none covers another."""
    placed = list(wanted)
    above = -math.inf
    for index in sorted(range(len(placed)), key=placed.__getitem__):
        placed[index] = above = max(placed[index], above + apart)
    return placed


def _head() -> str:
    def colours(values: Sequence[str], ink: str, ground: str, grid: str) -> str:
        rules = [f"text{{fill:{ink}}}.ground{{fill:{ground}}}.grid{{stroke:{grid}}}"]
        for index, colour in enumerate(values):
            rules.append(f".line.c{index}{{stroke:{colour}}}")
            rules.append(f".dot.c{index},.label.c{index}{{fill:{colour}}}")
        return "".join(rules)

    light = colours(_LIGHT, "#24292f", "#ffffff", "#d8dee4")
    dark = colours(_DARK, "#d1d7e0", "#151b23", "#3d444d")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}">\n'
        "<style>text{font:12px system-ui,sans-serif}.title{font-weight:600;font-size:15px}"
        ".line{fill:none;stroke-width:2}.dot{r:3px}"
        f"{light}@media(prefers-color-scheme:dark){{{dark}}}</style>\n"
        '<rect class="ground" width="100%" height="100%" rx="6"/>'
    )
