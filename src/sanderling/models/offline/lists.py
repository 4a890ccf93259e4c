"""Rules for values written in the question: lists of numbers or words, JSON, temperatures."""

from __future__ import annotations

import re
from typing import Any

from sanderling.models.offline.language import inline_json, literal_list, numbers
from sanderling.models.offline.plan import Plan, Shown, join, listing, render, tell_facts

# What may be asked of a list of numbers: pattern -> source lines.
_STATISTICS: list[tuple[str, list[str]]] = [
    (
        r"standard deviation|std\.? ?dev|stdev|\bstd\b",
        [
            'print(f"standard deviation (whole population): {statistics.pstdev(values):.10g}")',
            'print(f"standard deviation (sample): {statistics.stdev(values):.10g}")',
        ],
    ),
    (
        r"varianc",
        [
            'print(f"variance (whole population): {statistics.pvariance(values):.10g}")',
            'print(f"variance (sample): {statistics.variance(values):.10g}")',
        ],
    ),
    (r"\bmean\b|averag", ['print(f"mean: {statistics.fmean(values):.10g}")']),
    (r"median", ['print(f"median: {statistics.median(values):.10g}")']),
    (r"\bmode\b|most (?:common|frequent)", ['print("mode:", statistics.multimode(values))']),
    (r"\bsum\b|total|add up", ['print(f"sum: {sum(values):.10g}")']),
    (r"product", ['print(f"product: {math.prod(values):.10g}")']),
    (r"\bmin|smallest|lowest", ['print(f"minimum: {min(values):.10g}")']),
    (r"\bmax|largest|biggest|highest", ['print(f"maximum: {max(values):.10g}")']),
    (r"\brange\b", ['print(f"range: {max(values) - min(values):.10g}")']),
    (r"quartile|percentile", ['print("quartiles:", statistics.quantiles(values, n=4))']),
    (r"how many|\bcount", ['print("count:", len(values))']),
]
_ORDER = [
    (r"descending|largest first|reverse", ['print("sorted:", sorted(values, reverse=True))']),
    (r"\bsort|ascending|\border\b", ['print("sorted:", sorted(values))']),
    (
        r"duplicat|repeated",
        [
            "duplicates = {value: n for value, n in Counter(values).items() if n > 1}",
            'print("duplicates:", duplicates or "none")',
        ],
    ),
    (r"unique|distinct", ['print("distinct values:", list(dict.fromkeys(values)))']),
]
_CROSS_CHECK = """
    # Cross-check with an independent method.
    import numpy

    print(f"mean by numpy: {numpy.mean(values):.10g}")
    print(f"standard deviation by numpy: {numpy.std(values):.10g}")
"""
_CHART = """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5))
    axes.@@draw@@(@@arguments@@)
    axes.set_title(@title@)
    figure.tight_layout()
    figure.savefig(@path@, dpi=120)
    print("saved:", @path@)
"""


def values(question: str, target: str | None) -> Plan | None:
    """Statistics, order, duplicates or a chart of a list: `the standard deviation of [3, 1, 4]`."""
    found = literal_list(question)
    if found is None:
        return None
    text = question.lower()
    are_numbers = all(isinstance(item, int | float) for item in found)
    body = _matching(_ORDER[:1], text) or _matching(_ORDER[1:2], text)
    body += _matching(_ORDER[2:], text)
    if are_numbers:
        body += _matching(_STATISTICS, text)
    chart = _chart(text, target) if are_numbers else ""
    if not body and not chart:
        if not are_numbers and not re.search(r"list|values|words|items", text):
            return None
        body = _summary(are_numbers)
    head = (
        f"import math\nimport statistics\nfrom collections import Counter\n\nvalues = {found!r}\n\n"
    )
    check = (
        _CROSS_CHECK if are_numbers and re.search(r"cross.?check|verify|independent", text) else ""
    )
    code = _without_unused_imports(head + "\n".join(body) + "\n" + render(check) + "\n" + chart)
    kind = "numbers" if are_numbers else "values"
    return Plan(
        code.strip("\n") + "\n",
        tell_facts(f"For the {len(found)} {kind} you gave, Python computed:"),
    )


def temperatures(question: str) -> Plan | None:
    """Convert temperatures between Fahrenheit and Celsius."""
    text = question.lower()
    if not ("fahrenheit" in text and "celsius" in text) and not re.search(
        r"°\s?[fc]\b.*°\s?[fc]\b", text
    ):
        return None
    found = literal_list(question) or numbers(question)
    if not found or not all(isinstance(item, int | float) for item in found):
        return None
    to_celsius = not re.search(
        r"(?:celsius|°\s?c)\b.*?\b(?:to|in|into)\b.*?(?:fahrenheit|°\s?f)", text
    )
    code = render(
        """
        values = @values@

        for value in values:
            converted = @@formula@@
            print(f"{value:g} °@@source@@: {converted:.4g} °@@target@@")
        """,
        values=found,
        formula="(value - 32) * 5 / 9" if to_celsius else "value * 9 / 5 + 32",
        source="F" if to_celsius else "C",
        target="C" if to_celsius else "F",
    )

    def explain(shown: Shown) -> str:
        return join(
            "Converted with Python:", "\n".join(f"- {a} is {b}" for a, b in shown.facts.items())
        )

    return Plan(code, explain)


def json_text(question: str) -> Plan | None:
    """Numbers in JSON that stands in the question: `Parse this JSON and tell me the average`."""
    text = inline_json(question)
    if text is None:
        return None
    outside = question.replace(text, " ")
    return json_numbers(f"json.loads({text!r})", outside)


def json_numbers(source: str, question: str) -> Plan:
    """Measure the numbers that stand below each name of a JSON value; `source` yields the value."""
    text = question.lower()
    measures = _measures(text)
    lines = "\n".join(
        f'    print(f"{name} of {{key}}: {{{call}:.10g}}")' for name, call in measures
    )
    overall = "\n".join(
        f'print(f"{name} of all numbers: {{{call}:.10g}}")' for name, call in measures
    )
    code = render(_JSON, source=source) + (
        f"for key, found in groups.items():\n{lines}\n"
        f"if len(groups) > 1:\n    found = [n for part in groups.values() for n in part]\n"
        f"    {overall.replace(chr(10), chr(10) + '    ')}\n"
    )

    def explain(shown: Shown) -> str:
        if not shown.facts:
            return "The JSON holds no numbers."
        return join("I parsed the JSON with Python:", listing(shown.facts))

    return Plan(code, explain)


_JSON = """
    import json
    import statistics


    def numbers(value, key="value"):
        if isinstance(value, dict):
            for name, part in value.items():
                yield from numbers(part, name)
        elif isinstance(value, list):
            for part in value:
                yield from numbers(part, key)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield key, value


    groups = {}
    for key, number in numbers(@@source@@):
        groups.setdefault(key, []).append(number)

"""
_MEASURES = {
    "average": (r"averag|\bmean\b", "statistics.fmean(found)"),
    "sum": (r"\bsum\b|total", "sum(found)"),
    "median": (r"median", "statistics.median(found)"),
    "minimum": (r"\bmin|smallest|lowest", "min(found)"),
    "maximum": (r"\bmax|largest|highest", "max(found)"),
    "count": (r"count|how many", "len(found)"),
}


def _measures(text: str) -> list[tuple[str, str]]:
    asked = [
        (name, call) for name, (pattern, call) in _MEASURES.items() if re.search(pattern, text)
    ]
    return asked or [(name, _MEASURES[name][1]) for name in ("count", "sum", "average")]


def _matching(rules: list[tuple[str, list[str]]], text: str) -> list[str]:
    return [line for pattern, lines in rules if re.search(pattern, text) for line in lines]


def _summary(are_numbers: bool) -> list[str]:
    asked = "count sum mean median std minimum maximum" if are_numbers else ""
    return (
        _matching(_STATISTICS, asked) if are_numbers else _matching(_ORDER[1:], "sort duplicates")
    )


def _chart(text: str, target: str | None) -> str:
    if not re.search(r"\bplot|chart|graph|histogram|draw", text):
        return ""
    kinds: list[tuple[str, str, str]] = [
        (r"histogram", "hist", "values"),
        (r"\bbar", "bar", "range(1, len(values) + 1), values"),
        (r"\bpie", "pie", "values"),
        (r"", "plot", 'range(1, len(values) + 1), values, marker="o"'),
    ]
    _, draw, arguments = next(kind for kind in kinds if re.search(kind[0], text))
    path = f"/mnt/data/{target or 'chart.png'}"
    return render(_CHART, draw=draw, arguments=arguments, title="The values given", path=path)


def _without_unused_imports(code: str) -> str:
    unused: list[tuple[str, Any]] = [
        ("import math\n", "math."),
        ("import statistics\n", "statistics."),
        ("from collections import Counter\n", "Counter("),
    ]
    for line, use in unused:
        if use not in code.replace(line, ""):
            code = code.replace(line, "")
    return code
