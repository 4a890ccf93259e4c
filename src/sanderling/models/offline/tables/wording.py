"""What the words of a question mean for a table: columns, periods, measures, charts."""

from __future__ import annotations

import re

MEASURES = {  # word -> (pandas method, word for people)
    "average": ("mean", "average"),
    "mean": ("mean", "average"),
    "avg": ("mean", "average"),
    "median": ("median", "median"),
    "maximum": ("max", "highest"),
    "max": ("max", "highest"),
    "highest": ("max", "highest"),
    "minimum": ("min", "lowest"),
    "min": ("min", "lowest"),
    "lowest": ("min", "lowest"),
    "number": ("count", "number of"),
    "count": ("count", "number of"),
    "many": ("count", "number of"),
    "total": ("sum", "total"),
    "sum": ("sum", "total"),
}
PERIODS = {"day": "D", "week": "W", "month": "M", "quarter": "Q", "year": "Y"}
PERIOD_WORDS = {"daily": "day", "weekly": "week", "monthly": "month", "quarterly": "quarter"} | {
    "yearly": "year",
    "annual": "year",
}
PERIOD_ADJECTIVE = rf"\b(?:{'|'.join(PERIOD_WORDS)})\s+(\w+)"
# Words before "by" that are not a column.
NO_COLUMN = frozenset(
    "sort sorted multiply multiplied divide divided group grouped broken split order ordered shown"
    " it them rows data chart values numbers file table down plot graph rate growth".split()
)
BY = re.compile(
    r"\b(\w+)\s+(?:by|per|for each|for every|grouped by|in each|across)\s+(?:the\s+|each\s+)?(\w+)",
    re.IGNORECASE,
)
ASKS_FOR_CHART = re.compile(
    r"\b(plot|chart|graph|histogram|scatter|visuali[sz]e|draw|pie)\b", re.IGNORECASE
)


def said_columns(text: str) -> tuple[str | None, str | None]:
    """Return the columns that the words before and after `by` name: values, groups."""
    for match in BY.finditer(text):
        value, group = match[1].lower(), match[2].lower()
        if re.match(r"\d", group) or group in {"hand", "default", "using", "the"} | NO_COLUMN:
            continue
        is_column = value not in NO_COLUMN and value not in MEASURES
        return (match[1] if is_column else None), match[2]
    return None, None


def said_period(text: str, group: str | None) -> str | None:
    if group is not None:
        word = group.lower().rstrip("s")
        return word if word in PERIODS else None
    return next((period for word, period in PERIOD_WORDS.items() if word in text.lower()), None)


def said_measure(text: str, *, default: str) -> tuple[str, str]:
    words = re.findall(r"\w+", text.lower())
    return next((MEASURES[word] for word in words if word in MEASURES), MEASURES[default])
