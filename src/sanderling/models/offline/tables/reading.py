"""
The parts that code about tables is put together from.

A table is read in one of two ways. The first is what anybody would write: pandas' reader, and the
column names the user said. Where that fails (another encoding or separator, a column that goes by
another name, amounts written as text), the careful way looks at the file before it trusts it.
"""

from __future__ import annotations

import re

from sanderling.models.offline.plan import render

TABLE_KINDS = frozenset({"csv", "tsv", "txt", "xlsx", "xls", "ods", "json", "jsonl", "parquet"})
# Kinds that come in more than one encoding or shape.
CAREFUL_KINDS = frozenset({"csv", "tsv", "txt", "json"})

_READERS = {
    "csv": "pd.read_csv(@path@)",
    "txt": "pd.read_csv(@path@, sep=None, engine='python')",
    "tsv": "pd.read_csv(@path@, sep='\\t')",
    "xlsx": "pd.read_excel(@path@)",
    "xls": "pd.read_excel(@path@)",
    "ods": "pd.read_excel(@path@)",
    "json": "pd.json_normalize(json.loads(Path(@path@).read_text()))",
    "jsonl": "pd.read_json(@path@, lines=True)",
    "parquet": "pd.read_parquet(@path@)",
}


def plain_reading(path: str, kind: str, *, sniff: bool) -> str:
    """Return code that reads `table`; with `sniff`, whatever a CSV's separator is."""
    reader = _READERS[kind]
    if sniff and kind == "csv":
        reader = _READERS["txt"]
    imports = "import json\nfrom pathlib import Path\n\n" if kind == "json" else ""
    return render(f"{imports}import pandas as pd\n\ntable = {reader}\n", path=path)


def careful_reading(path: str, kind: str) -> str:
    """Return code that reads `table` whatever its encoding and separator, and finds columns."""
    if kind in {"csv", "tsv", "txt"}:
        return render(_CAREFUL_TEXT, path=path)
    if kind == "json":
        return render(_CAREFUL_JSON, path=path)
    return plain_reading(path, kind, sniff=False)


_CAREFUL_TEXT = '''
    import io
    from pathlib import Path

    import pandas as pd


    def read_table(path):
        """Find out the encoding and the separator from the file itself."""
        raw = Path(path).read_bytes()
        is_utf16 = raw[:2] in (b"\\xff\\xfe", b"\\xfe\\xff")
        for encoding in ["utf-16"] if is_utf16 else ["utf-8-sig", "cp1252", "latin-1"]:
            try:
                text = raw.decode(encoding)
                break
            except UnicodeDecodeError:
                continue
        first_lines = "\\n".join(text.splitlines()[:20])
        separator = max(",;\\t|", key=first_lines.count)
        print(f"read as: {encoding}, separated by {separator!r}")
        return pd.read_csv(
            io.StringIO(text), sep=separator, skipinitialspace=True, on_bad_lines="skip"
        )


    table = read_table(@path@)
    table.columns = [str(name).strip() for name in table.columns]
'''
_CAREFUL_JSON = """
    import json
    from pathlib import Path

    import pandas as pd

    loaded = json.loads(Path(@path@).read_bytes().decode("utf-8-sig", "replace"))
    if isinstance(loaded, dict):
        # The rows are the longest list somewhere in the object.
        lists = [part for part in loaded.values() if isinstance(part, list)]
        loaded = max(lists, key=len) if lists else [loaded]
    table = pd.json_normalize(loaded)
"""

# Finds a column by what the user calls it: the same, a part, a word that means it, or similar.
FIND_COLUMN = """

    def find_column(wanted):
        import difflib

        if wanted in table.columns:
            return wanted
        names = {str(name).strip().lower(): name for name in table.columns}
        meanings = @meanings@
        same = [word for group in meanings if wanted.lower() in group for word in group]
        for word in [wanted.lower(), wanted.lower().rstrip("s"), *same]:
            for name in names:
                if word == name or (len(word) > 2 and (word in name or name in word)):
                    print(f"column for {wanted}: {names[name]}")
                    return names[name]
        close = difflib.get_close_matches(wanted.lower(), list(names), n=1, cutoff=0.6)
        if close:
            print(f"column for {wanted}: {names[close[0]]}")
            return names[close[0]]
        raise LookupError(f"no column for {wanted!r} among {list(table.columns)}")
"""
MEANINGS = [
    ["revenue", "sales", "amount", "turnover", "income", "total"],
    ["cost", "costs", "expense", "expenses", "spend", "investment"],
    ["region", "area", "territory", "country", "zone"],
    ["product", "item", "article", "sku"],
    ["price", "unit_price", "unit price"],
    ["quantity", "qty", "units", "count"],
    ["customer", "client", "buyer", "name"],
    ["date", "day", "time", "timestamp", "month", "period"],
    ["email", "e-mail", "mail"],
    ["category", "type", "kind", "group", "segment"],
]

# The column of numbers that a question most likely means when it names none.
FIND_NUMBERS = """

    def number_column():
        numeric = []
        for name in table.columns:
            column = as_numbers(table[name])
            text = str(name).lower()
            is_label = text == "id" or text.endswith(("_id", " id", "year"))
            if column.notna().mean() > 0.8 and not is_label:
                numeric.append(name)
        telling = ("revenue", "sales", "amount", "total", "value", "price", "profit", "cost")
        for word in telling:
            for name in numeric:
                if word in str(name).lower():
                    return name
        if not numeric:
            raise LookupError(f"no column of numbers among {list(table.columns)}")
        return numeric[-1]
"""
AS_NUMBERS = '''

    def as_numbers(column):
        """Numbers also from amounts written as text: $1,200.50 or 1.200,50 €."""
        if pd.api.types.is_numeric_dtype(column):
            return column
        text = column.astype("string").str.strip()
        plain = text.str.replace(r"[$€£%\\s]|USD|EUR|GBP", "", regex=True)
        decimal_comma = r"-?\\d{1,3}(\\.\\d{3})*,\\d{1,2}|-?\\d+,\\d{1,2}"
        if plain.str.fullmatch(decimal_comma).mean() > 0.5:
            plain = plain.str.replace(".", "").str.replace(",", ".")
        else:
            plain = plain.str.replace(",", "")
        return pd.to_numeric(plain, errors="coerce")
'''
FIND_DATES = """

    def date_column():
        for name in table.columns:
            if pd.api.types.is_datetime64_any_dtype(table[name]):
                return name
        for name in table.columns:
            if pd.api.types.is_numeric_dtype(table[name]):
                continue
            dates = pd.to_datetime(table[name], errors="coerce", format="mixed")
            if len(table) and dates.notna().mean() > 0.8:
                return name
        raise LookupError(f"no column of dates among {list(table.columns)}")
"""
SHOW = """

    def show(number):
        return f"{number:,.4f}".rstrip("0").rstrip(".") if number == number else "none"
"""


def tools(body: str) -> str:
    """Return the functions that `body` uses, in the order they need each other."""
    parts = ""
    needs_numbers = "number_column(" in body or "as_numbers(" in body
    if needs_numbers:
        parts += render(AS_NUMBERS)
    if "number_column(" in body:
        parts += "\n\n" + render(FIND_NUMBERS)
    if "date_column(" in body:
        parts += "\n\n" + render(FIND_DATES)
    if "find_column(" in body:
        wanted = {word.lower() for word in re.findall(r"find_column\(['\"](.+?)['\"]\)", body)}
        meanings = [group for group in MEANINGS if wanted & set(group)]
        parts += "\n\n" + render(FIND_COLUMN, meanings=meanings)
    if "show(" in body:
        parts += "\n\n" + render(SHOW)
    return f"\n\n{parts.strip()}\n\n\n" if parts else "\n"
