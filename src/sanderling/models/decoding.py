"""
Source text out of a code call's arguments while they still arrive.

What is given back early is for people who watch; `arguments.interpret_code` decides in the end, so
where the two differ nothing but the live view was wrong.
"""

from __future__ import annotations

from collections.abc import Generator

# The tool's own key first, then the names models use for it when they do not read the schema.
CODE_KEYS = ("code", "input", "source", "python", "script", "query")
# Keys below which a model repeats the whole call inside its own arguments.
WRAPPER_KEYS = ("arguments", "parameters", "args")
NESTING_MAX = 3  # JSON in a JSON string in a JSON string: deeper was never seen

_FENCE = "```"
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_HEX_DIGITS = {"u": 4, "x": 2, "U": 8}

_Step = Generator[None, str, str]  # receives characters, returns what it read
_Walk = Generator[None, str, None]


class CodeDecoder:
    """
    Turns fragments of a code call's arguments into source text as they arrive.

    The fragments may be cut anywhere, inside an escape or between two surrogates too. The grammar
    is written as generators that are sent one character at a time, so that it reads like a parser
    of the whole text.
    """

    def __init__(self, nesting: int = 0) -> None:
        self.is_closed = False  # the object that held the code is complete
        self._nesting = nesting
        self._decoded: list[str] = []
        self._pushed_back: str | None = None
        self._fence = _FenceRemover()
        self._inner: CodeDecoder | None = None
        self._walk = self._document()
        next(self._walk)

    def feed(self, fragment: str) -> str:
        """Return the source text that `fragment` made certain; often a little less than it all."""
        for character in fragment:
            self._walk.send(character)
        decoded = "".join(self._decoded)
        self._decoded.clear()
        if self._inner is not None:
            return self._inner.feed(decoded)
        return self._fence.feed(decoded)

    def _document(self) -> _Walk:
        first = yield from self._next_of_note()
        if first == "{":
            yield from self._object()
        elif first == '"' and self._nesting < NESTING_MAX:
            self._inner = CodeDecoder(self._nesting + 1)
            yield from self._string(first, self._decoded)
            self.is_closed = self._inner.is_closed
        else:
            self._decoded.append(first)
            while True:
                self._decoded.append((yield))
        while True:  # whatever follows a whole value is a repetition
            yield

    def _object(self, depth: int = 0) -> _Walk:
        found = False
        while (character := (yield from self._next_of_note(","))) != "}":
            key = yield from self._key(character)
            character = yield from self._next_of_note(":")
            if key in CODE_KEYS and character in "\"'" and not found:
                found = True
                yield from self._string(character, self._decoded)
            elif key in WRAPPER_KEYS and character == "{" and depth < NESTING_MAX:
                yield from self._object(depth + 1)
            else:
                yield from self._skipped_value(character)
        self.is_closed = True

    def _key(self, first: str) -> _Step:
        if first in "\"'":
            key: list[str] = []
            yield from self._string(first, key)
            return "".join(key).lower()
        bare = first
        while (character := (yield from self._next())) != ":":
            bare += character
        return bare.strip().lower()

    def _skipped_value(self, first: str) -> _Walk:
        depth = 0
        character = first
        while True:
            if character in "\"'":
                yield from self._string(character, [])
            elif character in "{[":
                depth += 1
            elif character in "}]" and depth:
                depth -= 1
            elif character in ",}" and not depth:
                self._pushed_back = character
                return
            character = yield from self._next()

    def _string(self, quote: str, into: list[str]) -> _Walk:
        """Read what follows an opening `quote`, one or three of them, and decode its escapes."""
        closing = quote
        character = yield from self._next()
        if character == quote:
            character = yield from self._next()
            if character != quote:
                self._pushed_back = character
                return
            closing = quote * 3
            character = yield from self._next()
        run = ""  # quotes that may be the beginning of the closing three
        while True:
            if character == quote:
                run += quote
                if run == closing:
                    return
            else:
                into.append(run)
                run = ""
                if character == "\\":
                    yield from self._escape(into)
                else:
                    into.append(character)
            character = yield from self._next()

    def _escape(self, into: list[str]) -> _Walk:
        letter = yield from self._next()
        if letter not in _HEX_DIGITS:
            into.append(_unescaped(letter))
            return
        code_point = yield from self._hex(letter, into)
        if code_point is None:
            return
        if not 0xD800 <= code_point < 0xDC00:
            into.append(_character(code_point))
            return
        # The first half of a pair: the second has to follow as an escape of its own.
        backslash = yield from self._next()
        if backslash != "\\":
            self._pushed_back = backslash
            into.append("\ufffd")
            return
        letter = yield from self._next()
        if letter != "u":
            into.append("\ufffd" + _unescaped(letter))
            return
        low = yield from self._hex("u", into)
        if low is not None and 0xDC00 <= low < 0xE000:
            into.append(chr(0x10000 + ((code_point - 0xD800) << 10) + (low - 0xDC00)))
        elif low is not None:
            into.append("\ufffd" + _character(low))

    def _hex(self, letter: str, into: list[str]) -> Generator[None, str, int | None]:
        digits = ""
        while len(digits) < _HEX_DIGITS[letter]:
            character = yield from self._next()
            if character not in "0123456789abcdefABCDEF":
                self._pushed_back = character
                into.append("\\" + letter + digits)
                return None
            digits += character
        return int(digits, 16)

    def _next_of_note(self, ignored: str = "") -> _Step:
        while (character := (yield from self._next())).isspace() or character in ignored:
            pass
        return character

    def _next(self) -> _Step:
        if self._pushed_back is not None:
            character, self._pushed_back = self._pushed_back, None
            return character
        return (yield)


class _FenceRemover:
    """Lets source text through without the Markdown fence a model may have put around it."""

    def __init__(self) -> None:
        self._state = "undecided"
        self._held = ""

    def feed(self, text: str) -> str:
        self._held += text
        if self._state == "undecided":
            self._decide()
        if self._state == "plain":
            passed, self._held = self._held, ""
            return passed
        return self._inside() if self._state == "fenced" else ""

    def _decide(self) -> None:
        beginning = self._held.lstrip()
        if not beginning or (len(beginning) < len(_FENCE) and _FENCE.startswith(beginning)):
            return
        if not beginning.startswith(_FENCE):
            self._state = "plain"
        elif "\n" in beginning:
            self._held = beginning.split("\n", 1)[1]
            self._state = "fenced"

    def _inside(self) -> str:
        if self._held.startswith(_FENCE) or "\n" + _FENCE in self._held:
            self._state = "over"
            return "" if self._held.startswith(_FENCE) else self._held.split("\n" + _FENCE)[0]
        # A last line that may yet turn out to be the closing fence waits.
        start = self._held.rfind("\n")
        if start >= 0 and _FENCE.startswith(self._held[start + 1 :]):
            passed, self._held = self._held[:start], self._held[start:]
        else:
            passed, self._held = self._held, ""
        return passed


def _unescaped(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    # `\d` is no JSON escape, but the source of a regular expression; keep what was written.
    return letter if letter in "\"'\\/" else "\\" + letter


def _character(code_point: int) -> str:
    is_text = code_point < 0x110000 and not 0xD800 <= code_point < 0xE000
    return chr(code_point) if is_text else "\ufffd"
