"""Rules that add up: by group, by period, growth, seasons, the highest, and charts of them."""

from __future__ import annotations

import re

from sanderling.models.offline.plan import Plan, Shown, join, listing, render
from sanderling.models.offline.tables import reading, snippets
from sanderling.models.offline.tables.table import Table, careful, code, find, looked_up
from sanderling.models.offline.tables.wording import (
    ASKS_FOR_CHART,
    NO_COLUMN,
    PERIOD_ADJECTIVE,
    PERIODS,
    said_columns,
    said_measure,
    said_period,
)


def seasonal(text: str, table: Table) -> Plan | None:
    if not re.search(r"seasonal", text, re.IGNORECASE):
        return None
    how, word = said_measure(text, default="average")
    value, _ = said_columns(text)
    body = render(
        snippets.SEASONAL,
        value=find(value),
        when="date_column()",
        how=how,
        heading=f"{word} by month:",
        path=table.output("seasonality.png", "png"),
    )

    def explain(shown: Shown) -> str:
        facts, rows = shown.facts, shown.under(f"{word} by month")
        return join(
            f"The {word} {facts['column']} per month with seasonality removed is "
            f"**{facts['average, seasonality removed']}** on average ({facts['method']}).",
            listing(dict(list(rows.items())[:36])),
            shown.links,
        )

    return looked_up(table, body, explain)


def growth(text: str, table: Table) -> Plan | None:
    if not re.search(r"growth|(?:month|year)[- ]over[- ]|\bmom\b", text, re.IGNORECASE):
        return None
    period = next((p for p in ("year", "quarter", "week", "month") if p in text.lower()), "month")
    named = re.search(r"growth(?: rate)?(?: in| of)(?: the)? (\w+)", text)
    value = named[1] if named and named[1] not in {"this", "my", "the", "our"} else None
    body = render(snippets.GROWTH, value=find(value), when="date_column()", period=PERIODS[period])
    if ASKS_FOR_CHART.search(text):
        body += "\n" + snippets.chart(
            snippets.DRAW_TOTALS["line"], f"By {period}", table.output("growth.png", "png")
        )

    def explain(shown: Shown) -> str:
        return join(
            f"{period.capitalize()}-over-{period} growth of {shown.facts['column']} in "
            f"{table.name} is **{shown.facts['average growth']}** on average:",
            listing(shown.under("growth")),
            shown.links,
        )

    return looked_up(table, body, explain)


def top(text: str, table: Table) -> Plan | None:
    match = re.search(r"\btop (\d+) (\w+?)s? by (\w+)", text, re.IGNORECASE)
    if match is None:
        return None
    heading = f"top {match[1]} by {match[3]}:"
    body = render(
        snippets.TOP, group=find(match[2]), value=find(match[3]), count=match[1], heading=heading
    )
    body += totals_chart(text, table, f"Top {match[1]} by {match[3]}", "bar")

    def explain(shown: Shown) -> str:
        return join(
            f"The top {match[1]} of {table.name} by {match[3]}:",
            listing(shown.under(heading[:-1])),
            shown.links,
        )

    return looked_up(table, body, explain)


def grouped(text: str, table: Table) -> Plan | None:
    value, group = said_columns(text)
    period = said_period(text, group)
    if group is None and period is None:
        return None
    if group is None and (named := re.search(PERIOD_ADJECTIVE, text, re.IGNORECASE)) is not None:
        value = named[1] if named[1].lower() not in NO_COLUMN else None
    how, word = said_measure(text, default="total")
    name = f"{word} {value or 'value'} by {period or group}"
    title = f"{value or 'value'} by {period or group}".capitalize()
    drawn = totals_chart(text, table, title, "line" if period else "bar")

    def explain(shown: Shown) -> str:
        return tell_totals(shown, table, name)

    heading = name + ":"
    if period is not None:
        body = render(
            snippets.BY_PERIOD,
            value=find(value),
            when="date_column()",
            period=PERIODS[period],
            how=how,
            heading=heading,
        )
        return looked_up(table, body + drawn, explain)
    body = render(snippets.GROUPED, value=find(value), group=find(group), how=how, heading=heading)
    if value is None:
        return looked_up(table, body + drawn, explain)
    # The first try trusts the user's words; what it raises decides whether the second is needed.
    plain = render(
        snippets.PLAIN_GROUPED, value=repr(value), group=repr(group), how=how, heading=heading
    )
    read = reading.plain_reading(table.path, table.kind, sniff=False)
    again = careful(table, body + drawn, explain)
    return Plan(code(read, plain + drawn), explain, again)


def over_time(text: str, table: Table) -> Plan | None:
    """A chart that names no group: by date if there is one."""
    if not ASKS_FOR_CHART.search(text):
        return None
    match = re.search(
        r"\b(?:plot|chart|graph|draw|visuali[sz]e)\b(?: of)?(?: the| me)?(?: an?)? (\w+)",
        text,
        re.IGNORECASE,
    )
    word = match[1].lower() if match else ""
    value = (
        word
        if word and word not in NO_COLUMN | {"line", "bar", "this", "of", "a", "an", "for"}
        else None
    )
    body = render(
        snippets.BY_PERIOD,
        value=find(value),
        when="date_column()",
        period=PERIODS[said_period(text, None) or "day"],
        how="sum",
        heading=f"{value or 'values'} over time:",
    )
    body += totals_chart(text, table, f"{value or 'Values'} over time".capitalize(), "line")

    def explain(shown: Shown) -> str:
        rows = shown.under(f"{value or 'values'} over time")
        return join(
            f"The chart shows {value or 'the values'} of {table.name} at {len(rows)} points in "
            "time.",
            shown.links,
        )

    return looked_up(table, body, explain)


def totals_chart(text: str, table: Table, title: str, kind: str) -> str:
    if not ASKS_FOR_CHART.search(text):
        return ""
    kind = next((w for w in re.findall(r"\w+", text.lower()) if w in snippets.DRAW_TOTALS), kind)
    slug = re.sub(r"\W+", "_", title.lower()).strip("_")
    return "\n" + snippets.chart(
        snippets.DRAW_TOTALS[kind], title, table.output(f"{slug}.png", "png", "svg", "pdf", "jpg")
    )


def tell_totals(shown: Shown, table: Table, name: str) -> str:
    rows = shown.under(name)
    if not rows:
        return f"{table.name} has no rows to add up."
    shown_rows = dict(list(rows.items())[:40])
    amounts = {key: float(value.replace(",", "")) for key, value in rows.items() if value != "none"}
    remark = ""
    if len(amounts) > 1 and min(amounts.values()) >= 0 < sum(amounts.values()):
        top = max(amounts, key=lambda key: amounts[key])
        remark = f"The highest is {top} with {rows[top]}"
        if name.startswith(("total", "number of")):
            share = amounts[top] / sum(amounts.values())
            remark += f": {share:.1%} of the total of {sum(amounts.values()):,.10g}"
        remark += "."
    return join(f"The {name} in {table.name}:", listing(shown_rows), remark, shown.links)
