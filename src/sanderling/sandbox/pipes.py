"""
The pipes behind descriptors 1 and 2 of a box, and those that earlier cells have left in use.

What a cell leaves running keeps the pipes it was started with. So if anything runs on, the next
cell gets pipes of its own (`Box.run_cell`), and what still arrives in the old ones is shown as what
it is: each line says whose it is, as the kernel does with lines of threads.

Old pipes are read only while a cell runs: between cells nobody writes, as the box stands still. A
pair is closed when nobody holds its other end any more. A box keeps some; past that the oldest is
closed, and its writers meet a broken pipe.
"""

from __future__ import annotations

import asyncio
import codecs
import os
from dataclasses import dataclass, field

from sanderling.sandbox.shown import Cell, Stream

OLD_MAX = 16  # pipes of one box; two for each cell that left something
OLD_OF_ALL_MAX = 128  # of one host; `machine.py` leaves room for them
_READ_BYTES = 65536

_Decoder = codecs.getincrementaldecoder("utf-8")


def make() -> tuple[dict[int, Stream], list[int]]:
    """
    Make two pipes. Return the host's read ends by stream, in the order stdout, stderr, and the
    kernel's: write ends of stdout and stderr, then read ends of the same.

    Raises OSError.
    """
    made: list[int] = []
    try:
        for _ in ("stdout", "stderr"):
            made += os.pipe2(os.O_CLOEXEC)
        out, out_write, err, err_write = made
        for fd in (out, err):
            os.set_blocking(fd, False)
            # Whoever has a descriptor may open it again by name, as programs do with /dev/stdout;
            # the box's user is not the one who made the pipe.
            os.fchmod(fd, 0o666)
            # Opened anew, not duplicated: O_NONBLOCK belongs to what was opened, and the kernel,
            # which may take it away from its own, must not be able to make the host wait.
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            made.append(os.open(f"/proc/self/fd/{fd}", flags))
    except OSError:
        for fd in made:
            os.close(fd)
        raise
    return {out: "stdout", err: "stderr"}, [out_write, err_write, *made[4:]]


@dataclass(slots=True, eq=False)
class _Old:
    """One pipe of an earlier cell."""

    fd: int
    stream: Stream
    mark: str
    is_in_line: bool = False
    decoder: codecs.IncrementalDecoder = field(default_factory=lambda: _Decoder("replace"))

    def marked(self, data: bytes) -> str:
        """Return the text of `data`, each line with whose it is."""
        text = self.decoder.decode(data)
        if not text:
            return ""
        lines = text[:-1].replace("\n", "\n" + self.mark) + text[-1]
        begins = not self.is_in_line
        self.is_in_line = text[-1] != "\n"
        return self.mark + lines if begins else lines


class OldPipes:
    """The pipes of a box's earlier cells. Its methods belong to one event loop."""

    of_all = 0  # pipes that the boxes of this process keep

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._kept: list[_Old] = []  # oldest first
        self._cell: Cell | None = None

    @classmethod
    def is_full(cls) -> bool:
        """Whether all boxes together keep as many as they may."""
        return cls.of_all >= OLD_OF_ALL_MAX

    def add(self, pipes: dict[int, Stream], cell: int) -> None:
        """Keep the pipes that `cell` was the last to have for itself."""
        self._kept += [_Old(fd, stream, f"[cell {cell}] ") for fd, stream in pipes.items()]
        OldPipes.of_all += len(pipes)
        while len(self._kept) > OLD_MAX:
            self._drop(self._kept[0])

    def begin(self, cell: Cell) -> None:
        """A cell runs: show in it what arrives, until `end`."""
        self._cell = cell
        for old in self._kept:
            old.is_in_line = False  # the line before was cut off by the end of a cell
            self._loop.add_reader(old.fd, self._on_bytes, old)

    def end(self) -> None:
        """No cell runs: whatever arrives waits."""
        self._cell = None
        for old in self._kept:
            self._loop.remove_reader(old.fd)

    def close(self) -> None:
        while self._kept:
            self._drop(self._kept[0])

    def _on_bytes(self, old: _Old) -> None:
        if self._cell is None or self._cell.has_ended:
            return  # it is for the next one
        try:
            data = os.read(old.fd, _READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self._cell.add_logs(old.stream, old.marked(data))
        else:
            self._drop(old)

    def _drop(self, old: _Old) -> None:
        self._kept.remove(old)
        OldPipes.of_all -= 1
        self._loop.remove_reader(old.fd)
        os.close(old.fd)
