"""What newer versions of libraries no longer have and models go on writing, and what to write."""

from __future__ import annotations

import re
from collections.abc import Iterable

# (class or module, name) → what to write.
_ATTRIBUTES = {
    ("DataFrame", "append"): "pd.concat([df, other], ignore_index=True)",
    ("Series", "append"): "pd.concat([series, other])",
    ("DataFrame", "ix"): "df.loc or df.iloc",
    ("Series", "ix"): "series.loc or series.iloc",
    ("DataFrame", "iteritems"): "df.items()",
    ("Series", "iteritems"): "series.items()",
    ("DataFrame", "applymap"): "df.map(function)",
    ("DataFrame", "as_matrix"): "df.to_numpy()",
    ("DataFrame", "mad"): "(df - df.mean()).abs().mean()",
    ("DataFrame", "lookup"): "df.loc[row, column]",
    ("DataFrame", "get_value"): "df.at[row, column]",
    ("DataFrame", "set_value"): "df.at[row, column] = value",
    ("DataFrame", "sortlevel"): "df.sort_index(level=…)",
    ("DataFrame", "tshift"): "df.shift(freq=…)",
    ("DataFrame", "swapaxes"): "df.T",
    ("DataFrame", "pad"): "df.ffill()",
    ("DataFrame", "backfill"): "df.bfill()",
    ("Index", "is_monotonic"): "index.is_monotonic_increasing",
    ("Series", "is_monotonic"): "series.is_monotonic_increasing",
    ("Timestamp", "weekofyear"): "timestamp.isocalendar().week",
    ("DatetimeProperties", "week"): "series.dt.isocalendar().week",
    ("DatetimeProperties", "weekofyear"): "series.dt.isocalendar().week",
    ("pandas", "np"): "import numpy as np",
    ("pandas", "datetime"): "import datetime",
    ("pandas", "Panel"): "a DataFrame with a MultiIndex",
    ("pandas", "Int64Index"): "pd.Index",
    ("pandas", "Float64Index"): "pd.Index",
    ("numpy", "trapz"): "np.trapezoid",
    ("numpy", "in1d"): "np.isin",
    ("numpy", "product"): "np.prod",
    ("numpy", "cumproduct"): "np.cumprod",
    ("numpy", "alltrue"): "np.all",
    ("numpy", "sometrue"): "np.any",
    ("numpy", "row_stack"): "np.vstack",
    ("numpy", "asscalar"): "array.item()",
    ("ndarray", "ptp"): "np.ptp(array)",
    ("ndarray", "itemset"): "array[index] = value",
    ("ndarray", "newbyteorder"): "array.view(array.dtype.newbyteorder())",
    ("PIL.Image", "ANTIALIAS"): "Image.LANCZOS",
    ("ImageDraw", "textsize"): "draw.textbbox((0, 0), text, font=font)",
    ("FreeTypeFont", "getsize"): "font.getbbox(text)",
    ("matplotlib.cm", "get_cmap"): "matplotlib.colormaps[name]",
    ("matplotlib.pyplot", "hold"): "nothing: axes always keep what was drawn",
    ("scipy.integrate", "trapz"): "scipy.integrate.trapezoid",
    ("scipy.integrate", "simps"): "scipy.integrate.simpson",
    ("scipy.integrate", "cumtrapz"): "scipy.integrate.cumulative_trapezoid",
    ("scipy.stats", "binom_test"): "scipy.stats.binomtest",
    ("scipy.stats", "median_absolute_deviation"): "scipy.stats.median_abs_deviation",
    ("CountVectorizer", "get_feature_names"): "vectorizer.get_feature_names_out()",
    ("TfidfVectorizer", "get_feature_names"): "vectorizer.get_feature_names_out()",
    ("OneHotEncoder", "get_feature_names"): "encoder.get_feature_names_out()",
    ("PdfReader", "getPage"): "reader.pages[number]",
    ("PageObject", "extractText"): "page.extract_text()",
    ("time", "clock"): "time.perf_counter()",
    ("inspect", "getargspec"): "inspect.getfullargspec",
    ("collections", "Mapping"): "collections.abc.Mapping",
    ("collections", "Iterable"): "collections.abc.Iterable",
    ("collections", "Callable"): "collections.abc.Callable",
    ("fractions", "gcd"): "math.gcd",
}
# Argument → the functions that no longer take it, as errors name them or as a library calls those
# that it checks itself, and what to write.
_READERS = "read_csv|read_table|read_fwf|read_excel"
_ARGUMENTS = {
    "error_bad_lines": (_READERS, 'on_bad_lines="skip"'),
    "warn_bad_lines": (_READERS, 'on_bad_lines="warn"'),
    "squeeze": (_READERS, '.squeeze("columns") on the result'),
    "infer_datetime_format": (f"to_datetime|{_READERS}", "nothing: it is inferred"),
    "line_terminator": (r".*to_csv", "lineterminator"),
    "sparse": (r"OneHotEncoder\..*", "sparse_output"),
    "normalize": (
        r"(LinearRegression|Ridge|Lasso|ElasticNet|Lars)\w*\..*",
        "a StandardScaler before the model",
    ),
    "squared": (
        r"|mean_squared\w*",
        "root_mean_squared_error instead of mean_squared_error(…, squared=False)",
    ),
    "base_estimator": (r"(AdaBoost|Bagging|Calibrated)\w*\..*", "estimator"),
    "affinity": (r"(Agglomerative|Feature)\w*\..*", "metric"),
    "use_line_collection": (r"(\w+\.)?stem", "nothing: it is always so"),
}


def attribute(kinds: Iterable[str], name: str) -> str | None:
    """What to write for a name that one of these classes, or a module, no longer has."""
    for kind in kinds:
        if instead := _ATTRIBUTES.get((kind, name)):
            return f"This version has no `{name}`. Write: {instead}."
    return None


def argument(function: str, name: str) -> str | None:
    """What to write for an argument that a function no longer takes."""
    functions, instead = _ARGUMENTS.get(name, (None, ""))
    if functions is None or not re.fullmatch(functions, function):
        return None
    return f"This version has no `{name}`. Use {instead}."
