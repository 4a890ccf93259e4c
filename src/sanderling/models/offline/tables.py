"""Rules for tables: totals by group, growth, seasons, statistics, charts, conversion, cleaning."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from sanderling.models.offline import table_code as parts
from sanderling.models.offline.plan import Plan, Shown, join, listing, render, tell_facts

_MEASURES = {  # word -> (pandas method, word for people)
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
_PERIODS = {"day": "D", "week": "W", "month": "M", "quarter": "Q", "year": "Y"}
_PERIOD_WORDS = {"daily": "day", "weekly": "week", "monthly": "month", "quarterly": "quarter"} | {
    "yearly": "year",
    "annual": "year",
}
# Words before "by" that are not a column.
_NO_COLUMN = frozenset(
    "sort sorted multiply multiplied divide divided group grouped broken split order ordered shown"
    " it them rows data chart values numbers file table down plot graph rate growth".split()
)
_BY = re.compile(
    r"\b(\w+)\s+(?:by|per|for each|for every|grouped by|in each|across)\s+(?:the\s+|each\s+)?(\w+)",
    re.IGNORECASE,
)
_CHART = re.compile(
    r"\b(plot|chart|graph|histogram|scatter|visuali[sz]e|draw|pie)\b", re.IGNORECASE
)

Explain = Callable[[Shown], str]


@dataclass(frozen=True, slots=True)
class Table:
    """The table a question is about, and the name of the file it asks for, if any."""

    name: str
    target: str | None

    @property
    def path(self) -> str:
        return f"/mnt/data/{self.name}"

    @property
    def kind(self) -> str:
        return self.name.rsplit(".", 1)[-1].lower()

    def output(self, fallback: str, *kinds: str) -> str:
        """Return the path of the file to make: the one asked for if its kind fits."""
        fits = self.target is not None and (not kinds or self.target.rsplit(".", 1)[-1] in kinds)
        return f"/mnt/data/{self.target if fits else fallback}"


def about_table(question: str, table: Table) -> Plan | None:
    """Return what to do with `table`, or None where the question does not say."""
    text = " ".join(question.split())
    rules = (
        _emails,
        _returns,
        _shuffled,
        _cleaned,
        _converted,
        _seasonal,
        _growth,
        _top,
        _grouped,
        _correlation,
        _sorted,
        _histogram,
        _one_number,
        _over_time,
        _described,
    )
    return next((plan for rule in rules if (plan := rule(text, table)) is not None), None)


def described(table: Table) -> Plan:
    """Say what is in `table`."""
    return _looked_up(table, parts.DESCRIBE, _tell_description(table))


# ---- the rules ---------------------------------------------------------------------------------


def _emails(text: str, table: Table) -> Plan | None:
    if not re.search(r"e-?mails?\b", text, re.IGNORECASE) or not re.search(
        r"valid|check|bad|wrong", text, re.IGNORECASE
    ):
        return None

    def explain(shown: Shown) -> str:
        facts, bad = shown.facts, shown.under("bad addresses")
        if not bad:
            return f"All {facts['rows']} rows have a valid address in the column {facts['column']}."
        return join(
            f"Of {facts['rows']} rows, {facts['not valid']} have no valid address in the column "
            f"{facts['column']}:",
            listing(bad),
        )

    return _looked_up(table, render(parts.EMAILS, column='find_column("email")'), explain)


def _returns(text: str, table: Table) -> Plan | None:
    if not re.search(r"\broi\b|return on investment", text, re.IGNORECASE):
        return None
    body = render(parts.RETURNS, back='find_column("revenue")', spent='find_column("cost")')

    def explain(shown: Shown) -> str:
        facts = shown.facts
        return (
            f"In {table.name}, {facts['invested']} was spent and {facts['returned']} came back: "
            f"a profit of {facts['profit']}, a return on investment of **{facts['ROI']}**."
        )

    return _looked_up(table, body, explain)


def _shuffled(text: str, table: Table) -> Plan | None:
    if not re.search(r"\bshuffl|random order|randomi[sz]e", text, re.IGNORECASE):
        return None
    path = table.output("shuffled_file.csv", "csv")

    def explain(shown: Shown) -> str:
        return join(
            f"I shuffled the {shown.facts['rows']} rows of {table.name} and saved them to a new "
            "file.",
            shown.links,
        )

    return _looked_up(table, render(parts.SHUFFLE, path=path), explain)


def _cleaned(text: str, table: Table) -> Plan | None:
    if not re.search(
        r"\bclean|dedup|(?:remove|drop|delete) (?:the |all )?(?:duplicate|repeated|empty)",
        text,
        re.IGNORECASE,
    ):
        return None
    body = render(parts.CLEAN, path=table.output("cleaned.csv", "csv"))
    if _CHART.search(text):
        body += "\n" + render(parts.HISTOGRAM, value="number_column()") + "\n"
        body += _chart(
            'axes.hist(numbers, bins="auto")', "Distribution", table.output("chart.png", "png")
        )
    lead = (
        f"I trimmed the texts of {table.name}, read amounts as numbers, and dropped empty and "
        "repeated rows."
    )
    return _looked_up(table, body, tell_facts(lead))


def _converted(text: str, table: Table) -> Plan | None:
    match = re.search(
        r"\b(?:convert|export|save|turn|transform|to|into|as)\b[^.]*?\b(?:to|into|as|an?)\s+(?:an?\s+|the\s+)?"
        r"(csv|tsv|xlsx|excel|json|html|parquet)\b",
        text,
        re.IGNORECASE,
    )
    if match is None or not re.search(
        r"\bconvert|export|save|turn|transform|\bto (?:csv|json|excel)", text, re.IGNORECASE
    ):
        return None
    kind = {"excel": "xlsx"}.get(match[1].lower(), match[1].lower())
    if kind == table.kind or _BY.search(text):
        return None
    path = table.output(f"{table.name.rsplit('.', 1)[0]}.{kind}", kind)
    body = render(parts.CONVERT, writer=parts.WRITERS[kind]).replace("@path@", repr(path))

    def explain(shown: Shown) -> str:
        return join(
            f"I converted {table.name} to {match[1].upper() if kind != 'xlsx' else 'Excel'}: "
            f"{shown.facts['rows']} rows with the columns {shown.facts['columns']}.",
            shown.links,
        )

    return _looked_up(table, body, explain)


def _seasonal(text: str, table: Table) -> Plan | None:
    if not re.search(r"seasonal", text, re.IGNORECASE):
        return None
    how, word = _measure(text, default="average")
    value, _ = _said_columns(text)
    body = render(
        parts.SEASONAL,
        value=_find(value),
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

    return _looked_up(table, body, explain)


def _growth(text: str, table: Table) -> Plan | None:
    if not re.search(r"growth|(?:month|year)[- ]over[- ]|\bmom\b", text, re.IGNORECASE):
        return None
    period = next((p for p in ("year", "quarter", "week", "month") if p in text.lower()), "month")
    named = re.search(r"growth(?: rate)?(?: in| of)(?: the)? (\w+)", text)
    value = named[1] if named and named[1] not in {"this", "my", "the", "our"} else None
    body = render(parts.GROWTH, value=_find(value), when="date_column()", period=_PERIODS[period])
    if _CHART.search(text):
        body += "\n" + _chart(
            parts.DRAW_TOTALS["line"], f"By {period}", table.output("growth.png", "png")
        )

    def explain(shown: Shown) -> str:
        return join(
            f"{period.capitalize()}-over-{period} growth of {shown.facts['column']} in "
            f"{table.name} is **{shown.facts['average growth']}** on average:",
            listing(shown.under("growth")),
            shown.links,
        )

    return _looked_up(table, body, explain)


def _top(text: str, table: Table) -> Plan | None:
    match = re.search(r"\btop (\d+) (\w+?)s? by (\w+)", text, re.IGNORECASE)
    if match is None:
        return None
    heading = f"top {match[1]} by {match[3]}:"
    body = render(
        parts.TOP, group=_find(match[2]), value=_find(match[3]), count=match[1], heading=heading
    )
    body += _totals_chart(text, table, f"Top {match[1]} by {match[3]}", "bar")

    def explain(shown: Shown) -> str:
        return join(
            f"The top {match[1]} of {table.name} by {match[3]}:",
            listing(shown.under(heading[:-1])),
            shown.links,
        )

    return _looked_up(table, body, explain)


def _grouped(text: str, table: Table) -> Plan | None:
    value, group = _said_columns(text)
    period = _period(text, group)
    if group is None and period is None:
        return None
    how, word = _measure(text, default="total")
    name = f"{word} {value or 'value'} by {period or group}"
    title = f"{value or 'value'} by {period or group}".capitalize()
    chart = _totals_chart(text, table, title, "line" if period else "bar")

    def explain(shown: Shown) -> str:
        return _tell_totals(shown, table, name)

    heading = name + ":"
    if period is not None:
        body = render(
            parts.BY_PERIOD,
            value=_find(value),
            when="date_column()",
            period=_PERIODS[period],
            how=how,
            heading=heading,
        )
        return _looked_up(table, body + chart, explain)
    careful = render(
        parts.GROUPED, value=_find(value), group=_find(group), how=how, heading=heading
    )
    if value is None:
        return _looked_up(table, careful + chart, explain)
    # The first try trusts the user's words; what it raises decides whether the second is needed.
    plain = render(
        parts.PLAIN_GROUPED, value=repr(value), group=repr(group), how=how, heading=heading
    )
    reading = parts.plain_reading(table.path, table.kind, sniff=False)
    again = _careful(table, careful + chart, explain)
    return Plan(_code(reading, plain + chart), explain, again)


def _correlation(text: str, table: Table) -> Plan | None:
    match = re.search(
        r"(?:correlat\w*|regress\w*|relation\w*|scatter)\D*?\b(?:between |of |plot of )?(\w+) "
        r"(?:and|on|against|vs\.?|versus|with) (\w+)",
        text,
        re.IGNORECASE,
    )
    if match is None:
        return None
    first, second = match[1], match[2]
    if text.lower().find("regress") >= 0 and re.search(rf"{first} on {second}", text):
        first, second = second, first
    body = render(parts.CORRELATION, first=_find(first), second=_find(second))
    if _CHART.search(text):
        draw = "axes.scatter(pairs.x, pairs.y)\naxes.set_xlabel(first)\naxes.set_ylabel(second)"
        body += "\n" + _chart(draw, f"{first} and {second}", table.output("scatter.png", "png"))
    return _looked_up(table, body, tell_facts(f"{first} and {second} in {table.name}:"))


def _sorted(text: str, table: Table) -> Plan | None:
    match = re.search(r"\b(?:sort|order)\w*\b.*?\bby (?:the )?(\w+)", text, re.IGNORECASE)
    if match is None:
        return None
    ascending = not re.search(r"descend|largest|highest|latest", text, re.IGNORECASE)
    path = table.output("sorted.csv", "csv")
    body = render(parts.SORT, by=_find(match[1]), ascending=ascending, path=path)
    return _looked_up(table, body, tell_facts(f"I sorted {table.name} and saved it as a new file."))


def _histogram(text: str, table: Table) -> Plan | None:
    words = r"\b(?:histogram|distribution)(?: of)?(?: the)?\s*(\w+)?"
    match = re.search(words, text, re.IGNORECASE)
    if match is None:
        return None
    value = match[1] if match[1] and match[1].lower() not in {"in", "from", "as"} else None
    draw = 'axes.hist(numbers, bins="auto")\naxes.set_xlabel(value)'
    body = render(parts.HISTOGRAM, value=_find(value)) + "\n"
    body += _chart(draw, "Distribution", table.output("histogram.png", "png"))
    return _looked_up(table, body, tell_facts(f"The distribution in {table.name}:"))


def _one_number(text: str, table: Table) -> Plan | None:
    rows = r"how many (?:rows|records|lines|entries)|number of rows|row count"
    if re.search(rows, text, re.IGNORECASE):
        return _looked_up(
            table, parts.ROWS, lambda s: f"{table.name} has **{s.facts['rows']}** rows."
        )
    words = "|".join(_MEASURES)
    match = re.search(rf"\b({words})(?: of)?(?: the| all)? (\w+)", text, re.IGNORECASE)
    if match is None or match[2].lower() in {"in", "this", "file", "value", "values"} | set(
        _MEASURES
    ):
        return None
    how, word = _MEASURES[match[1].lower()]
    body = render(parts.ONE_NUMBER, value=_find(match[2]), how=word, method=how)

    def explain(shown: Shown) -> str:
        name, number = next((k, v) for k, v in shown.facts.items() if k.startswith(word))
        return f"The {name} in {table.name} is **{number}**."

    return _looked_up(table, body, explain)


def _over_time(text: str, table: Table) -> Plan | None:
    """A chart that names no group: by date if there is one."""
    if not _CHART.search(text):
        return None
    match = re.search(
        r"\b(?:plot|chart|graph|draw|visuali[sz]e)\b(?: of)?(?: the| me)?(?: an?)? (\w+)",
        text,
        re.IGNORECASE,
    )
    word = match[1].lower() if match else ""
    value = (
        word
        if word and word not in _NO_COLUMN | {"line", "bar", "this", "of", "a", "an", "for"}
        else None
    )
    body = render(
        parts.BY_PERIOD,
        value=_find(value),
        when="date_column()",
        period=_PERIODS[_period(text, None) or "day"],
        how="sum",
        heading=f"{value or 'values'} over time:",
    )
    body += _totals_chart(text, table, f"{value or 'Values'} over time".capitalize(), "line")

    def explain(shown: Shown) -> str:
        rows = shown.under(f"{value or 'values'} over time")
        return join(
            f"The chart shows {value or 'the values'} of {table.name} at {len(rows)} points in "
            "time.",
            shown.links,
        )

    return _looked_up(table, body, explain)


def _described(text: str, table: Table) -> Plan | None:
    asked = (
        r"\b(?:describe|interesting|analy[sz]e|analysis|summar|overview|explore|insight|statistic|"
        r"look at|what.s in)"
    )
    return described(table) if re.search(asked, text, re.IGNORECASE) else None


# ---- what the rules share ----------------------------------------------------------------------


def _looked_up(table: Table, body: str, explain: Explain) -> Plan:
    """Return a plan that finds its columns itself; the careful reading is its second try."""
    reading = parts.plain_reading(table.path, table.kind, sniff=True)
    again = _careful(table, body, explain) if table.kind in parts.CAREFUL_KINDS else None
    return Plan(_code(reading, body), _with_columns(explain), again)


def _careful(table: Table, body: str, explain: Explain) -> Plan:
    reading = parts.careful_reading(table.path, table.kind)
    return Plan(_code(reading, body), _with_columns(explain))


def _with_columns(explain: Explain) -> Explain:
    """Return `explain` with a remark on columns that go by another name than the user's."""

    def explain_with_columns(shown: Shown) -> str:
        notes = [line for line in shown.lines if line.startswith("column for ")]
        used = ", ".join(line.removeprefix("column for ").replace(": ", " is ") for line in notes)
        return join(explain(shown), f"(I took these columns: {used}.)" if used else "")

    return explain_with_columns


def _code(reading: str, body: str) -> str:
    body = render(body)
    return reading.rstrip("\n") + "\n" + parts.tools(body) + body.lstrip("\n")


def _find(said: str | None) -> str:
    return f"find_column({said!r})" if said else "number_column()"


def _said_columns(text: str) -> tuple[str | None, str | None]:
    """Return the columns that the words before and after `by` name: values, groups."""
    for match in _BY.finditer(text):
        value, group = match[1].lower(), match[2].lower()
        if re.match(r"\d", group) or group in {"hand", "default", "using", "the"} | _NO_COLUMN:
            continue
        is_column = value not in _NO_COLUMN and value not in _MEASURES
        return (match[1] if is_column else None), match[2]
    return None, None


def _period(text: str, group: str | None) -> str | None:
    if group is not None:
        word = group.lower().rstrip("s")
        return word if word in _PERIODS else None
    return next((period for word, period in _PERIOD_WORDS.items() if word in text.lower()), None)


def _measure(text: str, *, default: str) -> tuple[str, str]:
    words = re.findall(r"\w+", text.lower())
    return next((_MEASURES[word] for word in words if word in _MEASURES), _MEASURES[default])


def _totals_chart(text: str, table: Table, title: str, kind: str) -> str:
    if not _CHART.search(text):
        return ""
    said = set(re.findall(r"\w+", text.lower()))
    kind = next((k for k in ("pie", "line", "bar") if k in said), kind)
    slug = re.sub(r"\W+", "_", title.lower()).strip("_")
    return "\n" + _chart(
        parts.DRAW_TOTALS[kind], title, table.output(f"{slug}.png", "png", "svg", "pdf", "jpg")
    )


def _chart(draw: str, title: str, path: str) -> str:
    template = render(parts.CHART)
    return (
        template.replace("@@draw@@", draw)
        .replace("@title@", repr(title))
        .replace("@path@", repr(path))
    )


def _tell_totals(shown: Shown, table: Table, name: str) -> str:
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
            remark += f", which is {share:.1%} of the {sum(amounts.values()):,.10g} of them all"
        remark += "."
    return join(f"The {name} in {table.name}:", listing(shown_rows), remark, shown.links)


def _tell_description(table: Table) -> Explain:
    def explain(shown: Shown) -> str:
        facts = shown.facts
        correlation = facts.get("strongest correlation")
        return join(
            f"{table.name} has {facts['rows']} rows and the columns {facts['columns']}. Values "
            f"missing: {facts['missing values']}; rows that repeat another: "
            f"{facts['repeated rows']}.",
            listing(shown.under("numbers")),
            listing(shown.under("other columns")),
            f"The strongest correlation is between {correlation}." if correlation else "",
        )

    return explain
