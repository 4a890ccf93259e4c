"""
Text that is broken into lines where it must be, by the rules of IPython's printer.

Groups are kept on one line if they fit; of those that do not, the outermost is broken first. Which
line ends come of it follows IPython to the letter, its peculiarities included.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator

WIDTH = 79


class _Group:
    """What is kept on one line if it fits; `breaks` are its places for a line end not yet used."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.breaks: deque[_Break] = deque()
        self.is_broken = False


class _Break:
    """A place where a line may end: a separator until its group is broken."""

    def __init__(self, separator: str, group: _Group, indentation: int) -> None:
        self.separator = separator
        self.group = group
        self.indentation = indentation


class Layout:
    """Lays out what is put into it. The public methods are those that IPython's printer has."""

    max_width = WIDTH
    newline = "\n"

    def __init__(self) -> None:
        self.indentation = 0
        self._written: list[str] = []
        self._written_width = 0  # of the line that is being written
        self._held: deque[list[str] | _Break] = deque()  # may still be broken
        self._held_width = 0
        root = _Group(0)
        self._groups = [root]
        self._waiting: list[list[_Group]] = []  # by depth: groups that are not broken yet
        self._enqueue(root)

    @property
    def text_so_far(self) -> str:
        return "".join(self._written)

    def text(self, text: str) -> None:
        """Add text that is never broken."""
        if not self._held:
            self._written.append(text)
            self._written_width += len(text)
            return
        last = self._held[-1]
        if isinstance(last, list):
            last.append(text)
        else:
            self._held.append([text])
        self._held_width += len(text)
        self._break_what_is_too_wide()

    def breakable(self, sep: str = " ") -> None:
        """Add a separator that becomes a line end if its group does not fit into the line."""
        group = self._groups[-1]
        if group.is_broken:
            self.flush()
            self._end_line()
            return
        place = _Break(sep, group, self.indentation)
        group.breaks.append(place)
        self._held.append(place)
        self._held_width += len(sep)
        self._break_what_is_too_wide()

    def break_(self) -> None:
        """End the line, and break the group that would be the next to be broken."""
        group = self._next_to_break()
        if group is not None:
            self._break(group)
        self.flush()
        self._end_line()

    def begin_group(self, indent: int = 0, open: str = "") -> None:
        """Begin what belongs together; its lines are indented by so much."""
        if open:
            self.text(open)
        group = _Group(self._groups[-1].depth + 1)
        self._groups.append(group)
        self._enqueue(group)
        self.indentation += indent

    def end_group(self, dedent: int = 0, close: str = "") -> None:
        """End what `begin_group` began."""
        self.indentation -= dedent
        group = self._groups.pop()
        if not group.breaks:
            self._dequeue(group)
        if close:
            self.text(close)

    @contextlib.contextmanager
    def group(self, indent: int = 0, open: str = "", close: str = "") -> Iterator[None]:
        """A group for a `with` statement."""
        self.begin_group(indent, open)
        try:
            yield
        finally:
            self.end_group(indent, close)

    @contextlib.contextmanager
    def indent(self, indent: int) -> Iterator[None]:
        """Indent the lines that begin inside by so much more."""
        self.indentation += indent
        try:
            yield
        finally:
            self.indentation -= indent

    def flush(self) -> None:
        """Write what is held as it is."""
        for piece in self._held:
            # Peculiar: the width so far counts once more with every piece.
            self._written_width += self._write(piece)
        self._held.clear()
        self._held_width = 0

    def has_room(self, width: int) -> bool:
        """Whether text so wide can be added without anything being broken."""
        return not self._held or self._written_width + self._held_width + width <= WIDTH

    # ---- layout --------------------------------------------------------------------------------

    def _write(self, piece: list[str] | _Break) -> int:
        """Write one held piece; return the width of the line after it."""
        if isinstance(piece, list):
            self._written += piece
            return self._written_width + sum(map(len, piece))
        group = piece.group
        group.breaks.popleft()
        if group.is_broken:
            self._written.append("\n" + " " * piece.indentation)
            return piece.indentation
        if not group.breaks:
            self._dequeue(group)
        self._written.append(piece.separator)
        return self._written_width + len(piece.separator)

    def _end_line(self) -> None:
        self._written.append("\n" + " " * self.indentation)
        self._written_width = self.indentation

    def _break_what_is_too_wide(self) -> None:
        while self._written_width + self._held_width > WIDTH:
            group = self._next_to_break()
            if group is None:
                return
            self._break(group)

    def _break(self, group: _Group) -> None:
        while group.breaks:
            self._take_held()
        while self._held and isinstance(self._held[0], list):
            self._take_held()

    def _take_held(self) -> None:
        piece = self._held.popleft()
        self._written_width = self._write(piece)
        width = sum(map(len, piece)) if isinstance(piece, list) else len(piece.separator)
        self._held_width -= width

    def _enqueue(self, group: _Group) -> None:
        while len(self._waiting) <= group.depth:
            self._waiting.append([])
        self._waiting[group.depth].append(group)

    def _dequeue(self, group: _Group) -> None:
        waiting = self._waiting[group.depth]
        if group in waiting:
            waiting.remove(group)

    def _next_to_break(self) -> _Group | None:
        """The outermost group with a place for a line end, of several the one begun last."""
        for waiting in self._waiting:
            for place, group in enumerate(reversed(waiting)):
                if group.breaks:
                    del waiting[place]  # peculiar: counted from the other end
                    group.is_broken = True
                    return group
            for group in waiting:
                group.is_broken = True
            waiting.clear()
        return None
