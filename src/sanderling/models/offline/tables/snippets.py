"""What code about tables does once `table` is read; see `plan.render` for the marks."""

from __future__ import annotations

from sanderling.models.offline.plan import render

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


def chart(draw: str, title: str, path: str) -> str:
    """Return code that draws with the lines `draw` and saves the figure at `path`."""
    template = render(CHART)
    return (
        template.replace("@@draw@@", draw)
        .replace("@title@", repr(title))
        .replace("@path@", repr(path))
    )
