"""
What a model meant by the arguments of a tool call.

Models send `{"code": "…"}` when all is well. They also send raw source, a fenced block, a Python
dictionary, JSON inside a JSON string, the same JSON twice, or a string with broken escapes. Here
is decided, once everything has arrived, what was meant: the first reading that fits, from strict to
lenient, and none where a guess would run something nobody wrote.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from typing import Any

from sanderling.models.decoding import CODE_KEYS, NESTING_MAX, WRAPPER_KEYS, CodeDecoder

_FENCE = "```"
_FENCED = re.compile(r"```[^\n`]*\n(.*?)(?:\n```|(?<=\n)```|\Z)", re.DOTALL)
_UNESCAPED_QUOTES = re.compile(
    rf"""^\{{\s*["'](?:{"|".join(CODE_KEYS)})["']\s*:\s*"(.*)"\s*,?\s*\}}\s*$""", re.DOTALL
)
# Past this a text is not tried as Python: it is no cell, and compiling it would hold up the server.
_COMPILE_CHARS_MAX = 1 << 20


def interpret_code(arguments: str) -> str | None:
    """Return the source text meant by a code call's `arguments`; None if there is none in them."""
    code = _code_in_text(arguments.strip(), 0)
    if code is None or not code.strip():
        return None
    return _unescape_twice(_replace_surrogates(code))


def interpret_function(arguments: str) -> str | None:
    """
    Return a function call's `arguments` as clean JSON of one object; None if they are no object.

    Text that is such JSON already comes back as it is, so that what was streamed stays true.
    """
    text = arguments.strip()
    if isinstance(_strict_json(text), dict):
        return text
    value = _object_in_text(text, 0)
    if value is None:
        return None
    return _replace_surrogates(json.dumps(value, ensure_ascii=False))


def is_whole(arguments: str) -> bool:
    """Return whether `arguments` are one complete JSON object, so that no fragment is missing."""
    return isinstance(_strict_json(arguments.strip()), dict)


def describe_problem(arguments: str) -> str:
    """Return the sentence that tells the model why its code call was not run."""
    if not arguments.strip():
        return (
            "The call had no arguments, so nothing was run. Send it again with the Python source "
            'as JSON: {"code": "…"}.'
        )
    try:
        json.loads(arguments)
        reason = "there is no source text under the key `code`"
    except (ValueError, RecursionError) as error:
        reason = f"they are neither JSON ({error}) nor Python source"
    return (
        f"The call's arguments could not be understood: {reason}. Nothing was run. Send the call "
        'again with the Python source as JSON: {"code": "…"}.'
    )


def _code_in_text(text: str, nesting: int) -> str | None:
    if text in {"", "null", "None"} or nesting > NESTING_MAX:
        return None
    if (value := _strict_json(text)) is not None:
        code = _code_in_value(value, nesting)
        # A number or a list is JSON and a cell at once: `[1, 2]` shows a list.
        return code if isinstance(value, dict | str) else text
    if text[0] == "{" and (values := _json_sequence(text)):
        found = (_code_in_value(value, nesting) for value in values)
        return _join_repeated([code for code in found if code is not None])
    if text[0] in "{\"'" and isinstance(value := _python_literal(text), dict):
        return _code_in_value(value, nesting)
    if (fenced := _FENCED.search(text)) is not None and not _compiles(text):
        return fenced[1]
    if text[0] == "{" and (code := _code_in_broken_object(text)) is not None:
        return code
    return text if _compiles(text) else None


def _code_in_value(value: Any, nesting: int) -> str | None:
    if isinstance(value, str):
        return _code_in_text(value.strip(), nesting + 1)
    if not isinstance(value, dict) or nesting > NESTING_MAX:
        return None
    named = {str(key).lower(): part for key, part in value.items()}
    for name in CODE_KEYS:
        match named.get(name):
            case str(code) if code.strip():
                return _without_fence(code)
            case [*lines] if lines and all(isinstance(line, str) for line in lines):
                return "\n".join(str(line) for line in lines)
    for name in WRAPPER_KEYS:
        if (inner := _code_in_value(named.get(name), nesting + 1)) is not None:
            return inner
    if len(named) == 1 and isinstance(only := next(iter(named.values())), str) and _compiles(only):
        return only
    return None


def _code_in_broken_object(text: str) -> str | None:
    decoder = CodeDecoder()
    code = decoder.feed(text)
    if decoder.is_closed and _compiles(code):
        return code
    # Quotes that were not escaped end the string early; take everything up to the last one.
    if (match := _UNESCAPED_QUOTES.match(text)) is not None:
        inside = CodeDecoder().feed('{"code": "' + re.sub(r'(?<!\\)"', r"\"", match[1]) + '"}')
        return inside if _compiles(inside) else None
    return None


def _object_in_text(text: str, nesting: int) -> dict[str, Any] | None:
    if not text or nesting > NESTING_MAX:
        return None
    value = _strict_json(text)
    if value is None and text[0] == "{":
        objects = [v for v in _json_sequence(text) if isinstance(v, dict)]
        value = max(objects, key=len) if objects else _python_literal(text)
    if value is None and (fenced := _FENCED.search(text)) is not None:
        return _object_in_text(fenced[1].strip(), nesting + 1)
    if isinstance(value, str):
        return _object_in_text(value.strip(), nesting + 1)
    return value if isinstance(value, dict) else None


def _strict_json(text: str) -> Any:
    """Return the value of `text` as JSON, raw line breaks in strings allowed; else None."""
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _json_sequence(text: str) -> list[Any]:
    """Return the JSON values that stand one after the other in `text`; [] unless they fill it."""
    decoder = json.JSONDecoder(strict=False)
    values: list[Any] = []
    position = 0
    try:
        while position < len(text):
            value, position = decoder.raw_decode(text, position)
            values.append(value)
            while position < len(text) and (text[position].isspace() or text[position] in ",;"):
                position += 1
    except (ValueError, RecursionError):
        return []
    return values


def _join_repeated(codes: list[str]) -> str | None:
    """Return several sources as one: repetitions once, different ones below each other."""
    kept: list[str] = []
    for code in codes:
        if kept and code.startswith(kept[-1]):
            kept[-1] = code
        elif code not in kept:
            kept.append(code)
    return "\n".join(kept) if kept else None


def _python_literal(text: str) -> Any:
    if len(text) > _COMPILE_CHARS_MAX:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes in a literal
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


def _compiles(code: str) -> bool:
    """Return whether `code` is a cell: Python with `await` at top level and shell-like lines."""
    if not code.strip() or len(code) > _COMPILE_CHARS_MAX:
        return False
    plain = re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", code)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes in a literal
            compile(
                plain, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
            )
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return False
    return True


def _without_fence(code: str) -> str:
    if code.lstrip().startswith(_FENCE) and (fenced := _FENCED.search(code)) is not None:
        return fenced[1]
    return code


def _unescape_twice(code: str) -> str:
    """Undo one escaping too many (line breaks written as two characters), if that makes a cell."""
    if "\n" in code or "\\n" not in code or _compiles(code):
        return code
    again = CodeDecoder().feed('{"code": "' + re.sub(r'(?<!\\)"', r"\"", code) + '"}')
    return again if _compiles(again) else code


def _replace_surrogates(text: str) -> str:
    """Half a surrogate pair cannot be written as UTF-8, so it becomes the replacement character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
