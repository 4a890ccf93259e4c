"""
What a value from the box says of itself beside its text or picture, checked.

It was written by the code of a cell: media types, sizes and counts were looked at when it arrived;
what is handed on as JSON is read here, once, and has only what JSON has, no deeper than charts are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sanderling.kernel.protocol import is_clean

CHART_TYPE = "application/vnd.sanderling.chart+json"
CHART_BYTES_MAX = 512 << 10
_DEPTH_MAX = 8


def data_of(parts: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return what people may be shown, by media type."""
    return {mime: text for mime, text in parts if mime != CHART_TYPE}


def chart_of(parts: Iterable[tuple[str, str]]) -> dict[str, Any] | None:
    """Return the data of a chart, or None if there is none that can be read."""
    text = dict(parts).get(CHART_TYPE, "")
    if not text or len(text) > CHART_BYTES_MAX:
        return None
    try:
        chart = json.loads(text, parse_constant=_refuse, parse_int=_integer)
    except (ValueError, RecursionError):
        return None
    return chart if isinstance(chart, dict) and _is_shallow(chart, _DEPTH_MAX) else None


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int | float:
    """As what every reader of JSON can hold."""
    return int(digits) if len(digits) < 16 else float(digits)


def _is_shallow(value: object, depth: int) -> bool:
    """Whether it is no deeper than that, and all in it can be written as JSON again."""
    if isinstance(value, str):
        return is_clean(value)
    if not isinstance(value, dict | list):
        return not (isinstance(value, float) and value in (float("inf"), float("-inf")))
    if depth == 0:
        return False
    inner = [*value, *value.values()] if isinstance(value, dict) else value
    return all(_is_shallow(item, depth - 1) for item in inner)
