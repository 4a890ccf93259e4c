"""Rules for one table: checking, cleaning, converting, single measures; which rule comes first."""

from __future__ import annotations

import re

from sanderling.models.offline.plan import Explain, Plan, Shown, join, listing, render, tell_facts
from sanderling.models.offline.tables import snippets, totals
from sanderling.models.offline.tables.table import Table, find, looked_up
from sanderling.models.offline.tables.wording import ASKS_FOR_CHART, BY, MEASURES


def about_table(question: str, table: Table) -> Plan | None:
    """Return what to do with `table`, or None where the question does not say."""
    text = " ".join(question.split())
    rules = (
        _emails,
        _returns,
        _shuffled,
        _cleaned,
        _converted,
        totals.seasonal,
        totals.growth,
        totals.top,
        _sorted,
        totals.grouped,
        _correlation,
        _histogram,
        _one_number,
        totals.over_time,
        _described,
    )
    return next((plan for rule in rules if (plan := rule(text, table)) is not None), None)


def described(table: Table) -> Plan:
    """Say what is in `table`."""
    return looked_up(table, snippets.DESCRIBE, _tell_description(table))


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

    return looked_up(table, render(snippets.EMAILS, column='find_column("email")'), explain)


def _returns(text: str, table: Table) -> Plan | None:
    if not re.search(r"\broi\b|return on investment", text, re.IGNORECASE):
        return None
    body = render(snippets.RETURNS, back='find_column("revenue")', spent='find_column("cost")')

    def explain(shown: Shown) -> str:
        facts = shown.facts
        return (
            f"In {table.name}, {facts['invested']} was spent and {facts['returned']} came back: "
            f"a profit of {facts['profit']}, a return on investment of **{facts['ROI']}**."
        )

    return looked_up(table, body, explain)


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

    return looked_up(table, render(snippets.SHUFFLE, path=path), explain)


def _cleaned(text: str, table: Table) -> Plan | None:
    if not re.search(
        r"\bclean|dedup|(?:remove|drop|delete) (?:the |all )?(?:duplicate|repeated|empty)",
        text,
        re.IGNORECASE,
    ):
        return None
    body = render(snippets.CLEAN, path=table.output("cleaned.csv", "csv"))
    if ASKS_FOR_CHART.search(text):
        body += "\n" + render(snippets.HISTOGRAM, value="number_column()") + "\n"
        body += snippets.chart(
            'axes.hist(numbers, bins="auto")', "Distribution", table.output("chart.png", "png")
        )
    lead = (
        f"I trimmed the texts of {table.name}, read amounts as numbers, and dropped empty and "
        "repeated rows."
    )
    return looked_up(table, body, tell_facts(lead))


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
    if kind == table.kind or BY.search(text):
        return None
    path = table.output(f"{table.name.rsplit('.', 1)[0]}.{kind}", kind)
    body = render(snippets.CONVERT, writer=snippets.WRITERS[kind]).replace("@path@", repr(path))

    def explain(shown: Shown) -> str:
        return join(
            f"I converted {table.name} to {match[1].upper() if kind != 'xlsx' else 'Excel'}: "
            f"{shown.facts['rows']} rows with the columns {shown.facts['columns']}.",
            shown.links,
        )

    return looked_up(table, body, explain)


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
    body = render(snippets.CORRELATION, first=find(first), second=find(second))
    if ASKS_FOR_CHART.search(text):
        draw = "axes.scatter(pairs.x, pairs.y)\naxes.set_xlabel(first)\naxes.set_ylabel(second)"
        body += "\n" + snippets.chart(
            draw, f"{first} and {second}", table.output("scatter.png", "png")
        )
    return looked_up(table, body, tell_facts(f"{first} and {second} in {table.name}:"))


def _sorted(text: str, table: Table) -> Plan | None:
    match = re.search(r"\b(?:sort|order)\b.*?\bby (?:the )?(\w+)", text, re.IGNORECASE)
    if match is None or MEASURES.keys() & set(re.findall(r"\w+", text.lower())):
        return None
    ascending = not re.search(r"descend|largest|highest|latest", text, re.IGNORECASE)
    path = table.output("sorted.csv", "csv")
    body = render(snippets.SORT, by=find(match[1]), ascending=ascending, path=path)
    return looked_up(table, body, tell_facts(f"I sorted {table.name} and saved it as a new file."))


def _histogram(text: str, table: Table) -> Plan | None:
    words = r"\b(?:histogram|distribution)(?: of)?(?: the)?\s*(\w+)?"
    match = re.search(words, text, re.IGNORECASE)
    if match is None:
        return None
    value = match[1] if match[1] and match[1].lower() not in {"in", "from", "as"} else None
    draw = 'axes.hist(numbers, bins="auto")\naxes.set_xlabel(value)'
    body = render(snippets.HISTOGRAM, value=find(value)) + "\n"
    body += snippets.chart(draw, "Distribution", table.output("histogram.png", "png"))
    return looked_up(table, body, tell_facts(f"The distribution in {table.name}:"))


def _one_number(text: str, table: Table) -> Plan | None:
    rows = r"how many (?:rows|records|lines|entries)|number of rows|row count"
    if re.search(rows, text, re.IGNORECASE):
        return looked_up(
            table, snippets.ROWS, lambda s: f"{table.name} has **{s.facts['rows']}** rows."
        )
    words = "|".join(MEASURES)
    match = re.search(rf"\b({words})(?: of)?(?: the| all)? (\w+)", text, re.IGNORECASE)
    if match is None or match[2].lower() in {"in", "this", "file", "value", "values"} | set(
        MEASURES
    ):
        return None
    how, word = MEASURES[match[1].lower()]
    body = render(snippets.ONE_NUMBER, value=find(match[2]), how=word, method=how)

    def explain(shown: Shown) -> str:
        name, number = next((k, v) for k, v in shown.facts.items() if k.startswith(word))
        return f"The {name} in {table.name} is **{number}**."

    return looked_up(table, body, explain)


def _described(text: str, table: Table) -> Plan | None:
    asked = (
        r"\b(?:describe|interesting|analy[sz]e|analysis|summar|overview|explore|insight|statistic|"
        r"look at|what.s in)"
    )
    return described(table) if re.search(asked, text, re.IGNORECASE) else None


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
