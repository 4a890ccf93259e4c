"""
Formulas, numbers and lists out of a sentence.

A formula is a run of numbers, one-letter names, known functions and operators between words; words
that stand for operators (`plus`, `squared`, `% of`) are written as such first.
"""

from __future__ import annotations

import ast
import json
import math
import re
from typing import Any

_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+"
_TOKEN = re.compile(
    rf"(?P<number>{_NUMBER})|(?P<name>[^\W\d_]+)|(?P<sign>\*\*|==|[-+*/^()=!])|(?P<other>\S)"
)
FUNCTIONS = frozenset(
    {"sqrt", "cbrt", "sin", "cos", "tan", "asin", "acos", "atan", "exp", "log", "ln", "abs"}
    | {"factorial", "pi"}
)
# A function before a bare value: `sqrt 16`.
_BARE_ARGUMENT = re.compile(
    rf"\b({'|'.join(sorted(FUNCTIONS - {'pi'}, key=len, reverse=True))})"
    r"\s*(?!\()(\d+(?:\.\d+)?|[a-z]\b|pi\b)"
)
_SIGNS = {
    "×": "*",
    "·": "*",
    "∙": "*",
    "÷": "/",
    "−": "-",
    "–": "-",
    "²": "**2",
    "³": "**3",
    "√": "sqrt",
}
_WORDS = [
    (rf"(?<!\d)({_NUMBER})\s*(?:%|percent|per cent)\s+of\b", r"\1/100*"),
    (r"\bthe square root of\b|\bsquare root of\b", "sqrt "),
    (r"\bthe cube root of\b|\bcube root of\b", "cbrt "),
    (r"\bthe factorial of\b|\bfactorial of\b", "factorial "),
    (r"\bmultiplied by\b|\btimes\b", "*"),
    (r"\bdivided by\b|\bover\b(?=\s*\d)", "/"),
    (r"\bto the power of\b|\braised to\b(?: the power of)?", "**"),
    (r"\bplus\b", "+"),
    (r"\bminus\b", "-"),
    (r"\bsquared\b", "**2"),
    (r"\bcubed\b", "**3"),
]
_DATE = re.compile(r"\b\d{4}-\d{1,2}(?:-\d{1,2})?\b|\b\d{1,2}/\d{1,2}/\d{2,4}\b")
_FENCE = re.compile(r"```.*?```", re.DOTALL)


def formulas(text: str) -> list[list[str]]:
    """Return the runs of tokens in `text` that may be formulas, trimmed, in order."""
    text = _DATE.sub(" ; ", _FENCE.sub(" ; ", text)).replace("`", " ; ").replace("$", "")
    text = re.sub(r"(?<=\w)['’]\w+", " ; ", text)  # what's, it's
    text = re.sub(r"(?<=\d)\s+x\s+(?=\d)", " * ", text)
    for sign, plain in _SIGNS.items():
        text = text.replace(sign, plain)
    for pattern, plain in _WORDS:
        text = re.sub(pattern, plain, text, flags=re.IGNORECASE)
    runs: list[list[str]] = [[]]
    for match in _TOKEN.finditer(text):
        token = match[0]
        if match["number"]:
            runs[-1].append(re.sub(r"^0+(?=\d)", "", token.replace(",", "")))
        elif match["sign"] or _is_name(match["name"]):
            runs[-1].append("**" if token == "^" else "=" if token == "==" else _lower(token))
        else:
            runs.append([])
    trimmed = (_trim(run) for run in runs)
    return [run for run in trimmed if run and _is_formula(run)]


def variables(run: list[str]) -> list[str]:
    """Return the one-letter names in a formula, each once, in order."""
    return list(dict.fromkeys(token for token in run if len(token) == 1 and token.isalpha()))


def is_arithmetic(run: list[str]) -> bool:
    """Return whether a formula has a value: no names, and something to compute."""
    computes = any(t in {"+", "-", "*", "/", "**", "!"} or t in FUNCTIONS - {"pi"} for t in run)
    return computes and "=" not in run and not variables(run)


def to_python(run: list[str], *, exact: bool = False) -> str:
    """
    Return a formula as Python source, the multiplications that were left out put in.

    exact: decimals become `Rational("…")` for sympy.
    """
    source = ""
    before = ""
    for token in run:
        if before and _is_value_end(before) and _is_value_start(token):
            source += "*"
        source += f'Rational("{token}")' if exact and "." in token else _spaced(token, source)
        before = token
    return _without_factorial_signs(source).strip()


def as_written(run: list[str]) -> str:
    """Return a formula as people write it."""
    text = "".join(f" {t} " if t in {"+", "-", "*", "/", "="} else t for t in run)
    return _BARE_ARGUMENT.sub(r"\1(\2)", text.replace("**", "^")).strip()


def numbers(text: str) -> list[float]:
    """Return all numbers in `text`, thousands separators understood."""
    found = re.findall(rf"(?<![\w.])-?(?:{_NUMBER})", text)
    values = (float(number.replace(",", "")) for number in found)
    return [value for value in values if math.isfinite(value)]


def literal_list(text: str) -> list[Any] | None:
    """Return the first list in `text`: `[1, 2]`, `3, 1, 4`, or words after a colon."""
    for match in re.finditer(r"[\[(]([^\[\]()]*)[\])]", text):
        try:
            value: list[Any] = ast.literal_eval("[" + match[1] + "]")
        except (ValueError, SyntaxError):
            value = [part.strip() for part in match[1].split(",")] if "," in match[1] else []
        if len(value) > 1 and all(isinstance(item, int | float | str) for item in value):
            return value
    number = r"-?(?<!\d)\d+(?:\.\d+)?"
    if match2 := re.search(rf"{number}(?:\s*(?:,|;|\band\b|,\s*and\b)\s*{number}){{2,}}", text):
        return [ast.literal_eval(n.lstrip("0") or "0") for n in re.findall(number, match2[0])]
    if (match3 := re.search(r":\s*([\w\- ]+(?:,\s*[\w\- ]+){2,})", text)) is not None:
        return [part.strip() for part in match3[1].split(",")]
    return None


def inline_json(text: str) -> str | None:
    """Return the largest JSON object, or list of objects, that stands in `text`."""
    best = ""
    decoder = json.JSONDecoder()
    position = 0
    while (match := re.compile(r"[\[{]").search(text, position)) is not None:
        try:
            value, end = decoder.raw_decode(text, match.start())
        except RecursionError:
            return best or None  # brackets in brackets, deeper than anybody writes
        except ValueError:
            position = match.start() + 1
            continue
        position = end
        is_data = isinstance(value, dict) or any(isinstance(v, dict | list) for v in value)
        if is_data and end - match.start() > len(best):
            best = text[match.start() : end]
    return best or None


def _is_formula(run: list[str]) -> bool:
    """Return whether each side of the run can be written as Python."""
    sides = " ".join("\0" if token == "=" else token for token in run).split("\0")
    try:
        for side in sides:
            ast.parse(to_python(side.split()) or "0", mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _is_name(name: str | None) -> bool:
    return name is not None and (name.lower() in FUNCTIONS or _is_letters_of_formula(name))


def _is_letters_of_formula(name: str) -> bool:
    # `I` and `a` are words far more often than unknowns.
    return len(name) == 1 and name.isascii() and name not in {"I", "a", "A"}


def _lower(token: str) -> str:
    return token.lower() if token.lower() in FUNCTIONS else token


def _trim(run: list[str]) -> list[str]:
    run = list(run)
    while run and run[0] in {"*", "/", "=", "**", "!", ")", "+"}:
        run.pop(0)
    while run and run[-1] in {"*", "/", "=", "**", "(", "+", "-"}:
        run.pop()
    while run.count("(") > run.count(")") and run[0] == "(":
        run.pop(0)
    while run.count(")") > run.count("(") and run[-1] == ")":
        run.pop()
    return run


def _is_value_end(token: str) -> bool:
    return (
        token in {")", "pi"} or token[0].isdigit() or (token.isalpha() and token not in FUNCTIONS)
    )


def _is_value_start(token: str) -> bool:
    return token == "(" or token[0].isalnum() or token[0] == "."


def _spaced(token: str, source: str) -> str:
    if token in {"+", "-"} and source.strip() and source.strip()[-1] not in "(*/+-=":
        return f" {token} "
    return token


def _without_factorial_signs(source: str) -> str:
    return _BARE_ARGUMENT.sub(r"\1(\2)", re.sub(r"(?<!\d)(\d+)!", r"factorial(\1)", source))
