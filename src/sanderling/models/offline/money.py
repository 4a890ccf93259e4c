"""Rules for money: interest and return on investment, from figures in the question."""

from __future__ import annotations

import re

from sanderling.models.offline.language import numbers
from sanderling.models.offline.plan import Plan, Shown, join, render

_AMOUNT = (
    r"(?:[$€£]\s?(\d[\d,]*(?:\.\d+)?)"
    r"|(?<![\d,])(\d[\d,]*(?:\.\d+)?)\s?(?:dollars|euros|pounds|usd|eur))"
)
_SCALE = {"k": 1e3, "thousand": 1e3, "million": 1e6, "m": 1e6}
_MONEY_WORDS = re.compile(
    r"\b(?:(?P<spent>costs?|spent|spend|invest\w*|expenses?|paid|budget)"
    r"|(?P<back>revenues?|return(?:s|ed)?|sales|income|earned|sold|proceeds|gain\w*|brought))\b"
)
_PER_YEAR = {
    "annual": 1,
    "year": 1,
    "semi": 2,
    "quarter": 4,
    "month": 12,
    "week": 52,
    "dai": 365,
    "day": 365,
}


def interest(question: str) -> Plan | None:
    """What a sum grows to: `compound interest on $10,000 at 7% for 20 years`."""
    text = question.lower()
    amount = _amounts(text)
    rate = re.search(r"(?<![\d.])(\d+(?:\.\d+)?)\s?(?:%|percent|per cent)", text)
    years = re.search(r"(?<![\d.])(\d+(?:\.\d+)?)\s?-?(?:years?|yrs?)\b", text)
    if not (amount and rate and years) or not re.search(r"interest|grow|invest|compound|sav", text):
        return None
    simple = "simple interest" in text
    code = render(
        _SIMPLE if simple else _COMPOUND,
        principal=_plain(amount[0]),
        rate=f"{_plain(float(rate[1]))} / 100",
        years=_plain(float(years[1])),
        times=_times_per_year(text),
    ).replace("'", "")
    kind = "simple" if simple else "compound"
    sign = next((s for s in "$€£" if s in question), "")

    def explain(shown: Shown) -> str:
        facts = shown.facts
        return join(
            f"{sign}{facts['principal']} at {rate[1]}% for {years[1]} years grows to "
            f"**{sign}{facts['final amount']}**.",
            f"Of that, **{sign}{facts['interest']}** is {kind} interest.",
        )

    return Plan(code, explain)


_COMPOUND = """
    principal = @principal@
    rate = @rate@
    years = @years@
    times_per_year = @times@

    final = principal * (1 + rate / times_per_year) ** (times_per_year * years)
    print(f"principal: {principal:,.2f}")
    print(f"final amount: {final:,.2f}")
    print(f"interest: {final - principal:,.2f}")
"""
_SIMPLE = """
    principal = @principal@
    rate = @rate@
    years = @years@

    interest = principal * rate * years
    print(f"principal: {principal:,.2f}")
    print(f"final amount: {principal + interest:,.2f}")
    print(f"interest: {interest:,.2f}")
"""


def return_on_investment(question: str) -> Plan | None:
    """ROI of figures in the question: what was spent, what came back."""
    text = question.lower()
    if not re.search(r"\broi\b|return on investment", text):
        return None
    spent, back = _figures(text)
    figures = _amounts(text) or numbers(text)
    if spent is None and back is None and len(figures) == 2:
        spent, back = figures
    if spent is None or back is None:
        return None
    code = render(_ROI, spent=spent, back=back)

    def explain(shown: Shown) -> str:
        facts = shown.facts
        return (
            f"Spending {facts['invested']} and getting back {facts['returned']} is a profit of "
            f"{facts['profit']}: a return on investment of **{facts['ROI']}**."
        )

    return Plan(code, explain)


_ROI = """
    invested = @spent@
    returned = @back@

    profit = returned - invested
    print(f"invested: {invested:,.2f}")
    print(f"returned: {returned:,.2f}")
    print(f"profit: {profit:,.2f}")
    print(f"ROI: {profit / invested:.2%}")
"""


def _amounts(text: str) -> list[float]:
    found = []
    for match in re.finditer(_AMOUNT + r"\s?(k|m|thousand|million)?\b", text):
        value = float((match[1] or match[2]).replace(",", ""))
        found.append(value * _SCALE.get(match[3] or "", 1))
    if not found and (match2 := re.search(r"\bon (\d[\d,]*(?:\.\d+)?)\b(?!\s?%)", text)):
        found.append(float(match2[1].replace(",", "")))
    return found


def _figures(text: str) -> tuple[float | None, float | None]:
    """Return what was spent and what came back: each number belongs to the last word before it."""
    spent: float | None = None
    back: float | None = None
    for match in re.finditer(r"\d[\d,]*(?:\.\d+)?", text):
        words = list(_MONEY_WORDS.finditer(text, max(0, match.start() - 40), match.start()))
        if not words:
            continue
        value = float(match[0].rstrip(",").replace(",", ""))
        if words[-1]["spent"] and spent is None:
            spent = value
        elif words[-1]["back"] and back is None:
            back = value
    return spent, back


def _times_per_year(text: str) -> int:
    word = re.search(r"compounded\s+(\w+)", text)
    if word is None:
        return 1
    return next((times for start, times in _PER_YEAR.items() if word[1].startswith(start)), 1)


def _plain(value: float) -> str:
    return f"{value:g}" if value < 1e6 else f"{value:.0f}"
