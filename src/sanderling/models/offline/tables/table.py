"""The table a question is about, and plans that read it in one way or, after an error, another."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sanderling.models.offline.plan import Explain, Plan, Shown, join, render
from sanderling.models.offline.tables import reading


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


def looked_up(table: Table, body: str, explain: Explain) -> Plan:
    """Return a plan that finds its columns itself; the careful reading is its second try."""
    read = reading.plain_reading(table.path, table.kind, sniff=True)
    again = careful(table, body, explain) if table.kind in reading.CAREFUL_KINDS else None
    return Plan(code(read, body), with_columns(explain), again)


def careful(table: Table, body: str, explain: Explain) -> Plan:
    """Return the second try: a plan that looks at the file before it trusts it."""
    read = reading.careful_reading(table.path, table.kind)
    return Plan(code(read, body), with_columns(explain))


def with_columns(explain: Explain) -> Explain:
    """Return `explain` with a remark on columns that go by another name than the user's."""

    def explain_with_columns(shown: Shown) -> str:
        notes = [line for line in shown.lines if line.startswith("column for ")]
        used = ", ".join(line.removeprefix("column for ").replace(": ", " is ") for line in notes)
        return join(explain(shown), f"(I took these columns: {used}.)" if used else "")

    return explain_with_columns


def code(read: str, body: str) -> str:
    """Return a whole cell: `read`, the functions that `body` uses, `body`."""
    body = render(body)
    code = read.rstrip("\n") + "\n" + reading.tools(body) + body.lstrip("\n")
    return re.sub(r"\n{4,}", "\n\n\n", code)


def find(said: str | None) -> str:
    """Return source that finds the column the user named; without a name, one of numbers."""
    return f"find_column({said!r})" if said else "number_column()"
