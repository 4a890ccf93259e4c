"""
What a matplotlib figure shows, as data: axes with their labels, series with their points.

Read after the figure was drawn, from what is already there. Bounded whatever the figure holds, and
never the reason for which a picture is not shown: a figure that cannot be read has no data.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import weakref
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any, cast

from sanderling.kernel import protocol

POINTS_MAX = 4000  # of one figure, evenly left out beyond
AXES_MAX = 24
SERIES_MAX = 100
_TICKS_MAX = 50
_TEXT_CHARS_MAX = 200
_BYTES_MAX = 256 << 10
_BOX = ("whislo", "q1", "med", "q3", "whishi")  # as matplotlib names them

Series = dict[str, Any]


class Charts:
    """Reads figures. Knows of boxes and whiskers only what was drawn since it was installed."""

    def __init__(self) -> None:
        # Axes -> what `bxp` was given, and the lines it drew.
        self._boxes: weakref.WeakKeyDictionary[Any, list[tuple[Any, set[int]]]] = (
            weakref.WeakKeyDictionary()
        )

    def wrap_axes(self, module: ModuleType) -> None:
        """Have box plots say what they are made of."""
        axes_class: Any = cast("Any", module).Axes
        bxp = axes_class.bxp

        def bxp_and_remember(axes: Any, bxpstats: Any, *args: Any, **kwargs: Any) -> Any:
            drawn = bxp(axes, bxpstats, *args, **kwargs)
            lines = {id(line) for group in drawn.values() for line in group}
            self._boxes.setdefault(axes, []).append((bxpstats, lines))
            return drawn

        bxp_and_remember.__doc__ = bxp.__doc__
        axes_class.bxp = bxp_and_remember

    def part_of(self, figure: Any) -> tuple[tuple[str, bytes], ...]:
        """Return what a figure shows as a part of its picture; nothing if it cannot be read."""
        try:
            given = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
            axes = [self._axes(axes) for axes in given[:AXES_MAX]]
            if not any(found["series"] for found in axes):
                return ()
            _bound_points(axes)
            heading = getattr(figure, "_suptitle", None)
            chart = {"title": _text(heading.get_text() if heading else ""), "axes": axes}
            data = json.dumps(chart, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
        except Exception:  # noqa: BLE001 - user code, and whatever libraries make of figures
            return ()
        return ((protocol.CHART_TYPE, data),) if len(data) <= _BYTES_MAX else ()

    def _axes(self, axes: Any) -> dict[str, Any]:
        boxes = self._boxes.get(axes, [])
        found: dict[str, Any] = {
            "title": _text(axes.get_title()),
            "x": _axis(axes.xaxis, axes.get_xlim()),
            "y": _axis(axes.yaxis, axes.get_ylim()),
            "series": [],
        }
        if axes.name != "rectilinear":
            found["projection"] = axes.name
        if axes.name == "3d":
            return found
        drawn = set().union(*(lines for _, lines in boxes)) if boxes else set[int]()
        sources: tuple[Iterable[Series], ...] = (
            _box_series(stats for stats, _ in boxes),
            _bar_series(axes),
            (_line(line) for line in axes.lines if id(line) not in drawn),
            _collection_series(axes),
            _pie_series(axes),
            (_image(image) for image in axes.images),
        )
        found["series"] = [s for source in sources for s in source][:SERIES_MAX]
        return found


def _axis(axis: Any, limits: tuple[float, float]) -> dict[str, Any]:
    low, high = sorted(limits)
    ticks = []
    count = min(_TICKS_MAX, len(axis.get_majorticklocs()))  # behind them stand old ones
    for tick in axis.majorTicks[:count]:
        place = tick.get_loc()
        text = tick.label1.get_text()
        if text and place is not None and low <= place <= high:
            ticks.append({"at": _value(float(place)), "label": _text(text)})
    return {"label": _text(axis.label.get_text()), "scale": axis.get_scale(), "ticks": ticks}


# ---- series -------------------------------------------------------------------------------------


def _series(kind: str, label: object, **values: Any) -> Series:
    name = "" if label is None else str(label)
    return {"kind": kind, "label": "" if name.startswith("_") else _text(name), **values}


def _line(line: Any) -> Series:
    # What was given: dates and categories, not the numbers they stand at.
    x, y = line.get_xdata(orig=True), line.get_ydata(orig=True)
    is_points = line.get_linestyle() in ("None", "", " ") and line.get_marker() not in ("None", "")
    return _series("scatter" if is_points else "line", line.get_label(), x=_list(x), y=_list(y))


def _bar_series(axes: Any) -> Iterator[Series]:
    for container in axes.containers:
        patches = getattr(container, "patches", None)
        if not patches or not hasattr(patches[0], "get_height"):
            continue
        is_upright = getattr(container, "orientation", "vertical") != "horizontal"
        starts, sizes, widths = [], [], []
        for patch in patches[:POINTS_MAX]:
            width, height = patch.get_width(), patch.get_height()
            starts.append(patch.get_x() if is_upright else patch.get_y())
            widths.append(width if is_upright else height)
            sizes.append(height if is_upright else width)
        if _is_histogram(starts, widths):
            edges = [*starts, starts[-1] + widths[-1]]
            values: Series = {"edges": _list(edges), "counts": _list(sizes)}
            yield _series("hist", container.get_label(), **values)
            continue
        axis = axes.xaxis if is_upright else axes.yaxis
        middles = [start + width / 2 for start, width in zip(starts, widths, strict=True)]
        places = _named(axis, middles)
        x, y = (places, _list(sizes)) if is_upright else (_list(sizes), places)
        yield _series("bar", container.get_label(), x=x, y=y)


def _is_histogram(starts: list[float], widths: list[float]) -> bool:
    """Whether the bars stand side by side without a gap."""
    if len(starts) < 2:
        return False
    ends = zip(starts[1:], starts, widths, strict=False)
    return all(math.isclose(b, a + w, rel_tol=1e-6, abs_tol=abs(w) * 1e-6) for b, a, w in ends)


def _named(axis: Any, places: list[float]) -> list[Any]:
    """Return the names of categories where they stand, else the places."""
    labels = {
        round(float(tick.get_loc()), 6): tick.label1.get_text()
        for tick in axis.majorTicks[:POINTS_MAX]
        if tick.get_loc() is not None
    }
    formatter = type(axis.get_major_formatter()).__name__
    if formatter not in ("FixedFormatter", "StrCategoryFormatter", "FuncFormatter"):
        return _list(places)
    return [_text(labels.get(round(float(place), 6)) or str(place)) for place in places]


def _collection_series(axes: Any) -> Iterator[Series]:
    for collection in axes.collections:
        kind = type(collection).__name__
        if kind == "PathCollection":
            offsets = collection.get_offsets()
            yield _series(
                "scatter", collection.get_label(), x=_list(offsets[:, 0]), y=_list(offsets[:, 1])
            )
        elif kind == "QuadMesh":
            yield _grid("heatmap", collection.get_label(), collection.get_array())


def _image(image: Any) -> Series:
    return _grid("image", image.get_label(), image.get_array())


def _grid(kind: str, label: object, array: Any) -> Series:
    found = _series(kind, label, shape=list(array.shape))
    if array.ndim == 2 and array.size <= POINTS_MAX // 4:
        found["values"] = [_list(row) for row in array]
    return found


def _pie_series(axes: Any) -> Iterator[Series]:
    wedges = [p for p in axes.patches if type(p).__name__ == "Wedge"]
    if wedges:
        shares = [(wedge.theta2 - wedge.theta1) / 360 for wedge in wedges[:POINTS_MAX]]
        names = [_text(wedge.get_label()) for wedge in wedges[:POINTS_MAX]]
        yield _series("pie", "", labels=names, shares=[round(share, 6) for share in shares])


def _box_series(groups: Iterable[Any]) -> Iterator[Series]:
    for stats in groups:
        for box in stats:
            numbers = {name: _value(box.get(name)) for name in _BOX}
            outliers = _list(box.get("fliers", ()))
            yield _series("box", box.get("label", ""), **numbers, outliers=outliers)


# ---- values -------------------------------------------------------------------------------------


def _bound_points(axes: list[dict[str, Any]]) -> None:
    """Leave out points evenly where there are too many in all; a series then says how many."""
    lists = [
        (series, name)
        for found in axes
        for series in found["series"]
        for name, value in series.items()
        if isinstance(value, list) and name in ("x", "y", "edges", "counts", "outliers")
    ]
    total = sum(len(series[name]) for series, name in lists) // 2
    if total <= POINTS_MAX:
        return
    step = -(-total // POINTS_MAX)
    for series, name in lists:
        series.setdefault("points", len(series[name]))
        series[name] = series[name][::step]


def _list(values: Any) -> list[Any]:
    """Return values as JSON has them, at most a few more than can be kept."""
    size = len(values)
    if size > 4 * POINTS_MAX:
        values = values[:: -(-size // POINTS_MAX)]
    kind = getattr(getattr(values, "dtype", None), "kind", "")
    if kind in "iub" and kind:
        return list(values.tolist())
    if kind == "f":
        return [None if v is None or not math.isfinite(v) else v for v in values.tolist()]
    return [_value(v) for v in values]


def _value(value: Any) -> Any:
    if hasattr(value, "item") and hasattr(value, "dtype") and value.dtype.kind != "M":
        value = value.item()
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dt.date):
        return value.isoformat()
    return None if value is None else _text(str(value))


def _text(text: object) -> str:
    return protocol.clean(str(text), _TEXT_CHARS_MAX)
