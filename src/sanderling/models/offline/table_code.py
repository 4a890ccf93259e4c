"""
The parts that code about tables is put together from.

A table is read in one of two ways. The first is what anybody would write: pandas' reader, and the
column names the user said. Where that fails (another encoding or separator, a column that goes by
another name, amounts written as text), the careful way looks at the file before it trusts it.
"""

from __future__ import annotations

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

    def find_column(wanted, kind=None):
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
        parts += "\n\n" + render(FIND_COLUMN, meanings=MEANINGS)
    if "show(" in body:
        parts += "\n\n" + render(SHOW)
    return f"\n\n{parts}\n\n" if parts else "\n"


# ---- what is done with a table -----------------------------------------------------------------

GROUPED = """
    groups = table[@@group@@].astype("string").fillna("(none)").str.strip()
    totals = as_numbers(table[@@value@@]).groupby(groups).@@how@@().sort_values(ascending=False)
    print(@heading@)
    for name, amount in totals.items():
        print(f"  {name}: {show(amount)}")
"""
PLAIN_GROUPED = """
    amounts = pd.to_numeric(table[@@value@@])
    totals = amounts.groupby(table[@@group@@]).@@how@@().sort_values(ascending=False)
    print(@heading@)
    for name, amount in totals.items():
        print(f"  {name}: {show(amount)}")
"""
BY_PERIOD = """
    when = pd.to_datetime(table[@@when@@], errors="coerce", format="mixed")
    amounts = as_numbers(table[@@value@@])
    totals = amounts.groupby(when.dt.to_period(@period@)).@@how@@()
    totals.index = totals.index.astype(str)
    print(@heading@)
    for name, amount in totals.items():
        print(f"  {name}: {show(amount)}")
"""
GROWTH = """
    value = @@value@@
    when = pd.to_datetime(table[@@when@@], errors="coerce", format="mixed")
    totals = as_numbers(table[value]).groupby(when.dt.to_period(@period@)).sum()
    totals = totals.reindex(pd.period_range(totals.index.min(), totals.index.max()), fill_value=0)
    growth = totals.pct_change()
    print("column:", value)
    print("growth:")
    for month, rate in growth.items():
        change = "" if rate != rate or abs(rate) == float("inf") else f" ({rate:+.2%})"
        print(f"  {month}: {show(totals[month])}{change}")
    known = growth[abs(growth) < float("inf")]
    print(f"average growth: {known.mean():+.2%}")
    totals.index = totals.index.astype(str)
"""
SEASONAL = """
    value = @@value@@
    when = pd.to_datetime(table[@@when@@], errors="coerce", format="mixed")
    monthly = as_numbers(table[value]).groupby(when.dt.to_period("M")).@@how@@()
    monthly = monthly.reindex(pd.period_range(monthly.index.min(), monthly.index.max(), freq="M"))
    monthly = monthly.interpolate()
    if len(monthly) >= 24:
        from statsmodels.tsa.seasonal import seasonal_decompose

        parts = seasonal_decompose(monthly.to_timestamp(), model="additive", period=12)
        adjusted = monthly - parts.seasonal.to_numpy()
        method = "additive decomposition with a period of 12 months"
    else:
        # Less than two years cannot tell a season from a trend.
        adjusted = monthly.rolling(3, center=True, min_periods=1).mean()
        method = "centred 3-month mean, as less than two years cannot tell seasons from a trend"
    print("method:", method)
    print("column:", value)
    print(@heading@)
    for month in monthly.index:
        print(f"  {month}: {show(monthly[month])}, adjusted {show(adjusted[month])}")
    print("average, seasonality removed:", show(adjusted.mean()))

    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 5))
    axes.plot(monthly.index.astype(str), monthly.to_numpy(), label="as observed", alpha=0.5)
    axes.plot(adjusted.index.astype(str), adjusted.to_numpy(), label="seasonality removed")
    axes.set_title(f"{value} by month")
    axes.xaxis.set_major_locator(plt.MaxNLocator(12))
    axes.tick_params(axis="x", rotation=45)
    axes.legend()
    figure.tight_layout()
    figure.savefig(@path@, dpi=120)
    print("saved:", @path@)
"""
DESCRIBE = """
    print("rows:", len(table))
    print("columns:", ", ".join(map(str, table.columns)))
    missing = table.isna().sum()
    print("missing values:", int(missing.sum()))
    print("repeated rows:", int(table.astype("string").duplicated().sum()))
    numeric = {name: as_numbers(table[name]) for name in table.columns}
    numeric = {name: column for name, column in numeric.items() if column.notna().mean() > 0.8}
    print("numbers:")
    for name, column in list(numeric.items())[:20]:
        low, high = column.quantile(0.25), column.quantile(0.75)
        far = ((column < low - 1.5 * (high - low)) | (column > high + 1.5 * (high - low))).sum()
        print(
            f"  {name}: sum {show(column.sum())}, mean {show(column.mean())}, median "
            f"{show(column.median())}, from {show(column.min())} to {show(column.max())}, "
            f"{int(far)} far from the rest"
        )
    print("other columns:")
    for name in [name for name in table.columns if name not in numeric][:20]:
        counts = table[name].astype("string").value_counts()
        most = f", most often {counts.index[0]} ({counts.iloc[0]} times)" if len(counts) else ""
        print(f"  {name}: {len(counts)} different{most}")
    pairs = [
        (abs(r), f"{a} and {b}", r)
        for i, a in enumerate(numeric)
        for b in list(numeric)[i + 1 :]
        if (r := numeric[a].corr(numeric[b])) == r
    ]
    if pairs:
        _, names, r = max(pairs)
        print(f"strongest correlation: {names} ({r:+.3f})")
"""
ONE_NUMBER = """
    value = @@value@@
    print(f"@@how@@ of {value}:", show(as_numbers(table[value]).@@method@@()))
"""
TOP = """
    groups = table[@@group@@].astype("string")
    totals = as_numbers(table[@@value@@]).groupby(groups).sum().nlargest(@@count@@)
    print(@heading@)
    for name, amount in totals.items():
        print(f"  {name}: {show(amount)}")
"""
ROWS = 'print("rows:", len(table))\n'
CORRELATION = """
    from scipy.stats import linregress

    first, second = @@first@@, @@second@@
    pairs = pd.DataFrame({"x": as_numbers(table[first]), "y": as_numbers(table[second])}).dropna()
    line = linregress(pairs.x, pairs.y)
    print(f"correlation of {first} and {second}: {line.rvalue:.4f}")
    print(f"line: {second} = {line.slope:.6g} × {first} + {line.intercept:.6g}")
    print(f"share of variance explained: {line.rvalue**2:.2%}")
    print(f"p-value: {line.pvalue:.3g}")
"""
SHUFFLE = """
    shuffled = table.sample(frac=1)
    shuffled.to_csv(@path@, index=False)
    print("rows:", len(shuffled))
    print("saved:", @path@)
"""
SORT = """
    by = @@by@@
    ordered = table.sort_values(by, ascending=@@ascending@@)
    ordered.to_csv(@path@, index=False)
    print(f"sorted by: {by}")
    print("rows:", len(ordered))
    print("saved:", @path@)
"""
CLEAN = """
    before = len(table)
    for name in table.select_dtypes(include=["object", "string"]):
        table[name] = table[name].astype("string").str.strip()
        amounts = as_numbers(table[name])
        if amounts.notna().sum() == table[name].notna().sum() > 0:
            table[name] = amounts
    table = table.dropna(how="all").drop_duplicates()
    table.to_csv(@path@, index=False)
    print("rows before:", before)
    print("rows after:", len(table))
    print("missing values left:", int(table.isna().sum().sum()))
    print("saved:", @path@)
"""
CONVERT = """
    print("rows:", len(table))
    print("columns:", ", ".join(map(str, table.columns)))
    table.@@writer@@
    print("saved:", @path@)
"""
WRITERS = {
    "csv": "to_csv(@path@, index=False)",
    "tsv": "to_csv(@path@, index=False, sep='\\t')",
    "xlsx": "to_excel(@path@, index=False)",
    "json": "to_json(@path@, orient='records', indent=2, date_format='iso')",
    "html": "to_html(@path@, index=False)",
    "parquet": "to_parquet(@path@, index=False)",
}
EMAILS = r"""
    column = @@column@@
    domain = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"
    pattern = r"[A-Za-z0-9._%+'-]+@" + domain
    addresses = table[column].astype("string").fillna("").str.strip()
    good = addresses.str.fullmatch(pattern) & ~addresses.str.contains("..", regex=False)
    print("column:", column)
    print("rows:", len(table))
    print("not valid:", int((~good).sum()))
    print("bad addresses:")
    for row, address in addresses[~good].head(50).items():
        print(f"  row {row + 2}: {address or '(empty)'}")
"""
RETURNS = """
    back, spent = @@back@@, @@spent@@
    returned, invested = as_numbers(table[back]).sum(), as_numbers(table[spent]).sum()
    print("invested:", show(invested))
    print("returned:", show(returned))
    print("profit:", show(returned - invested))
    print(f"ROI: {(returned - invested) / invested:.2%}")
"""
CHART = """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5))
    @@draw@@
    axes.set_title(@title@)
    figure.tight_layout()
    figure.savefig(@path@, dpi=120)
    print("saved:", @path@)
"""
DRAW_TOTALS = {
    "bar": "axes.bar(totals.index.astype(str), totals.to_numpy())\n"
    'axes.tick_params(axis="x", rotation=45 if len(totals) > 6 else 0)',
    "line": 'axes.plot(totals.index.astype(str), totals.to_numpy(), marker="o")\n'
    'axes.tick_params(axis="x", rotation=45)\naxes.xaxis.set_major_locator(plt.MaxNLocator(12))',
    "pie": 'axes.pie(totals.to_numpy(), labels=totals.index.astype(str), autopct="%.1f%%")',
}
HISTOGRAM = """
    value = @@value@@
    numbers = as_numbers(table[value]).dropna()
    print("column:", value)
    print("count:", len(numbers))
    print("mean:", show(numbers.mean()))
    print("median:", show(numbers.median()))
"""
